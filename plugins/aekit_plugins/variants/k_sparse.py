"""Sparse by count: of every sample's units only the k most active ones are kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.nn.top_k import keep_top_k
from aekit.objectives.base import Variant
from aekit.plugin import Encoder, Field, Samples


class KSparse(Variant):
    """A linear code of which each sample keeps the k largest activations, by value and not by size; the others become zero.

    Training begins with all units and comes down to k over its first half, so that every unit has been of use before it must
    compete, and few are dead. Embeddings keep alpha k units, which served the paper's classifiers better. Where the code is as
    wide as the features, as with ``encoder.dim = 0``, the features themselves are made sparse, without a linear map.

    Makhzani and Frey, k-Sparse autoencoders, 2013.
    """

    def __init__(
        self,
        *,
        k: Annotated[int | None, Field(ge=1, description="units that a sample keeps; by default a tenth")] = None,
        alpha: Annotated[float, Field(ge=1, description="embeddings keep alpha k units")] = 3.0,
        anneal: Annotated[bool, Field(description="come down to k from all units over the first half")] = True,
    ) -> None:
        super().__init__()
        self.k, self.alpha, self.anneal = k, alpha, anneal

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        width = math.prod(features_shape)
        k = max(1, dim // 10) if self.k is None else self.k
        if k > dim:
            raise ValueError(f"k = {k}: there are {dim} units")
        # Kinds of linear map and of identity, so that the decoder mirrors them as it does those.
        head: SparseLinear | SparseFeatures = SparseFeatures() if dim == width else SparseLinear(width, dim)
        head.dim, head.k, head.kept = dim, k, min(dim, round(self.alpha * k))
        return head

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        if self.anneal and isinstance(encoder.head, TopK):
            encoder.head.progress = lambda: self.progress


class TopK(nn.Module):
    """Keeps the largest entries of what the module that it is mixed into gives.

    Attributes:
        dim: D, units.
        k: of them that are kept in training, once it is halfway.
        kept: of them that embeddings keep.
        progress: share of the training that is done.
    """

    dim: int
    k: int
    kept: int
    progress: Callable[[], float] = staticmethod(lambda: 1.0)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, D) with `kept` entries a sample."""
        return keep_top_k(super().forward(features), self.kept, dim=1)

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, F) -> (B, D) with as many entries a sample as training has come down to."""
        active = round(self.dim + (self.k - self.dim) * min(1.0, 2 * self.progress()))
        return keep_top_k(super().forward(features), active, dim=1), {}


class SparseLinear(TopK, nn.Linear):
    """A linear map whose largest outputs are kept."""


class SparseFeatures(TopK, nn.Identity):
    """The features' largest entries."""
