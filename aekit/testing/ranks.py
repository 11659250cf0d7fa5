"""Check that several processes that share each batch train as a single one does; threads of one process stand for them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from aekit.data.samples import Samples, load_samples
from aekit.data.shared_samples import load_shared_samples
from aekit.io.processes import Ranks
from aekit.objectives.base import Objective
from aekit.testing.kit import check
from aekit.testing.trials import Trial
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.loop import Record, train

T = TypeVar("T")
CPU = torch.device("cpu")
SECONDS = 60
"""Time that a rank waits for the others."""
BATCH, STEPS = 15, 3
"""An odd number, so that the shares differ in size."""
TOLERANCE = 1e-5


def run_ranks(function: Callable[[Ranks], T], size: int = 2) -> list[T]:
    """Return the results of a function that several ranks call at once, which talk to each other by gloo.

    Args:
        function: takes the ranks. Threads share global state: it must not set seeds, for example.
        size: number of ranks.
    """
    store = dist.HashStore()

    def run(rank: int) -> T:
        group = dist.ProcessGroupGloo(store, rank, size, timedelta(seconds=SECONDS))
        return function(Ranks(rank, size, group, are_threads=True))

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(run, range(size)))


@check("variant", "pretext", "backbone")
def processes_agree(trial: Trial) -> None:
    """two processes that share each batch have the losses and the state of a single one: what compares samples gathers them"""
    source, rows = trial.source, np.arange(BATCH * STEPS)
    records, state = _trained(trial, trial.objective(), load_samples(source, rows, CPU))
    objectives = [trial.objective() for _ in range(2)]

    def share(ranks: Ranks) -> tuple[list[Record], dict[str, Tensor]]:
        return _trained(trial, objectives[ranks.rank], load_shared_samples(source, rows, CPU, ranks))

    for shared_records, shared_state in run_ranks(share):
        for alone, shared in zip(records, shared_records):
            for name, value in alone.items():
                assert abs(shared[name] - value) <= TOLERANCE * max(1.0, abs(value)), (
                    f"{name} of two processes is {shared[name]:.6g}, of a single one {value:.6g}; what compares samples "
                    f"takes those of the whole batch from aekit.plugin.gather"
                )
        for name, tensor in state.items():
            difference, largest = _largest(shared_state[name].double() - tensor), _largest(tensor)
            assert difference <= TOLERANCE * max(1.0, largest), (
                f"{name} of two processes differs by {difference:.2g} from that of a single one; what follows the samples "
                f"takes those of the whole batch from aekit.plugin.gather"
            )


def _largest(tensor: Tensor) -> float:
    return float(tensor.double().abs().max()) if tensor.numel() else 0.0


def _trained(trial: Trial, objective: Objective, samples: Samples) -> tuple[list[Record], dict[str, Tensor]]:
    """Train for a few steps; return the records, and the weights and buffers."""
    # Plain gradient descent: Adam would make a full step of a gradient that is nothing but a rounding error.
    plain: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 1e-3, "clip": 1.0}
    settings = trial.settings(epochs=1, batch_size=BATCH, **plain)
    batches = Batches(samples, BATCH, settings.seed)
    return list(train(State.start(objective, settings), batches, settings)), objective.state_dict()
