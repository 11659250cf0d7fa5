"""DIP-VAE: push the covariance of the codes towards the identity."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.gather import gather
from aekit.nn.gaussian import GaussianHead, kl_to_standard_normal
from aekit.plugin import Field, Step, Variant


class DIP(Variant):
    """Add to a VAE a penalty on the covariance of the code over the batch.

    ``i`` penalizes the covariance of the posteriors' means, ``ii`` that of the codes drawn from the posteriors, which leaves
    the means more freedom.

    Kumar, Sattigeri and Balakrishnan, Variational inference of disentangled latent concepts from unlabeled observations, 2018.
    """

    def __init__(
        self,
        *,
        kind: Annotated[
            Literal["i", "ii"], Field(description="i: covariance of the posterior means; ii: of the drawn codes")
        ] = "ii",
        off_diagonal: Annotated[float, Field(ge=0, description="weight of the squared covariances")] = 10.0,
        diagonal: Annotated[
            float | None,
            Field(
                ge=0,
                description="weight of the variances' squared distances from 1; by default 10 * off_diagonal for i and "
                "off_diagonal for ii",
            ),
        ] = None,
    ) -> None:
        super().__init__()
        self.kind, self.off_diagonal = kind, off_diagonal
        self.diagonal = off_diagonal * {"i": 10, "ii": 1}[kind] if diagonal is None else diagonal

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        return GaussianHead(math.prod(features_shape), dim)

    def penalty(self, step: Step) -> dict[str, Tensor]:
        mean, logvar = gather(step.extras["mean"], step.extras["logvar"])
        covariance = _covariance(mean)
        if self.kind == "ii":
            covariance = covariance + torch.diag(logvar.exp().mean(0))
        variances = covariance.diagonal()
        off_diagonal = covariance - torch.diag(variances)
        return {
            "kl": kl_to_standard_normal(mean, logvar).sum(1).mean(),
            "covariance": self.off_diagonal * off_diagonal.square().sum(),
            "variance": self.diagonal * (variances - 1).square().sum(),
        }


def _covariance(codes: Tensor) -> Tensor:
    """Return the (D, D) covariance of the codes (B, D) over the batch."""
    centered = codes - codes.mean(0)
    with torch.autocast(codes.device.type, enabled=False):
        return centered.T @ centered / len(codes)
