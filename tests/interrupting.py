"""Press Ctrl-C at a chosen step of a training run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from aekit.progress import Progress, Task


class StopsAfter(Progress):
    """Presses Ctrl-C after so many steps, counted over all phases."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        outer = self

        class Counts(Task):
            def advance(self, units: int = 1, note: str = "") -> None:
                if note.startswith("epoch"):
                    outer.left -= 1
                    if outer.left == 0:
                        os.kill(os.getpid(), signal.SIGINT)

        yield Counts()
