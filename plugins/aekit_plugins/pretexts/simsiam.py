"""SimSiam: predict the projection of one view from the other, with a stop-gradient on the target."""

from __future__ import annotations

from typing import Annotated, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.augment.presets import CropOptions
from aekit.objectives.joint_embedding import JointEmbeddingTask, force_float32, mlp, project_together, projection_std
from aekit.plugin import Encoder, Field


class SimSiam(JointEmbeddingTask):
    """Maximize the cosine similarity of the prediction from one view and the projection of the other, in both directions.

    The loss is the negative mean similarity, from 1 to -1. The stop-gradient and the predictor prevent collapse. As in the
    paper, the projector has three layers and ends in a batch norm, and the predictor has a bottleneck.

    Logged: ``projection_std``, which is 0 when all projections are identical (collapse).

    Chen and He, Exploring simple Siamese representation learning, 2021.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's hidden layers")] = 512,
        width: Annotated[int, Field(ge=1, description="dimension of the projections")] = 512,
        bottleneck: Annotated[int, Field(ge=1, description="width of the predictor's hidden layer")] = 128,
        **views: Unpack[CropOptions],
    ) -> None:
        super().__init__(encoder, mlp(encoder.dim, hidden, hidden, width, norm_last=True), **views)
        self.predictor = mlp(width, bottleneck, width)

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        projected = project_together(self.project, *self.two_views(x, generator))
        first, second = project_together(self.predictor, *projected)
        return {
            "loss": -(mean_cosine_similarity(first, projected[1]) + mean_cosine_similarity(second, projected[0])) / 2,
            "projection_std": projection_std(projected[0]),
        }


@force_float32
def mean_cosine_similarity(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean cosine similarity of predictions and targets, (B, P) each. Targets get no gradient."""
    return F.cosine_similarity(predicted, target.detach(), dim=1).mean()
