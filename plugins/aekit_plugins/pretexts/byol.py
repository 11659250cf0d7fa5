"""BYOL: from one view, the teacher's projection of the other is predicted."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.encoder import Encoder
from aekit.options import Field
from aekit.samples import Samples
from aekit.tasks.joint_embedding import Momentum, Teacher, TwoViews, in_float32, perceptron, projections, risen, spread
from aekit.views import Flip, Share, Strength, views_for


class BYOL(TwoViews):
    """The teacher is a moving average of the encoder and its projector. No views are pushed apart; what keeps embeddings from
    becoming all alike is that the teacher is slow and that a predictor stands between. The paper's momentum begins at 0.99 for
    300 epochs of ImageNet, and at 0.996 for 1000.

    Logged: ``spread`` of the projections, which is 0 where they are all alike.

    Grill et al., Bootstrap your own latent: a new approach to self-supervised learning, 2020.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        momentum: Momentum = 0.99,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's and predictor's hidden layer")] = 512,
        width: Annotated[int, Field(ge=1, description="of the projections")] = 128,
        strength: Strength = "usual",
        share: Share = None,
        flip: Flip = None,
    ) -> None:
        views = views_for(encoder.spec, encoder.preprocess, strength=strength, share=share, flip=flip)
        super().__init__(encoder, perceptron(encoder.dim, hidden, width), views)
        self.momentum = momentum
        self.predictor = perceptron(width, hidden, width)
        self.teacher = Teacher(encoder, self.projector)

    def start(self, samples: Samples) -> None:
        self.teacher.follow(0.0)  # first weights may have been set since it was made

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        views = self.two_views(x, generator)
        projected = projections(self.project, *views)
        first, second = projections(self.predictor, *projected)
        target, other_target = projections(self.teacher, *views)
        return {"loss": distance(first, other_target) + distance(second, target), "spread": spread(projected[0])}

    def after_step(self) -> None:
        self.teacher.follow(risen(self.momentum, self.progress))


@in_float32
def distance(predicted: Tensor, target: Tensor) -> Tensor:
    """The mean squared distance, 0 to 4, of predictions (B, P) and targets (B, P) of unit length. Targets get no gradient."""
    return (2 - 2 * F.cosine_similarity(predicted, target.detach(), dim=1)).mean()
