"""Barlow Twins: the cross-correlation matrix of two views' projections approaches the identity."""

from __future__ import annotations

from typing import Annotated, Unpack

import torch
from torch import Tensor

from aekit.nn.augment.presets import CropOptions
from aekit.nn.gather import gather
from aekit.objectives.joint_embedding import JointEmbeddingTask, force_float32, mlp, project_together, projection_std
from aekit.plugin import Encoder, Field


class BarlowTwins(JointEmbeddingTask):
    """Push the cross-correlation matrix of two views' projections over the batch toward the identity: ones on the diagonal
    make the views agree, zeros off it decorrelate dimensions. Wide projections work better.

    Logged: ``agreement``, the mean of the diagonal; ``redundancy``, the root mean square off the diagonal;
    ``projection_std``, which is 0 when all projections are identical (collapse).

    Zbontar, Jing, Misra, LeCun and Deny, Barlow Twins: self-supervised learning via redundancy reduction, 2021.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        redundancy: Annotated[float, Field(ge=0, description="weight of the off-diagonal terms")] = 0.005,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's hidden layers")] = 512,
        width: Annotated[int, Field(ge=2, description="dimension of the projections")] = 512,
        **views: Unpack[CropOptions],
    ) -> None:
        super().__init__(encoder, mlp(encoder.dim, hidden, hidden, width), **views)
        self.redundancy = redundancy

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        projected = project_together(self.project, *self.two_views(x, generator))
        first, second = gather(*projected)
        correlations = cross_correlations(first, second)
        diagonal = correlations.diagonal()
        off = correlations.square().sum() - diagonal.square().sum()
        return {
            "loss": (1 - diagonal).square().sum() + self.redundancy * off,
            "agreement": diagonal.detach().mean(),
            "redundancy": (off.detach() / (correlations.numel() - len(diagonal))).clamp(min=0).sqrt(),
            "projection_std": projection_std(projected[0]),
        }


@force_float32
def cross_correlations(first: Tensor, second: Tensor) -> Tensor:
    """Correlate each dimension of (B, P) with each of the other (B, P) over the batch -> (P, P) in [-1, 1]."""
    first, second = ((z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() for z in (first, second))
    return first.T @ second / len(first)
