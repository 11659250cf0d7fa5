"""Barlow Twins: each entry of one view's projection goes with the same entry of the other's, and with no other entry."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from aekit.nn.augment.base import Strength
from aekit.nn.augment.presets import CropScale, Flip, augmentation_for
from aekit.objectives.joint_embedding import JointEmbeddingTask, force_float32, mlp, project_together, projection_std
from aekit.plugin import Encoder, Field


class BarlowTwins(JointEmbeddingTask):
    """The cross-correlations of two views' projections, over the batch, are to be the identity matrix: its diagonal, so that
    the views agree; the rest, so that no two entries say the same. Wide projections do better.

    Logged: ``agreement``, the mean of the diagonal; ``redundancy``, the root mean square off it; ``spread`` of the
    projections, which is 0 where they are all alike.

    Zbontar, Jing, Misra, LeCun and Deny, Barlow Twins: self-supervised learning via redundancy reduction, 2021.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        redundancy: Annotated[float, Field(ge=0, description="weight of what is off the diagonal")] = 0.005,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's hidden layers")] = 512,
        width: Annotated[int, Field(ge=2, description="of the projections")] = 512,
        strength: Strength = "usual",
        share: CropScale = None,
        flip: Flip = None,
    ) -> None:
        views = augmentation_for(encoder.spec, encoder.preprocess, strength=strength, crop_scale=share, flip=flip)
        super().__init__(encoder, mlp(encoder.dim, hidden, hidden, width), views)
        self.redundancy = redundancy

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        first, second = project_together(self.project, *self.two_views(x, generator))
        correlations = cross_correlations(first, second)
        diagonal = correlations.diagonal()
        off = correlations.square().sum() - diagonal.square().sum()
        return {
            "loss": (1 - diagonal).square().sum() + self.redundancy * off,
            "agreement": diagonal.detach().mean(),
            "redundancy": (off.detach() / (correlations.numel() - len(diagonal))).clamp(min=0).sqrt(),
            "spread": projection_std(first),
        }


@force_float32
def cross_correlations(first: Tensor, second: Tensor) -> Tensor:
    """(B, P) and (B, P) -> (P, P): over the batch, of each entry of the first with each of the second, -1 to 1."""
    first, second = ((z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() for z in (first, second))
    return first.T @ second / len(first)
