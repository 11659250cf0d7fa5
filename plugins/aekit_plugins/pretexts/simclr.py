"""SimCLR: of all views in the batch, a sample's other view is to be found."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.augment.base import Strength
from aekit.nn.augment.presets import CropScale, Flip, augmentation_for
from aekit.objectives.joint_embedding import (
    JointEmbeddingTask,
    force_float32,
    mlp,
    nearest_is_pair,
    project_together,
    projection_std,
)
from aekit.plugin import Encoder, Field


class SimCLR(JointEmbeddingTask):
    """Two views of each sample are encoded and projected; the loss is the cross-entropy of telling a view's partner from all
    other views of the batch by their cosine similarities. Larger batches make it harder, and usually the embedding better.

    Logged: ``matched``, the share of samples whose first view is nearest, of all second ones, to their own; ``spread`` of the
    projections, which is 0 where all are alike.

    Chen, Kornblith, Norouzi and Hinton, A simple framework for contrastive learning of visual representations, 2020.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: Annotated[float, Field(gt=0, description="what cosine similarities are divided by")] = 0.2,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's hidden layer")] = 512,
        width: Annotated[int, Field(ge=1, description="of the projections that are compared")] = 128,
        strength: Strength = "usual",
        share: CropScale = None,
        flip: Flip = None,
    ) -> None:
        views = augmentation_for(encoder.spec, encoder.preprocess, strength=strength, crop_scale=share, flip=flip)
        super().__init__(encoder, mlp(encoder.dim, hidden, width), views)
        self.temperature = temperature

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        first, second = project_together(self.project, *self.two_views(x, generator))
        return {
            "loss": nt_xent(first, second, self.temperature),
            "matched": nearest_is_pair(first, second).float().mean(),
            "spread": projection_std(first),
        }


@force_float32
def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """The normalized, temperature-scaled cross-entropy: the mean, over all 2 B projections, of minus the log of the softmax,
    at its partner, of its cosine similarities to all others.

    Args:
        first, second: (B, P) projections of two views; row i of each is of sample i.
    """
    count = len(first)
    both = F.normalize(torch.cat([first, second]), dim=1)
    likeness = (both @ both.T / temperature).fill_diagonal_(-torch.inf)  # (2 B, 2 B); no view is its own partner
    partner = torch.arange(2 * count, device=first.device).roll(count)
    return F.cross_entropy(likeness, partner)
