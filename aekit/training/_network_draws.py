"""Make what networks draw from torch's global generators, as dropout does, repeatable, and hide it from the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from aekit.encoder.encoder import temporary_seed
from aekit.io.processes import Ranks
from aekit.training.batches import derive_seed


class NetworkDraws:
    """Seed torch's global generators for the forward passes of a training, and restore their states.

    A network of which the first pass draws nothing is taken for one that never draws, so that its steps cost nothing more.

    Args:
        device: device of the training.
        ranks: the processes that share each batch, of which each drops other units; None: there is one. Threads, which would
            wait for each other, draw from the generators as they are.
    """

    def __init__(self, device: torch.device, ranks: Ranks | None = None) -> None:
        self.gpus = [device.index or 0] if device.type == "cuda" else []
        self.rank = ranks.rank if ranks else 0
        self.draws = False if ranks and ranks.are_threads else None

    def seeded(self, *parts: int) -> AbstractContextManager[None]:
        """Return a context of a forward pass, whose draws follow from numbers such as (seed, epoch, step)."""
        return nullcontext() if self.draws is False else self._seed(derive_seed(*parts, self.rank))

    @contextmanager
    def _seed(self, seed: int) -> Iterator[None]:
        with temporary_seed(seed), torch.random.fork_rng(devices=self.gpus, enabled=bool(self.gpus)):
            for number in self.gpus:
                torch.cuda.default_generators[number].manual_seed(seed)
            before = self._states()
            yield
            self.draws = not all(map(torch.equal, before, self._states()))

    def _states(self) -> list[Tensor]:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self.gpus)]
