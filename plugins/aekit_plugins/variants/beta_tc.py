"""Beta-TC-VAE: penalize the total correlation between the dimensions of the code."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.gather import gather
from aekit.nn.gaussian import GaussianHead, normal_log_density
from aekit.plugin import Encoder, Field, Samples, Step, Variant


class BetaTC(Variant):
    """Split the divergence from the prior into three parts, each with its own weight.

    The parts are the mutual information of codes and samples, the total correlation of the dimensions, and the divergence of
    each dimension from the prior. With weights of 1 they add up to the divergence of a VAE, estimated from one draw.

    The density of the codes of all N samples is estimated from the batch of B: ``weighted`` uses an even mixture of the
    batch's posteriors (the paper also divides by N, which changes no gradient); ``stratified`` gives a code's own posterior
    the weight 1 / N that it has among all samples, which makes the estimate of the density unbiased.

    Chen, Li, Grosse and Duvenaud, Isolating sources of disentanglement in variational autoencoders, 2018.
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0, description="weight of the mutual information")] = 1.0,
        beta: Annotated[float, Field(ge=0, description="weight of the total correlation")] = 6.0,
        gamma: Annotated[float, Field(ge=0, description="weight of the dimensions' divergence from the prior")] = 1.0,
        estimate: Annotated[
            Literal["weighted", "stratified"], Field(description="estimate of the densities from a batch")
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
        code, mean, logvar = gather(step.code, step.extras["mean"], step.extras["logvar"])
        count = self.count if self.estimate == "stratified" else len(mean)
        weights = mixture(len(mean), count, mean.device).to(mean.dtype)
        conditional, joint, marginal = log_densities(code, mean, logvar, weights)
        return {
            "information": self.alpha * (conditional - joint).mean(),
            "correlation": self.beta * (joint - marginal.sum(1)).mean(),
            "dimensions": self.gamma * (marginal - normal_log_density(code)).sum(1).mean(),
        }


def mixture(size: int, count: int, device: torch.device | None = None) -> Tensor:
    """Return the (B, B) weights of a batch's posteriors in the density of each of its codes; rows sum to 1.

    A code's own posterior has its true weight, and the other posteriors of the batch stand for all others.

    Args:
        size: B.
        count: number of samples in the training data.
        device: of the weights; None: the CPU.
    """
    if size == 1:
        return torch.ones(1, 1, device=device)
    count = max(count, size)
    # The paper gives one of the other posteriors a different weight; this averages over which one.
    return torch.full((size, size), (count - 1) / (count * (size - 1)), device=device).fill_diagonal_(1 / count)


def log_densities(code: Tensor, mean: Tensor, logvar: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the log-density of each code under its own posterior, under the mixture, and of each dimension under it.

    Args:
        code: (B, D), drawn from the posteriors.
        mean: (B, D) means of the posteriors.
        logvar: (B, D) log-variances of the posteriors.
        weights: (B, B) of the mixture.

    Returns:
        Three tensors: (B,), (B,) and (B, D).
    """
    pairs = normal_log_density(code.unsqueeze(1), mean, logvar)  # (B, B, D): code, posterior, dimension
    marginal = (pairs + weights.log().unsqueeze(2)).logsumexp(1)
    joint = (pairs.sum(2) + weights.log()).logsumexp(1)
    return pairs.sum(2).diagonal(), joint, marginal
