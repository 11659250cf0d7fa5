"""Show progress: bars on a terminal and in a notebook, plain lines elsewhere, or nothing."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from aekit.errors import RecipeError, terminal_text
from aekit.progress import SILENT, Progress, Task, WorkingTime

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress, TaskID

LINE_SECONDS = 10.0
"""Seconds between plain lines."""
REFRESH_SECONDS = 0.2
"""Seconds between updates of a bar in a notebook."""

ProgressOption = Progress | bool | None
"""What public functions take: None shows bars on a terminal and in a notebook and is silent elsewhere, True shows them
everywhere, False never."""


def open_progress(progress: ProgressOption) -> Progress:
    """Return the receiver of progress for an argument ``progress``: the rule for every public function.

    Args:
        progress: a `Progress`; None, which means bars on a terminal and in a notebook, and silence elsewhere; True, which
            means plain lines instead of silence; or False, which means silence.

    Raises:
        RecipeError: another value.
    """
    global _current
    _current = _receiver(progress)
    return _current


_current: Progress = SILENT


def current_progress() -> Progress:
    """Return the receiver that was opened last, for code that is given none, such as what fetches remote data."""
    return _current


def _receiver(progress: ProgressOption) -> Progress:
    if isinstance(progress, Progress):
        return progress
    if progress is not None and not isinstance(progress, bool):
        raise RecipeError([f"progress = {progress!r}: expected True, False, None or an aekit.progress.Progress"])
    if progress is False:
        return SILENT
    if in_notebook():
        return NotebookBars()
    if _is_terminal(sys.stderr):
        return Bars()
    return Lines() if progress else SILENT


def in_notebook() -> bool:
    """Return whether the code runs in a notebook, whose output can show HTML: not in a process that it started, whose kernel is
    a copy that reaches no page."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is None:
        return False
    from multiprocessing import parent_process

    return parent_process() is None


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # a stream of a program's own, or a closed one
        return False


def _print(line: str, file: TextIO) -> None:
    """Print a line at once, so that the lines of two threads do not run together; a stream that is closed, cannot be flushed,
    or is full, such as a log on a full disk, stops no training."""
    with suppress(*_STREAM_ERRORS):
        print(f"{line}\n", end="", file=file, flush=True)


_STREAM_ERRORS = (ValueError, AttributeError, OSError)
"""What a stream raises that is closed, is a program's own, or whose reader, disk or terminal is gone."""


class _SteadyStream:
    """A stream that takes everything and raises nothing: a program may outlive its terminal.

    Args:
        stream: where it writes, as long as that works.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(*_STREAM_ERRORS):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(*_STREAM_ERRORS):
            self._stream.flush()


class Lines(Progress):
    """Print plain lines on standard error, for logs and pipes."""

    def say(self, text: str) -> None:
        _print(terminal_text(text), sys.stderr)

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        line = _Line(title, total, unit, done)
        yield line
        self.say(line.text())


class _Line(Task):
    """A task that is printed as a line now and then."""

    def __init__(self, title: str, total: int | None, unit: str, done: int) -> None:
        self.title, self.total, self.unit, self.done, self.initial = title, total, unit, done, done
        self.time, self.shown = WorkingTime(), 0.0
        self.note = ""

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done, self.note = self.done + units, note
        if (seconds := self.time.seconds()) - self.shown >= LINE_SECONDS:
            self.shown = seconds
            _print(terminal_text(self.text()), sys.stderr)

    def text(self) -> str:
        seconds = self.time.seconds()
        rate = (self.done - self.initial) / max(seconds, 1e-9)
        of = f" of {self.total}" if self.total else ""
        left = ""
        if self.total and self.done < self.total and rate:
            left = f", {_clock((self.total - self.done) / rate)} left"
        note = f", {self.note}" if self.note else ""
        return f"{self.title}: {self.done}{of} {self.unit}, {rate:.0f}/s, {_clock(seconds)}{left}{note}"


def bar_columns(width: int) -> list[Any]:
    """Return the columns of rich that a terminal of this width has room for: rich would cut all of them to a few letters."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        (0, TextColumn("{task.description:>6}")),
        (70, BarColumn()),
        (0, MofNCompleteColumn()),
        (70, TextColumn("{task.fields[rate]}")),
        (60, TimeElapsedColumn()),
        (30, TextColumn("left")),
        (30, TimeRemainingColumn()),
        (48, TextColumn("{task.fields[note]}")),
    )
    return [column for least, column in columns if width >= least]


class Bars(Progress):
    """Draw bars with rich, for terminals."""

    def __init__(self) -> None:
        self._console: Any = None  # that of the bar on display

    def say(self, text: str) -> None:
        if self._console:
            self._console.print(terminal_text(text), markup=False, highlight=False, soft_wrap=True)  # above the bar
        else:
            _print(terminal_text(text), sys.stderr)

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        from rich.console import Console
        from rich.progress import Progress as RichProgress

        console = Console(file=cast(TextIO, _SteadyStream(sys.stderr)))
        with RichProgress(*bar_columns(console.width), console=console, refresh_per_second=5) as drawn:
            number = drawn.add_task(title, total=total, completed=done, rate="", note="")
            outer, self._console = self._console, drawn.console
            try:
                yield _Bar(drawn, number, unit)
            finally:
                self._console = outer


class _Bar(Task):
    def __init__(self, drawn: RichProgress, number: TaskID, unit: str) -> None:
        self.drawn, self.number, self.unit = drawn, number, unit
        self.time, self.units = WorkingTime(), 0

    def advance(self, units: int = 1, note: str = "") -> None:
        self.units += units
        rate = self.units / max(self.time.seconds(), 1e-9)
        self.drawn.update(self.number, advance=units, rate=f"{rate:.0f} {self.unit}/s", note=note)


class NotebookBars(Progress):
    """Show bars in the output of a notebook's cell, as HTML that needs neither widgets nor a browser extension."""

    def say(self, text: str) -> None:
        _print(text, sys.stdout)  # on standard error a notebook shows it as an error

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        bar = _NotebookBar(title, total, unit, done)
        try:
            yield bar
        finally:
            bar.show()


class _NotebookBar(_Line):
    def __init__(self, title: str, total: int | None, unit: str, done: int) -> None:
        super().__init__(title, total, unit, done)
        from IPython.display import display

        self._handle: Any = display(self._shown(), raw=True, display_id=True)

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done, self.note = self.done + units, note
        if (seconds := self.time.seconds()) - self.shown >= REFRESH_SECONDS:
            self.shown = seconds
            self.show()

    def show(self) -> None:
        """Update the bar on display."""
        self._handle.update(self._shown(), raw=True)

    def _shown(self) -> dict[str, str]:
        """Return the bar by its type, also as text, which a notebook shows that is converted to a page without HTML."""
        return {"text/html": self.html(), "text/plain": self.text()}

    def html(self) -> str:
        """Return the bar as HTML."""
        filled = f'value="{self.done}" max="{self.total}"' if self.total else ""
        return f"<progress {filled}></progress> <code>{html.escape(self.text())}</code>"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}" if whole >= 60 else f"{seconds:.1f} s"
