"""k-sparse autoencoder: keep only the k most active units of each sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.nn.top_k import keep_top_k
from aekit.plugin import Encoder, Field, Samples, Variant


class KSparse(Variant):
    """Keep the k largest activations of each sample's linear code, by signed value, and set the others to zero.

    Training starts with all units and lowers their number to k over its first half, so that every unit learns something
    before it must compete and few are dead. Embeddings keep alpha * k units, which helped the paper's classifiers. If the
    code is as wide as the features, as with ``encoder.dim = 0``, the features themselves are made sparse, without a linear
    map.

    Makhzani and Frey, k-Sparse autoencoders, 2013.
    """

    def __init__(
        self,
        *,
        k: Annotated[int | None, Field(ge=1, description="active units per sample; by default a tenth of all")] = None,
        alpha: Annotated[float, Field(ge=1, description="embeddings keep alpha * k units")] = 3.0,
        anneal: Annotated[bool, Field(description="lower the number from all units to k over the first half")] = True,
    ) -> None:
        super().__init__()
        self.k, self.alpha, self.anneal = k, alpha, anneal

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        width = math.prod(features_shape)
        k = max(1, dim // 10) if self.k is None else self.k
        if k > dim:
            raise ValueError(f"k = {k}: expected at most {dim}, the number of units")
        # Subclasses of Linear and Identity, so that the decoder mirrors them as such.
        head: SparseLinear | SparseFeatures = SparseFeatures() if dim == width else SparseLinear(width, dim)
        head.dim, head.k, head.embedding_k = dim, k, min(dim, round(self.alpha * k))
        return head

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        if self.anneal and isinstance(encoder.head, TopK):
            encoder.head.progress = lambda: self.progress


class TopK(nn.Module):
    """Mixin that keeps the largest entries of a module's output.

    Attributes:
        dim: D, the number of units.
        k: units kept in training, from halfway on.
        embedding_k: units kept in embeddings.
        progress: returns the completed fraction of the training, 0..1.
    """

    dim: int
    k: int
    embedding_k: int
    progress: Callable[[], float] = staticmethod(lambda: 1.0)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, F) -> (B, D) with `embedding_k` nonzero entries per sample."""
        return keep_top_k(super().forward(features), self.embedding_k, dim=1)

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Map (B, F) -> (B, D) with as many nonzero entries per sample as the progress of training allows."""
        active = round(self.dim + (self.k - self.dim) * min(1.0, 2 * self.progress()))
        return keep_top_k(super().forward(features), active, dim=1), {}


class SparseLinear(TopK, nn.Linear):
    """Linear map that keeps its largest outputs."""


class SparseFeatures(TopK, nn.Identity):
    """Identity that keeps the largest features."""
