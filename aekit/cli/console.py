"""Show progress: bars with rate and remaining time on a terminal, plain lines elsewhere, nothing with --quiet."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from aekit.progress import Progress, Task

LINE_SECONDS = 10.0
"""Seconds between plain lines."""


def console_progress(quiet: bool) -> Progress:
    """Return the progress display. All but results goes to standard error, so that output can be piped."""
    if quiet:
        return Results()
    return Bars() if sys.stderr.isatty() else Lines()


def command_line(*words: object) -> str:
    """Return a command of aekit as a shell takes it, with names that hold blanks in quotes."""
    return shlex.join(["aekit", *map(str, words)])


class Results(Progress):
    """Print results only."""

    def show_result(self, text: str) -> None:
        click.echo(text)


class Lines(Results):
    """Print plain lines, for logs and pipes."""

    def say(self, text: str) -> None:
        click.echo(text, err=True)

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        line = _Line(title, total, unit, done)
        yield line
        line.close()


class _Line(Task):
    def __init__(self, title: str, total: int | None, unit: str, done: int) -> None:
        self.title, self.total, self.unit, self.done, self.initial = title, total, unit, done, done
        self.started = self.printed = time.monotonic()
        self.note = ""

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done, self.note = self.done + units, note
        if time.monotonic() - self.printed >= LINE_SECONDS:
            self.printed = time.monotonic()
            click.echo(self._text(), err=True)

    def close(self) -> None:
        click.echo(self._text(), err=True)

    def _text(self) -> str:
        seconds = time.monotonic() - self.started
        rate = (self.done - self.initial) / max(seconds, 1e-9)
        of = f" of {self.total}" if self.total else ""
        left = ""
        if self.total and self.done < self.total and rate:
            left = f", {_clock((self.total - self.done) / rate)} left"
        note = f", {self.note}" if self.note else ""
        return f"{self.title}: {self.done}{of} {self.unit}, {rate:.0f}/s, {_clock(seconds)}{left}{note}"


class Bars(Results):
    """Draw bars with rich, for terminals."""

    def __init__(self) -> None:
        self._console: Any = None  # that of the bar on display

    def say(self, text: str) -> None:
        if self._console:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)  # above the bar
        else:
            click.echo(text, err=True)

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress as RichProgress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description:>6}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichProgress(*columns, console=Console(stderr=True), refresh_per_second=5) as drawn:
            number = drawn.add_task(title, total=total, completed=done, rate="", note="")
            outer, self._console = self._console, drawn.console
            try:
                yield _Bar(drawn, number, unit)
            finally:
                self._console = outer


class _Bar(Task):
    def __init__(self, drawn: object, number: object, unit: str) -> None:
        self.drawn, self.number, self.unit = drawn, number, unit
        self.started, self.units = time.monotonic(), 0

    def advance(self, units: int = 1, note: str = "") -> None:
        self.units += units
        rate = self.units / max(time.monotonic() - self.started, 1e-9)
        self.drawn.update(self.number, advance=units, rate=f"{rate:.0f} {self.unit}/s", note=note)  # type: ignore[attr-defined]


def _clock(seconds: float) -> str:
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}" if whole >= 60 else f"{seconds:.1f} s"
