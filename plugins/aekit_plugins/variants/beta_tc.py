"""The total-correlation VAE: of the divergence from the prior, what ties the dimensions of the code together costs most."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.gaussian import GaussianHead, normal_log_density
from aekit.objectives.base import Step, Variant
from aekit.plugin import Encoder, Field, Samples


class BetaTC(Variant):
    """The divergence in three parts: the information that codes have about samples, the total correlation of the dimensions of
    the code, and the divergence of each dimension from the prior. With weights of 1 they sum to a VAE's, as estimated from one
    draw.

    Densities of the codes of all N samples are estimated within the batch of B: ``weighted`` takes them as a mixture of the
    batch's posteriors (the paper divides by N besides, which changes no gradient); ``stratified`` gives a code's own posterior
    the weight 1 / N that it has among all samples, which makes the density right on average.

    Chen, Li, Grosse and Duvenaud, Isolating sources of disentanglement in variational autoencoders, 2018.
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0, description="weight of the information")] = 1.0,
        beta: Annotated[float, Field(ge=0, description="weight of the total correlation")] = 6.0,
        gamma: Annotated[float, Field(ge=0, description="weight of the dimensions' divergence from the prior")] = 1.0,
        estimate: Annotated[
            Literal["weighted", "stratified"], Field(description="of densities, from a batch")
        ] = "weighted",
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.gamma, self.estimate = alpha, beta, gamma, estimate
        self.count = 1

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        self.count = len(samples)

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        return GaussianHead(math.prod(features_shape), dim)

    def penalty(self, step: Step) -> dict[str, Tensor]:
        mean, logvar = step.extras["mean"], step.extras["logvar"]
        weights = mixture(len(mean), self.count if self.estimate == "stratified" else len(mean)).to(mean)
        own, joint, single = log_densities(step.code, mean, logvar, weights)
        return {
            "information": self.alpha * (own - joint).mean(),
            "correlation": self.beta * (joint - single.sum(1)).mean(),
            "dimensions": self.gamma * (single - normal_log_density(step.code)).sum(1).mean(),
        }


def mixture(size: int, count: int) -> Tensor:
    """(B, B) weights of a batch's `size` posteriors in the density of each of its codes, where all samples are `count`: a
    code's own posterior has its true share, and the others of the batch stand for all others. Rows sum to 1."""
    if size == 1:
        return torch.ones(1, 1)
    count = max(count, size)
    # The paper gives one of the others an odd weight; this is the average over which one it is.
    return torch.full((size, size), (count - 1) / (count * (size - 1))).fill_diagonal_(1 / count)


def log_densities(code: Tensor, mean: Tensor, logvar: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes and the posteriors that they were drawn from (B, D), and weights (B, B) -> logarithms of the density of each code
    under its own posterior (B,), under the mixture (B,), and of each of its dimensions under the mixture (B, D)."""
    pairs = normal_log_density(code.unsqueeze(1), mean, logvar)  # (B, B, D): code, posterior, dimension
    single = (pairs + weights.log().unsqueeze(2)).logsumexp(1)
    joint = (pairs.sum(2) + weights.log()).logsumexp(1)
    return pairs.sum(2).diagonal(), joint, single
