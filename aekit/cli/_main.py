"""Run a command: print warnings and errors as lines, and exit with a code."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import click

from aekit.cli._group import group
from aekit.cli._option_hints import missing_option
from aekit.cli._signals import Stop, stopping
from aekit.cli._streams import guarded
from aekit.errors import (
    INTERRUPTED,
    LONGEST,
    AekitError,
    AekitWarning,
    explained,
    print_traceback,
    printable,
)
from aekit.io.memory import format_bytes, free_memory
from aekit.io.threads import share_cores
from aekit.io.torchrun import is_silent, tell_starter

LITTLE_MEMORY = 2**26
"""Free bytes below which an error of Python itself is taken for one of memory: code in C that is refused some may not say so."""

BAD_INPUT = 2
"""Exit code of a command whose input, options or output cannot be used."""


def _print_warnings() -> None:
    """Print each warning of aekit once, as a line on standard error."""
    show, printed = warnings.showwarning, set[str]()

    def show_as_line(message: Any, category: type[Warning], *place: Any, **options: Any) -> None:
        if not issubclass(category, AekitWarning):
            show(message, category, *place, **options)
        elif str(message) not in printed and not is_silent():
            printed.add(str(message))
            click.echo(f"warning: {printable(str(message), LONGEST)}", err=True)

    warnings.simplefilter("always", AekitWarning)
    warnings.showwarning = show_as_line


def main() -> None:
    """Run a command, and exit with its code. Errors that a user can cause are printed as one line; a traceback is a bug.

    The exit codes are 0; `BAD_INPUT` also for what cannot be read or written; `INTERRUPTED` after a signal; `READER_LEFT` if
    the reader of the output has ended; and 1 from ``aekit plugins test``.
    """
    _print_warnings()
    share_cores()
    with stopping() as stop, guarded() as streams:
        try:
            # With standalone_mode=False click returns the code of `ctx.exit` instead of exiting.
            code = group.main(list(map(_expand_home, sys.argv[1:])), prog_name="aekit", standalone_mode=False)
            streams.check()
        except BaseException as error:
            code = _report(error, stop)
    sys.exit(code if isinstance(code, int) else 0)


def _expand_home(argument: str) -> str:
    """Replace ``~`` where the shell leaves it, such as in ``--out=~/run`` and in quotes."""
    option, equals, value = argument.rpartition("=")
    if argument.startswith("~/"):
        return os.path.expanduser(argument)
    return f"{option}{equals}{os.path.expanduser(value)}" if value.startswith("~/") else argument


def _report(error: BaseException, stop: Stop) -> int:
    """Print an error that a user can cause, raise any other; return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        # click wraps the exception that says how to resume in one of its own.
        message = str(error.__cause__ or error) or "stopped"
        if not tell_starter(message):
            click.echo(f"\n{message}", err=True)
        return INTERRUPTED
    if stop.requested:  # a library has turned KeyboardInterrupt into an error of its own, as imports do
        click.echo("\nstopped", err=True)
        return INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
    elif isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        said = missing_option(error) if isinstance(error, click.NoSuchOption) else error.format_message()
        message = printable(said, LONGEST, keep="\n")
        click.echo(f"error: {message}{hint}", err=True)
    elif failure := error if isinstance(error, AekitError) else explained(error):
        for line in [] if tell_starter(str(failure)) else str(failure).splitlines():
            click.echo(f"error: {line}", err=True)
    elif isinstance(error, SystemError) and (free := free_memory()) < LITTLE_MEMORY:
        print_traceback(error)
        click.echo(
            f"error: out of memory: {format_bytes(free)} are free; use less data, or allow more memory", err=True
        )
    else:
        raise error
    return BAD_INPUT
