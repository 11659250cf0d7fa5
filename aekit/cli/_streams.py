"""Standard output and standard error that may be closed, full, or of another encoding than UTF-8.

Results that cannot be written are a failure of the command. Messages that cannot be written stop no work; the exit code tells.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from aekit.errors import OutputError, terminal_text
from aekit.io.atomic import write_failure

READER_LEFT = 141
"""Exit code where the reader of the output, such as `head`, has ended: what a shell shows for SIGPIPE."""


class _Output(io.RawIOBase):
    """A file descriptor that remembers its first failure, after which it takes everything and writes nothing.

    Args:
        number: the file descriptor.
        raises: whether the first failure is raised.
    """

    def __init__(self, number: int, raises: bool) -> None:
        self.number, self.raises = number, raises
        self.failure: OSError | None = None

    def write(self, content: Any) -> int:
        if self.failure is None:
            try:
                return self._write(content)
            except OSError as error:
                self.failure = error
                if self.raises:
                    self.report()
        return len(content)

    def _write(self, content: Any) -> int:
        while True:
            try:
                return os.write(self.number, content)
            except BlockingIOError:  # a pipe that another program has set not to block
                select.select([], [self.number], [])

    def report(self) -> None:
        """Raise the failure: an `OutputError`, or the exit code if the reader has ended."""
        if self.failure is None:
            return
        if self.failure.errno == errno.EPIPE:
            raise click.exceptions.Exit(READER_LEFT)  # not an OSError, which click turns into exit code 1
        name = "standard output" if self.number == 1 else "standard error"
        reason = "it is closed" if self.failure.errno == errno.EBADF else write_failure(self.failure)
        raise OutputError(f"{name}: cannot be written: {reason}")

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.number

    def isatty(self) -> bool:
        return os.isatty(self.number)


class _Text(io.TextIOWrapper):
    """Text, on standard output without what would steer a terminal; bars steer standard error."""

    def write(self, text: str) -> int:
        return super().write(terminal_text(text) if self.fileno() == 1 else text)


class _Ascii(_Text):
    """Text in ASCII that does not say so, because click would write UTF-8 to it."""

    def write(self, text: str) -> int:
        return super().write(text.encode("ascii", "backslashreplace").decode("ascii"))


def _text(output: _Output, encoding: str | None) -> TextIO:
    """Return a stream of text that writes characters that the encoding lacks, and bytes that are not UTF-8, as escapes."""
    name = encoding or "utf-8"
    kind, name = (_Ascii, "latin-1") if name.lower() in ("ascii", "us-ascii", "ansi_x3.4-1968") else (_Text, name)
    return kind(
        io.BufferedWriter(output), name, "backslashreplace", line_buffering=output.number == 2 or output.isatty()
    )


def _occupy_closed() -> None:
    """Open closed standard file descriptors, for reading only. Else files that the command writes would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


class _Streams:
    """Standard output and standard error of a command."""

    def __init__(self, results: _Output, messages: _Output) -> None:
        self.results, self.messages = results, messages

    def check(self) -> None:
        """Check that everything was written.

        Raises:
            OutputError, click.exceptions.Exit: it was not. Messages are not missed where standard error is closed.
        """
        sys.stdout.flush()
        self.results.report()
        if self.messages.failure and self.messages.failure.errno != errno.EBADF:
            self.messages.report()


@contextmanager
def guarded() -> Iterator[_Streams]:
    """Guard standard output and standard error while a command runs; streams that a caller has replaced stay as they are."""
    streams, before = _Streams(_Output(1, raises=True), _Output(2, raises=False)), (sys.stdout, sys.stderr)
    if before != (sys.__stdout__, sys.__stderr__):
        yield streams
        return
    _occupy_closed()
    sys.stdout = _text(streams.results, getattr(before[0], "encoding", None))
    sys.stderr = _text(streams.messages, getattr(before[1], "encoding", None))
    try:
        yield streams
    finally:
        with suppress(click.exceptions.Exit, OutputError):
            sys.stdout.flush()
        sys.stdout, sys.stderr = before
