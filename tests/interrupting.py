"""Interrupt a training run at a chosen step, by Ctrl-C or by a checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from aekit.data.samples import Samples
from aekit.objectives.base import Objective
from aekit.progress import Progress, Task
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.settings import Settings


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


def check_restored(
    make: Callable[[int], Objective], samples: Samples, settings: Settings, steps: int, folder: Path
) -> None:
    """Check that training, saved after some steps and restored into another objective, ends bit-equal to undisturbed training.

    Args:
        make: returns an untrained objective for a seed.
        samples: to train on.
        settings: of the training.
        steps: steps of the first epoch before the checkpoint.
        folder: where the checkpoint is kept.
    """

    def batches() -> Batches:
        return Batches(samples, settings.batch_size, 0)

    whole = State.start(make(0), settings)
    losses = [record["loss"] for record in train(whole, batches(), settings)]
    part = State.start(make(0), settings)
    records = train(part, batches(), settings)
    for _ in range(steps):
        next(records)
    part.save(folder / "checkpoint")
    fresh = State.start(make(9), settings)
    fresh.restore(folder / "checkpoint")
    assert (fresh.step, fresh.epoch, fresh.step_in_epoch) == (steps, 0, steps)
    assert [record["loss"] for record in train(fresh, batches(), settings)] == losses[steps:]
    for name, tensor in whole.objective.state_dict().items():
        assert torch.equal(tensor, fresh.objective.state_dict()[name]), name
