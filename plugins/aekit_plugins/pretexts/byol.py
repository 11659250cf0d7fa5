"""BYOL: predict the teacher's projection of one view from the other view."""

from __future__ import annotations

from typing import Annotated, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.augment.presets import CropOptions
from aekit.objectives.joint_embedding import (
    JointEmbeddingTask,
    Momentum,
    MomentumTeacher,
    cosine_ramp,
    force_float32,
    mlp,
    project_together,
    projection_std,
)
from aekit.plugin import Encoder, Field, Samples


class BYOL(JointEmbeddingTask):
    """Predict the projection of a teacher that is a moving average of the encoder and its projector.

    There are no negative pairs; the slow teacher and the predictor prevent collapse. The paper's momentum starts at 0.99 for
    300 epochs of ImageNet and at 0.996 for 1000.

    Logged: ``projection_std``, which is 0 when all projections are identical (collapse).

    Grill et al., Bootstrap your own latent: a new approach to self-supervised learning, 2020.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        momentum: Momentum = 0.99,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's and predictor's hidden layer")] = 512,
        width: Annotated[int, Field(ge=1, description="dimension of the projections")] = 128,
        **views: Unpack[CropOptions],
    ) -> None:
        super().__init__(encoder, mlp(encoder.dim, hidden, width), **views)
        self.momentum = momentum
        self.predictor = mlp(width, hidden, width)
        self.teacher = MomentumTeacher(encoder, self.projector)

    def start(self, samples: Samples) -> None:
        self.teacher.ema_update(0.0)  # initial weights may have been loaded since it was built

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        views = self.two_views(x, generator)
        projected = project_together(self.project, *views)
        first, second = project_together(self.predictor, *projected)
        target, other_target = project_together(self.teacher, *views)
        return {
            "loss": distance(first, other_target) + distance(second, target),
            "projection_std": projection_std(projected[0]),
        }

    def after_step(self) -> None:
        self.teacher.ema_update(cosine_ramp(self.momentum, self.progress))


@force_float32
def distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared distance, 0 to 4, of normalized predictions and targets, (B, P) each; no gradient to targets."""
    return (2 - 2 * F.cosine_similarity(predicted, target.detach(), dim=1)).mean()
