"""The Wasserstein autoencoder: the codes of a batch, taken together, are to be distributed like draws from a prior."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.nn.priors import NormalHead
from aekit.objectives.base import Step, Variant
from aekit.plugin import Field

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of the kernels, times the mean squared distance of two draws from the prior."""


class WassersteinMMD(Variant):
    """Adds ``weight`` times the maximum mean discrepancy between codes and as many draws from N(0, sigma^2 I).

    Unlike a VAE's, a sample's own code is not noisy, and not drawn to the origin: only all codes together are compared with the
    prior. The discrepancy is estimated without bias, so that it may be slightly below zero; it takes two samples at least.

    Tolstikhin, Bousquet, Gelly and Schoelkopf, Wasserstein auto-encoders, 2018; the scales are those of their code.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="of the discrepancy against the reconstruction")] = 10.0,
        sigma: Annotated[float, Field(gt=0, description="deviation of the prior in each dimension")] = 1.0,
    ) -> None:
        super().__init__()
        self.weight, self.sigma = weight, sigma

    @property
    def deterministic(self) -> bool:
        return False

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        return NormalHead(math.prod(features_shape), dim, self.sigma)

    def penalty(self, step: Step) -> dict[str, Tensor]:
        code = step.code.float()
        if len(code) < 2:
            return {}
        drawn = self.sigma * torch.randn(code.shape, generator=step.generator, device=code.device)
        return {"mmd": self.weight * discrepancy(code, drawn, 2 * code.shape[1] * self.sigma**2)}


def discrepancy(x: Tensor, y: Tensor, scale: float) -> Tensor:
    """The squared maximum mean discrepancy of the distributions of x (N, D) and y (M, D), float32, estimated without bias.

    The kernel is the sum of c / (c + ||a - b||^2) over c = `scale` times `SCALES`.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        # Differences and not products of codes: the latter lose the small distances, and in bfloat16 all of them.
        squares = (a[:, None] - b[None]).square().sum(2)
        return torch.stack([c * scale / (c * scale + squares) for c in SCALES]).sum(0)

    def others(k: Tensor) -> Tensor:
        return (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))

    return others(kernel(x, x)) + others(kernel(y, y)) - 2 * kernel(x, y).mean()
