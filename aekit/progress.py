"""How long work tells where it is. The library is silent; the command line hands in bars or plain lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Task:
    """One piece of work in progress: `advance` it by the number of units done."""

    def advance(self, units: int = 1, note: str = "") -> None:
        """`note` is shown beside the rate, such as the current loss."""


class Progress:
    """Receives what happens. This base class says nothing."""

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        """A piece of work of `total` units (None where unknown), of which `done` were done by an earlier run."""
        yield Task()

    def say(self, text: str) -> None:
        """One line about a choice that was made or a thing that was left out."""

    def show_result(self, text: str) -> None:
        """A result, such as a table of figures."""
        self.say(text)


class NestedProgress(Progress):
    """Of work that is a part of other work, whose own results are what counts: those of the part are said along the way."""

    def __init__(self, outer: Progress) -> None:
        self.task, self.say = outer.task, outer.say  # type: ignore[method-assign]


SILENT = Progress()
