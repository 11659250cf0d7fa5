"""Keep the figures of the long reliability runs, and write docs/reliability.md from them.

``python tests/reliability/figures.py --write`` writes the page.
"""

from __future__ import annotations

import datetime
import json
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from aekit.version import __version__

FOLDER = Path(__file__).parent / "figures"


@dataclass(frozen=True)
class Figure:
    """A row of a suite's table.

    Attributes:
        what: what was attacked: a command, a format, a reader.
        how: what was done to it, as in "killed at random times".
        tried: number of trials.
        wrong: number of those that ended in a traceback, a crash, a wrong result or a change that nobody heard of.
        note: what else a reader should know, for example how many were refused in one line.
    """

    what: str
    how: str
    tried: int
    wrong: int
    note: str = ""


def record(suite: str, figures: list[Figure]) -> None:
    """Keep the figures of a suite, with the command that gave them, the version and the date."""
    FOLDER.mkdir(exist_ok=True)
    script = Path(sys.argv[0]).resolve()
    command = shlex.join(["python", f"tests/reliability/{script.name}", *sys.argv[1:]])
    about = {"command": command, "aekit": __version__, "date": datetime.date.today().isoformat()}
    value = about | {"figures": [asdict(figure) for figure in figures]}
    (FOLDER / f"{suite}.json").write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
