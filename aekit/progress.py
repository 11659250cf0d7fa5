"""Report progress, results and warnings. `aekit.progress_display` decides what to show, and where."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from aekit._library_files import is_library_file
from aekit.errors import LONGEST, AekitWarning, DataWarning, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


class Task:
    """A task in progress."""

    def advance(self, units: int = 1, note: str = "") -> None:
        """Report `units` more units as done; `note`, such as the current loss, is shown next to the rate."""


class Progress:
    """Receive progress. This base class is silent."""

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        """Start a task of `total` units (None: unknown), of which an earlier run finished `done`."""
        yield Task()

    def say(self, text: str) -> None:
        """Report one line about a choice, or about something that was left out."""

    def show_result(self, text: str) -> None:
        """Report a result, such as a table of metrics."""
        self.say(text)


class NestedProgress(Progress):
    """Progress of a part of a larger task: its results are reported as ordinary lines."""

    def __init__(self, outer: Progress) -> None:
        self.task, self.say = outer.task, outer.say  # type: ignore[method-assign]


SILENT = Progress()


class WorkingTime:
    """The time that a task takes, without pauses in which the process was stopped, as by Ctrl-Z.

    Attributes:
        continued: when a process that was stopped went on last, as `time.monotonic`.
    """

    continued = float("-inf")

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()

    def seconds(self) -> float:
        """Return the time; a pause is known from the call before it."""
        self._started += max(0.0, WorkingTime.continued - self._last)
        self._last = time.monotonic()
        return self._last - self._started


def warn(text: str, category: type[AekitWarning] = DataWarning) -> None:
    """Issue a warning that points at the user's code: outside aekit and its plugins, and outside libraries that call it, such as
    pipelines, if there is such a line.

    The command line prints it as a line. In Python the filters of `warnings` apply.
    """
    levels = list(enumerate(_frames(sys._getframe(1)), start=2))
    outside = [(level, file) for level, (name, file) in levels if name not in ("aekit", "aekit_plugins")] or [(2, "")]
    level = next((level for level, file in outside if not is_library_file(file)), outside[0][0])
    warnings.warn(printable(text, LONGEST), category, stacklevel=level)


def _frames(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """Yield the top-level package and the file of a frame and of those that called it."""
    while frame is not None:
        yield frame.f_globals.get("__name__", "").partition(".")[0], frame.f_code.co_filename
        frame = frame.f_back
