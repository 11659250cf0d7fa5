"""Run the commands in the documentation and write down their outputs: ``python docs/_commands.py --write [PAGE ...]``.

A ``sh`` block preceded by ``<!-- run -->`` is run, and the plain block that follows it holds its output. The blocks of a page
run in order in one folder. ``<!-- run: show embed evaluate -->`` keeps the outputs of these commands alone.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from aekit.cli import main

FOLDER = Path(__file__).parent
BLOCK = re.compile(
    r"<!-- run(?:: show (?P<shown>[a-z -]+))? -->\n```sh\n(?P<commands>.*?)```\n(?P<answer>\n```\n(?P<output>.*?)```\n)?",
    re.S,
)
HEREDOC = re.compile(r"<<-?\s*'?(\w+)'?")
PROGRESS = re.compile(r"^[\w :.-]+: [\d,]+( of [\d,]+)? \w+, \d+/s, .*")
"""Lines of progress, such as ``embed: 1797 of 1797 samples, 41645/s, 0.0 s``."""
ALLOWED_TO_FAIL = " || true"


@dataclass(frozen=True)
class Finished:
    """A command that was run: its output without progress, and its exit code."""

    command: str
    output: str
    code: int

    @property
    def name(self) -> str:
        """The subcommand of aekit, or ""."""
        return self.command.split()[1] if self.command.startswith("aekit ") else ""

    @property
    def failed(self) -> bool:
        return self.code != 0 and not self.command.endswith(ALLOWED_TO_FAIL)


def pages() -> list[Path]:
    """Return the pages that have commands to run."""
    return [path for path in sorted(FOLDER.rglob("*.md")) if BLOCK.search(path.read_text("utf-8"))]


def split_commands(block: str) -> Iterator[str]:
    """Split a block into commands without comments; a here-document belongs to its command."""
    lines = iter(block.splitlines())
    for line in lines:
        while line.endswith("\\"):
            line = line[:-1].rstrip() + " " + next(lines).strip()
        heredoc = HEREDOC.search(line)
        if heredoc:
            body = [line]
            while body[-1] != heredoc[1]:
                body.append(next(lines))
            yield "\n".join(body)
        elif command := re.sub(r"(^|\s+)#\s.*", "", line).strip():
            yield command


def run(command: str, folder: Path, extra: Mapping[str, Sequence[str]] | None = None) -> Finished:
    """Run a command in a folder: `aekit` in this process, everything else in bash.

    Args:
        extra: command of aekit -> further arguments.
    """
    if not command.startswith("aekit "):
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True)
        return Finished(command, done.stdout + done.stderr, done.returncode)
    arguments = shlex.split(command.removesuffix(ALLOWED_TO_FAIL))
    arguments += (extra or {}).get(arguments[1], [])
    output, code, argv, handler = io.StringIO(), 0, sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = arguments
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            main()
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    finally:
        sys.argv = argv
        signal.signal(signal.SIGTERM, handler)
    text = click.unstyle(output.getvalue()).replace(f"{folder}/", "")
    lines = [line.rstrip() for line in text.splitlines() if not PROGRESS.match(line)]
    return Finished(command, "\n".join(lines).strip("\n") + "\n" if any(lines) else "", code)


def run_page(text: str, folder: Path, extra: Mapping[str, Sequence[str]] | None = None) -> Iterator[list[Finished]]:
    """Run the blocks of a page in a folder; yield the finished commands of each."""
    for block in BLOCK.finditer(text):
        yield [run(command, folder, extra) for command in split_commands(block["commands"])]


def write_outputs(path: Path) -> None:
    """Run a page and write the outputs into it.

    Raises:
        SystemExit: a command failed.
    """
    text = path.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        blocks = list(run_page(text, Path(folder).resolve()))
    for finished in (finished for block in blocks for finished in block):
        if finished.failed:
            sys.exit(f"{path}: {finished.command}\n{finished.output}")
    remaining = iter(blocks)

    def with_output(match: re.Match[str]) -> str:
        shown = match["shown"].split() if match["shown"] else None
        text = "".join(one.output for one in next(remaining) if shown is None or one.name in shown)
        block = match[0].removesuffix(match["answer"] or "")
        return f"{block}\n```\n{text}```\n" if text else block

    path.write_text(BLOCK.sub(with_output, text), "utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"]:
        sys.exit(__doc__)
    for page in [Path(name).resolve() for name in sys.argv[2:]] or pages():
        write_outputs(page)
        print(page)
