"""Show the progress and the results of commands. All but results goes to standard error, so that output can be piped."""

from __future__ import annotations

import sys
from contextlib import suppress

import click

from aekit.errors import OutputError, terminal_text
from aekit.progress import Progress
from aekit.progress_display import Bars as LibraryBars, Lines as LibraryLines


def console_progress(quiet: bool) -> Progress:
    """Return the progress display: bars on a terminal, plain lines elsewhere, only results with ``--quiet``."""
    if quiet:
        return Results()
    return Bars() if sys.stderr.isatty() else Lines()


def suggest(progress: Progress, *commands: str, when: str = "next") -> None:
    """Print the commands to run next, as `aekit.io.shell.command_line` writes them, except with ``--quiet``."""
    if type(progress) is not Results:
        click.echo(f"{when}: {', or '.join(commands)}")


class Results(Progress):
    """Print results only."""

    def show_result(self, text: str) -> None:
        # Work goes on where nobody reads its results: what it writes is not lost, and the exit code tells.
        with suppress(click.exceptions.Exit, OutputError):
            click.echo(terminal_text(text))


class Lines(LibraryLines, Results):
    """Print plain lines, and results on standard output."""

    show_result = Results.show_result


class Bars(LibraryBars, Results):
    """Draw bars, and print results on standard output."""

    show_result = Results.show_result
