"""SimSiam: from one view, the projection of the other is predicted, which itself gets no gradient."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.augment.base import Strength
from aekit.nn.augment.presets import CropScale, Flip, augmentation_for
from aekit.objectives.joint_embedding import JointEmbeddingTask, force_float32, mlp, project_together, projection_std
from aekit.plugin import Encoder, Field


class SimSiam(JointEmbeddingTask):
    """The loss is minus the cosine similarity of prediction and projection, the mean of both directions: from 1 to -1. What
    keeps embeddings from becoming all alike is that a target gets no gradient, and that a predictor stands between. As in the
    paper, the projector has three layers and ends in a batch norm, and the predictor is narrower inside than outside.

    Logged: ``spread`` of the projections, which is 0 where they are all alike.

    Chen and He, Exploring simple Siamese representation learning, 2021.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's hidden layers")] = 512,
        width: Annotated[int, Field(ge=1, description="of the projections")] = 512,
        bottleneck: Annotated[int, Field(ge=1, description="width of the predictor's hidden layer")] = 128,
        strength: Strength = "usual",
        share: CropScale = None,
        flip: Flip = None,
    ) -> None:
        views = augmentation_for(encoder.spec, encoder.preprocess, strength=strength, crop_scale=share, flip=flip)
        super().__init__(encoder, mlp(encoder.dim, hidden, hidden, width, norm_last=True), views)
        self.predictor = mlp(width, bottleneck, width)

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        projected = project_together(self.project, *self.two_views(x, generator))
        first, second = project_together(self.predictor, *projected)
        return {
            "loss": -(mean_cosine_similarity(first, projected[1]) + mean_cosine_similarity(second, projected[0])) / 2,
            "spread": projection_std(projected[0]),
        }


@force_float32
def mean_cosine_similarity(predicted: Tensor, target: Tensor) -> Tensor:
    """The mean cosine similarity of predictions (B, P) and targets (B, P). Targets get no gradient."""
    return F.cosine_similarity(predicted, target.detach(), dim=1).mean()
