"""Sparse by competition between samples: of every unit's activations in a batch only the largest are kept."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.nn.top_k import keep_top_k
from aekit.objectives.base import Variant
from aekit.plugin import Field


class WinnerTakeAll(Variant):
    """ReLU units of which each keeps, in training, its largest activations in the batch: a `share` of the samples, one at least.

    As every unit wins for some samples, none is dead, whatever the width of the code. Embeddings are the ReLU code without any
    competition, for which the decoder was not trained: what it makes of them is too strong.

    Where the code is as wide as the features, as with ``encoder.dim = 0``, the features themselves compete; if they are maps
    (C, ...), first only the largest entry of each map is kept, and then each map competes by its winner.

    Makhzani and Frey, Winner-take-all autoencoders, 2015.
    """

    def __init__(
        self,
        *,
        share: Annotated[
            float,
            Field(gt=0, le=1, description="of a batch's samples, for which a unit may be active; 1: no competition"),
        ] = 0.05,
        spatial: Annotated[bool, Field(description="one winner a map, where the features are maps")] = True,
    ) -> None:
        super().__init__()
        self.share, self.spatial = share, spatial

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        width = math.prod(features_shape)
        # Kinds of linear map and of identity, so that the decoder mirrors them as it does those.
        head: LinearWinners | FeatureWinners = FeatureWinners() if dim == width else LinearWinners(width, dim)
        head.share = self.share
        # A code that a linear map makes is no map, nor are features of one entry a channel.
        head.maps = features_shape[0] if self.spatial and dim == width and len(features_shape) > 1 else dim
        return head


class Winners(nn.Module):
    """A ReLU on what the module that it is mixed into gives, and the competition.

    Attributes:
        share: of the samples for which each unit, or map, may be active.
        maps: into which the D units fall: C maps of D / C entries.
    """

    share: float
    maps: int

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, D), at least 0."""
        return super().forward(features).relu()

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, F) -> (B, D) with the winners alone."""
        code = self(features).unflatten(1, (self.maps, -1))
        code = keep_top_k(code, 1, dim=2)
        # A map competes by its winner, and loses whole.
        winners = keep_top_k(code.amax(2), max(1, round(self.share * len(code))), dim=0)
        return (code * (winners > 0)[..., None]).flatten(1), {}


class LinearWinners(Winners, nn.Linear):
    """A linear map whose outputs compete."""


class FeatureWinners(Winners, nn.Identity):
    """The features, which compete."""
