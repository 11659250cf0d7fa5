"""Sum several objectives over one encoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from aekit.data.samples import Samples
from aekit.objectives.base import Batch, Objective
from aekit.progress import Progress


class WeightedSum(Objective):
    """Several objectives over one shared encoder; each part's scalars are logged under its name.

    Args:
        parts: name -> objective; all with the same encoder.
        weights: name -> factor; 1 by default.
    """

    def __init__(self, parts: Mapping[str, Objective], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self._named = tuple(parts.items())
        self.weights = {name: float(weights.get(name, 1.0)) for name in parts}
        self.encoder = next(iter(parts.values())).encoder

    def randomness(self) -> list[str]:
        return [source for _, part in self._named for source in part.randomness()]

    def start(self, samples: Samples) -> None:
        for _, part in self._named:
            part.start(samples)

    def set_display(self, display: Progress) -> None:
        for _, part in self._named:
            part.set_display(display)

    def notes(self) -> list[str]:
        return [note for _, part in self._named for note in part.notes()]

    def min_batch(self) -> int:
        return max(part.min_batch() for _, part in self._named)

    def set_progress(self, progress: float) -> None:
        for _, part in self._named:
            part.set_progress(progress)

    def compilable_networks(self) -> list[nn.Module]:
        return list(dict.fromkeys(network for _, part in self._named for network in part.compilable_networks()))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        total, logged = torch.zeros((), device=batch.raw.device), dict[str, Tensor]()
        for name, part in self._named:
            terms = part.loss(batch, generator)
            total = total + self.weights[name] * terms["loss"]
            logged |= {name if term == "loss" else f"{name}/{term}": value.detach() for term, value in terms.items()}
        return {"loss": total, **logged}

    def after_step(self) -> None:
        for _, part in self._named:
            part.after_step()

    def visualize(self, batch: Batch, generator: torch.Generator) -> dict[str, dict[str, Tensor | list[str]]]:
        return {name: rows for name, part in self._named for rows in part.visualize(batch, generator).values()}
