"""A variant whose code is a noisy channel with a cost on its power."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.plugin import Field, Step, Variant


class NoisyCode(Variant):
    """Add Gaussian noise to the code while training, and penalize the code's power.

    The embedding is the code without noise. Without the penalty, a larger code would drown out the noise.
    """

    def __init__(
        self,
        *,
        deviation: Annotated[float, Field(ge=0, description="standard deviation of the noise on the code")] = 1.0,
        price: Annotated[float, Field(ge=0, description="weight of the code's power")] = 0.01,
    ) -> None:
        super().__init__()
        self.deviation, self.price = deviation, price

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        return NoisyLinear(math.prod(features_shape), dim, self.deviation)

    def penalty(self, step: Step) -> dict[str, Tensor]:
        return {"power": self.price * step.extras["sent"].square().sum(1).mean()}


class NoisyLinear(nn.Linear):
    """A linear map (B, F) -> (B, D), without noise in `forward` and with noise in `draw`."""

    def __init__(self, features_dim: int, dim: int, deviation: float) -> None:
        super().__init__(features_dim, dim)
        self.deviation = deviation

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the noisy code (B, D) of features (B, F), and the code as it was ``sent``."""
        sent = self(features)
        noise = torch.randn(sent.shape, generator=generator, device=sent.device, dtype=sent.dtype)
        return sent + self.deviation * noise, {"sent": sent}
