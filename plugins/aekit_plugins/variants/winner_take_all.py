"""Winner-take-all autoencoder: keep only each unit's largest activations in the batch."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.nn.gather import gather, own_rows
from aekit.nn.top_k import keep_top_k
from aekit.plugin import Field, Variant


class WinnerTakeAll(Variant):
    """Keep, in training, each ReLU unit active for the fraction `sparsity` of the batch, at least one sample.

    Every unit wins for some samples, so none is dead, however wide the code. Embeddings are the ReLU code without competition.
    The decoder was not trained on such codes: its reconstructions from them are too strong.

    If the code is as wide as the features, as with ``encoder.dim = 0``, the features themselves compete; if they are maps
    (C, ...), only the largest entry of each map is kept first, and then the maps compete by it.

    Makhzani and Frey, Winner-take-all autoencoders, 2015.
    """

    def __init__(
        self,
        *,
        sparsity: Annotated[
            float,
            Field(gt=0, le=1, description="fraction of the batch for which a unit is active; 1: no competition"),
        ] = 0.05,
        spatial: Annotated[
            bool, Field(description="keep one entry of each feature map, if the features are maps")
        ] = True,
    ) -> None:
        super().__init__()
        self.sparsity, self.spatial = sparsity, spatial

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        width = math.prod(features_shape)
        # Subclasses of Linear and Identity, so that the decoder mirrors them as such.
        head: LinearWinners | FeatureWinners = FeatureWinners() if dim == width else LinearWinners(width, dim)
        head.sparsity = self.sparsity
        # Neither the output of a linear map nor features with one entry per channel are maps.
        head.maps = features_shape[0] if self.spatial and dim == width and len(features_shape) > 1 else dim
        return head


class Winners(nn.Module):
    """Mixin that applies a ReLU to a module's output and lets the samples compete for each unit.

    Attributes:
        sparsity: fraction of the samples for which each unit, or map, is active.
        maps: number of maps; each holds D / maps of the D units.
    """

    sparsity: float
    maps: int

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, F) -> (B, D), nonnegative."""
        return super().forward(features).relu()

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Map (B, F) -> (B, D) with all but the winners set to zero."""
        code = self(features).unflatten(1, (self.maps, -1))
        code = keep_top_k(code, 1, dim=2)
        # A map competes by its largest entry; a map that loses is zero everywhere.
        peaks = gather(code.amax(2).detach())
        winners = own_rows(keep_top_k(peaks, max(1, round(self.sparsity * len(peaks))), dim=0) > 0)
        return (code * winners[..., None]).flatten(1), {}


class LinearWinners(Winners, nn.Linear):
    """Linear map whose outputs compete."""


class FeatureWinners(Winners, nn.Identity):
    """Identity whose features compete."""
