"""Deterministic heads whose codes a penalty brings close to a prior, from which codes can be drawn."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NormalHead(nn.Linear):
    """Linear map (B, F) -> (B, D) with the prior N(0, sigma^2 I).

    Args:
        features_dim: F.
        dim: D.
        sigma: standard deviation of the prior in each dimension.
    """

    def __init__(self, features_dim: int, dim: int, sigma: float = 1.0) -> None:
        super().__init__(features_dim, dim)
        self.sigma = sigma

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return (count, D) codes from the prior."""
        return self.sigma * torch.randn(count, self.out_features, generator=generator, device=generator.device)
