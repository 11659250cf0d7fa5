"""List unusual inputs with their outcomes: each is a test in `test_unusual`, and a row of docs/unusual-inputs.md.

``python tests/unusual/harness.py --write`` writes the page.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal
from unittest import mock

import pytest
from commands import Said

import aekit
from aekit.cli import BAD_INPUT, main
from aekit.errors import AekitError

Outcome = Literal["right", "changed", "refused"]
PAGE = Path(__file__).parents[2] / "docs" / "unusual-inputs.md"
AREAS = {
    path.stem: path.stem.replace("_", " ").capitalize().replace("python", "Python")
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py"))
}
for _other in ("harness", "test_unusual"):
    AREAS.pop(_other, None)
"""Module with inputs -> heading of its part of the page."""

TOP = """# Unusual inputs

Every row is a test. An input is **right** (used as its author meant it), **changed** (used, with a line that says what was left
out or changed) or **refused** (in one line that says what to do; the command line exits with code 2).
"""


class Listener(Said):
    """Keep the lines that are said, in Python and by commands."""

    def command(self, *arguments: object) -> str:
        """Run a command of aekit, keep the lines that it prints, and return its standard output.

        Raises:
            AekitError: exit code 2, with the printed errors.
        """
        output, errors = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "argv", ["aekit", *map(str, arguments)]),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            pytest.raises(SystemExit) as stopped,
        ):
            main()
        refusals = [
            line.removeprefix("error: ") for line in errors.getvalue().splitlines() if line.startswith("error: ")
        ]
        if stopped.value.code == BAD_INPUT:
            raise AekitError("\n".join(refusals))
        assert stopped.value.code in (0, None), errors.getvalue()
        self.lines += [*output.getvalue().splitlines(), *errors.getvalue().splitlines()]
        return output.getvalue()


Check = Callable[[Path, Listener], None]


@dataclass(frozen=True)
class Unusual:
    """An unusual input.

    Attributes:
        text: what is unusual, as a row of the page says it.
        outcome: what happens to it.
        says: part of the line that says so, for inputs that are changed or refused.
        check: makes the input in an empty folder, uses it with a progress that listens, and checks what comes out; for a
            refused input its last statement raises.
        module: the area.
    """

    text: str
    outcome: Outcome
    says: str
    check: Check
    module: str

    def run(self, folder: Path) -> None:
        """Run the check, and check the outcome."""
        listener, refusal = Listener(), ""
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter("always")
            try:
                self.check(folder, listener)
            except AekitError as error:
                if self.outcome != "refused":
                    raise
                refusal = str(error)
        if self.outcome == "refused":
            assert refusal, "it was not refused"
            assert "\n" not in refusal and self.says in refusal, refusal
        else:
            careless = [f"{one.filename}: {one.message}" for one in issued if issubclass(one.category, RuntimeWarning)]
            assert not careless, "warnings of NumPy, which no user can act on"
            lines = [*listener.lines, *(str(one.message) for one in issued)]
            assert any(self.says in line for line in lines) or not self.says, lines


@dataclass
class Area:
    """The inputs of one module: ``AREA = Area(__name__)``, then ``@AREA.right("a file ...")`` above each check."""

    name: str
    inputs: list[Unusual] = field(default_factory=list)

    def right(self, text: str) -> Callable[[Check], Check]:
        """Add an input that is used as its author meant it."""
        return self._add(text, "right", "")

    def changed(self, text: str, says: str) -> Callable[[Check], Check]:
        """Add an input that is used with a line that contains `says`."""
        return self._add(text, "changed", says)

    def refused(self, text: str, says: str) -> Callable[[Check], Check]:
        """Add an input that is refused by an `AekitError` whose single line contains `says`."""
        return self._add(text, "refused", says)

    def refused_file(self, text: str, says: str, name: str, content: str | bytes) -> None:
        """Add a file of this name and content that is refused so."""

        def check(folder: Path, listener: Listener) -> None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            aekit.open_data(folder / name)

        self.refused(text, says)(check)

    def _add(self, text: str, outcome: Outcome, says: str) -> Callable[[Check], Check]:
        def add(check: Check) -> Check:
            self.inputs.append(Unusual(text, outcome, says, check, self.name.rpartition(".")[2]))
            return check

        return add


def inputs(module: str) -> list[Unusual]:
    """Return the inputs of an area."""
    return list(import_module(f"unusual.{module}").AREA.inputs)


def parameters() -> list[object]:
    """Return all inputs as parameters of a test."""
    return [pytest.param(one, id=f"{module}: {one.text}") for module in AREAS for one in inputs(module)]


def page() -> str:
    """Return the text of the page."""
    parts = [TOP]
    for module, title in AREAS.items():
        parts.append(f"\n## {title}\n\n| input | outcome | what is said |\n|---|---|---|\n")
        for one in inputs(module):
            said = f"`{one.says}`".replace("|", "\\|") if one.says else ""
            parts.append(f"| {one.text.replace('|', chr(92) + '|')} | {one.outcome} | {said} |\n")
    return "".join(parts)


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    PAGE.write_text(import_module("unusual.harness").page(), "utf-8")
