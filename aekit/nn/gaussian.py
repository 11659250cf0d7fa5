"""Gaussian codes: the head of variational autoencoders, and the mathematics of training and evaluating them.

A posterior is a normal distribution with independent dimensions, given by a mean and a log-variance (B, D); the prior is the
standard normal distribution. Everything is in nats and in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

MAX_LOGVAR = 12.0
"""Bound on the absolute log-variance: standard deviations lie between 0.0025 and 400."""


class GaussianHead(nn.Module):
    """Head that computes a posterior for each sample, whose mean is the embedding.

    Kingma and Welling, Auto-encoding variational Bayes, 2014.

    Args:
        features_dim: F.
        dim: D.
        draws: K, codes drawn per sample in training.
    """

    def __init__(self, features_dim: int, dim: int, draws: int = 1) -> None:
        super().__init__()
        self.dim, self.draws = dim, draws
        self.mean = nn.Linear(features_dim, dim)
        self.logvar = nn.Linear(features_dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, F) -> (B, D), the mean of the posterior."""
        return self.mean(features)

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, F) -> mean and log-variance, each (B, D) float32."""
        # Saturate instead of clamping, so that an extreme log-variance still has a gradient.
        return self.mean(features).float(), MAX_LOGVAR * torch.tanh(self.logvar(features).float() / MAX_LOGVAR)

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Map (B, F) -> codes (K * B, D), one draw after the other, with the posterior's ``mean`` and ``logvar`` (B, D)."""
        mean, logvar = self.posterior(features)
        return reparameterize(mean, logvar, self.draws, generator), {"mean": mean, "logvar": logvar}

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return (count, D) codes from the prior."""
        return torch.randn(count, self.dim, generator=generator, device=generator.device)

    def divergence(self, features: Tensor) -> Tensor:
        """Map (B, F) -> (B,) KL divergence of the posterior from the prior, in nats."""
        return kl_to_standard_normal(*self.posterior(features)).sum(1)


def reparameterize(mean: Tensor, logvar: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Draw (K * B, D) codes from posteriors (B, D), one draw after the other, differentiable in mean and log-variance."""
    noise = torch.randn((draws, *mean.shape), generator=generator, device=mean.device, dtype=mean.dtype)
    return (mean + noise * (logvar / 2).exp()).flatten(0, 1)


def kl_to_standard_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """Return the (B, D) KL divergence of each dimension's posterior from the standard normal distribution, in nats."""
    return (mean.square() + logvar.exp() - 1 - logvar) / 2


def normal_log_density(x: Tensor, mean: Tensor | float = 0.0, logvar: Tensor | float = 0.0) -> Tensor:
    """Return the log-density of each entry of `x`, by default under the standard normal distribution.

    Shapes broadcast: x (B, 1, D) and posteriors (B, D) give (B, B, D).
    """
    logvar = logvar.to(x) if isinstance(logvar, Tensor) else x.new_full((), logvar)
    return -((x - mean).square() * (-logvar).exp() + logvar + math.log(2 * math.pi)) / 2


def log_importance_weights(code: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Return the (K, B) log ratios of prior to posterior density, which with the likelihood give importance weights.

    Args:
        code: (K * B, D), one draw after the other.
        mean: (B, D) means of the posteriors that the codes were drawn from.
        logvar: (B, D) log-variances of the posteriors.
    """
    codes = code.view(-1, *mean.shape)
    return (normal_log_density(codes) - normal_log_density(codes, mean, logvar)).sum(-1)
