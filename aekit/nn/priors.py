"""Heads without noise whose codes a penalty brings close to a prior, so that codes can be drawn from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NormalHead(nn.Linear):
    """A linear map (B, F) -> (B, D) with the prior N(0, sigma^2 I).

    Args:
        features_dim: F.
        dim: D.
        sigma: deviation of each dimension.
    """

    def __init__(self, features_dim: int, dim: int, sigma: float = 1.0) -> None:
        super().__init__(features_dim, dim)
        self.sigma = sigma

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, D) codes from the prior."""
        return self.sigma * torch.randn(count, self.out_features, generator=generator, device=generator.device)
