"""Gaussian codes: the head of variational autoencoders, and the mathematics that they and their evaluation share.

A posterior is a normal distribution with independent dimensions, given by a mean and a log-variance (B, D); the prior is the
standard normal distribution. Everything is in nats and in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LARGEST = 12.0
"""Of a log-variance, either way: deviations lie between 0.0025 and 400."""


class GaussianHead(nn.Module):
    """A posterior for each sample; the embedding is its mean.

    Kingma and Welling, Auto-encoding variational Bayes, 2014.

    Args:
        features_dim: F.
        dim: D.
        draws: K, codes that are drawn of each sample in training.
    """

    def __init__(self, features_dim: int, dim: int, draws: int = 1) -> None:
        super().__init__()
        self.dim, self.draws = dim, draws
        self.mean = nn.Linear(features_dim, dim)
        self.logvar = nn.Linear(features_dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, D), the mean."""
        return self.mean(features)

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F) -> mean and log-variance, each (B, D) float32."""
        # Bent and not cut, so that a log-variance that has run away still has a gradient back.
        return self.mean(features).float(), LARGEST * torch.tanh(self.logvar(features).float() / LARGEST)

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, F) -> codes (K * B, D), one draw after the other, and ``mean`` and ``logvar`` of their posterior, (B, D)."""
        mean, logvar = self.posterior(features)
        return reparameterize(mean, logvar, self.draws, generator), {"mean": mean, "logvar": logvar}

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, D) codes from the prior."""
        return torch.randn(count, self.dim, generator=generator, device=generator.device)

    def divergence(self, features: Tensor) -> Tensor:
        """(B, F) -> (B,) nats from the prior to the posterior."""
        return kl_to_standard_normal(*self.posterior(features)).sum(1)


def reparameterize(mean: Tensor, logvar: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """(B, D) mean and log-variance -> (K * B, D), one draw after the other, differentiable in both."""
    noise = torch.randn((draws, *mean.shape), generator=generator, device=mean.device, dtype=mean.dtype)
    return (mean + noise * (logvar / 2).exp()).flatten(0, 1)


def kl_to_standard_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each dimension's posterior from the standard normal distribution, (B, D) -> (B, D)."""
    return (mean.square() + logvar.exp() - 1 - logvar) / 2


def normal_log_density(x: Tensor, mean: Tensor | float = 0.0, logvar: Tensor | float = 0.0) -> Tensor:
    """Log-density of each entry of `x`; of the standard normal distribution if nothing else is given. Shapes broadcast, so
    that x (B, 1, D) against posteriors (B, D) gives (B, B, D)."""
    logvar = torch.as_tensor(logvar, dtype=x.dtype, device=x.device)
    return -((x - mean).square() * (-logvar).exp() + logvar + math.log(2 * math.pi)) / 2


def log_importance_weights(code: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Codes (K * B, D), one draw after the other, and the posteriors (B, D) that they were drawn from -> (K, B), the logarithm
    of the prior's density over the posterior's: with the likelihood, the weight of a draw."""
    codes = code.view(-1, *mean.shape)
    return (normal_log_density(codes) - normal_log_density(codes, mean, logvar)).sum(-1)
