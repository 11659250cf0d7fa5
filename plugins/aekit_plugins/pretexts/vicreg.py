"""VICReg: two views' projections agree, while their dimensions vary over the batch and stay decorrelated."""

from __future__ import annotations

from typing import Annotated, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.augment.presets import CropOptions
from aekit.nn.gather import gather
from aekit.objectives.joint_embedding import JointEmbeddingTask, force_float32, mlp, project_together, projection_std
from aekit.plugin import Encoder, Field


class VICReg(JointEmbeddingTask):
    """Minimize three terms: the mean squared difference of two views' projections; a hinge on dimensions whose standard
    deviation is below 1; the squared covariances of different dimensions. Only the first compares the views.

    Logged: the three unweighted terms; ``projection_std``, which is 0 when all projections are identical (collapse).

    Bardes, Ponce and LeCun, VICReg: variance-invariance-covariance regularization for self-supervised learning, 2022.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        invariance: Annotated[float, Field(ge=0, description="weight of the difference between the views")] = 25.0,
        variance: Annotated[
            float, Field(ge=0, description="weight of the hinge on standard deviations below 1")
        ] = 25.0,
        covariance: Annotated[float, Field(ge=0, description="weight of the squared covariances")] = 1.0,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's hidden layers")] = 512,
        width: Annotated[int, Field(ge=2, description="dimension of the projections")] = 512,
        **views: Unpack[CropOptions],
    ) -> None:
        super().__init__(encoder, mlp(encoder.dim, hidden, hidden, width), **views)
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        projected = project_together(self.project, *self.two_views(x, generator))
        first, second = gather(*projected)
        terms = {
            "invariance": F.mse_loss(first, second),
            "variance": variance_hinge(first, second),
            "covariance": covariances(first, second),
        }
        loss = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return {
            "loss": loss,
            **{name: term.detach() for name, term in terms.items()},
            "projection_std": projection_std(projected[0]),
        }


@force_float32
def variance_hinge(first: Tensor, second: Tensor) -> Tensor:
    """Return how far standard deviations over the batch, of (B, P), fall below 1: the mean over dimensions and both views."""
    return torch.stack([F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in (first, second)]).mean()


@force_float32
def covariances(first: Tensor, second: Tensor) -> Tensor:
    """Return the sum of squared off-diagonal covariances of (B, P), divided by P and added over both views."""
    total = first.new_zeros(())
    for z in (first, second):
        matrix = (z - z.mean(0)).T @ (z - z.mean(0)) / (len(z) - 1)
        total = total + (matrix.square().sum() - matrix.diagonal().square().sum()) / z.shape[1]
    return total
