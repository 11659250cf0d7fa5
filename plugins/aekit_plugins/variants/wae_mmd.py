"""Wasserstein autoencoder: match the distribution of the codes to a prior with a kernel distance."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.nn.gather import gather
from aekit.nn.priors import NormalHead
from aekit.plugin import Field, Step, Variant

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Scales of the kernels, in units of the mean squared distance between two draws from the prior."""


class WassersteinMMD(Variant):
    """Add ``weight`` times the maximum mean discrepancy between the codes and as many draws from N(0, sigma^2 I).

    Unlike in a VAE, the code of a sample has no noise and is not pulled to the origin: only the distribution of all codes is
    compared with the prior. The estimate is unbiased and may be slightly negative; it needs at least two samples.

    Tolstikhin, Bousquet, Gelly and Schoelkopf, Wasserstein auto-encoders, 2018; the scales are those of their code.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="weight of the discrepancy")] = 10.0,
        sigma: Annotated[float, Field(gt=0, description="standard deviation of the prior in each dimension")] = 1.0,
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
        draws = self.sigma * torch.randn(code.shape, generator=step.generator, device=code.device)
        code, draws = gather(code, draws)
        if len(code) < 2:
            return {}
        return {"mmd": self.weight * discrepancy(code, draws, 2 * code.shape[1] * self.sigma**2)}


def discrepancy(x: Tensor, y: Tensor, scale: float) -> Tensor:
    """Return an unbiased estimate of the squared maximum mean discrepancy between two samples of vectors.

    The kernel is the sum of c / (c + ||a - b||^2) over c = `scale` times `SCALES`.

    Args:
        x: (N, D) float32.
        y: (M, D) float32.
        scale: mean squared distance that `SCALES` multiply.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        # Differences rather than products of codes: products lose small distances, and in bfloat16 all of them.
        squares = (a[:, None] - b[None]).square().sum(2)
        return torch.stack([c * scale / (c * scale + squares) for c in SCALES]).sum(0)

    def off_diagonal_mean(k: Tensor) -> Tensor:
        return (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))

    return off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2 * kernel(x, y).mean()
