"""A variant whose code is a noisy channel: what is worth its power gets through."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.objectives.base import Step, Variant
from aekit.plugin import Field


class NoisyCode(Variant):
    """While training, Gaussian noise of deviation 1 is added to the code, and the power of the code costs.

    The embedding is the code without noise. Without the price, a larger code would drown out the noise.
    """

    def __init__(
        self,
        *,
        deviation: Annotated[float, Field(ge=0, description="of the noise on the code")] = 1.0,
        price: Annotated[float, Field(ge=0, description="of the code's power, against the reconstruction")] = 0.01,
    ) -> None:
        super().__init__()
        self.deviation, self.price = deviation, price

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        return NoisyLinear(math.prod(features_shape), dim, self.deviation)

    def penalty(self, step: Step) -> dict[str, Tensor]:
        return {"power": self.price * step.extras["sent"].square().sum(1).mean()}


class NoisyLinear(nn.Linear):
    """(B, F) -> (B, D), without noise in `forward` and with noise in `draw`."""

    def __init__(self, features_dim: int, dim: int, deviation: float) -> None:
        super().__init__(features_dim, dim)
        self.deviation = deviation

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, F) -> the code (B, D) as it arrives, and as it was ``sent``."""
        sent = self(features)
        noise = torch.randn(sent.shape, generator=generator, device=sent.device, dtype=sent.dtype)
        return sent + self.deviation * noise, {"sent": sent}
