"""Show the progress and the results of commands. All but results goes to standard error, so that output can be piped."""

from __future__ import annotations

import shlex
import sys

import click

from aekit.progress import Progress
from aekit.progress_display import Bars as LibraryBars, Lines as LibraryLines, terminal_text


def console_progress(quiet: bool) -> Progress:
    """Return the progress display: bars on a terminal, plain lines elsewhere, results alone with ``--quiet``."""
    if quiet:
        return Results()
    return Bars() if sys.stderr.isatty() else Lines()


def command_line(*words: object) -> str:
    """Return a command of aekit as a shell takes it, with names that hold blanks in quotes."""
    return shlex.join(["aekit", *map(str, words)])


class Results(Progress):
    """Print results only."""

    def show_result(self, text: str) -> None:
        click.echo(terminal_text(text))


class Lines(LibraryLines, Results):
    """Print plain lines, and results on standard output."""

    show_result = Results.show_result


class Bars(LibraryBars, Results):
    """Draw bars, and print results on standard output."""

    show_result = Results.show_result
