"""Variational autoencoder: draw the code from a posterior kept close to a standard normal distribution."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor, nn

from aekit.nn.gather import batch_mean
from aekit.nn.gaussian import GaussianHead, kl_to_standard_normal
from aekit.plugin import Field, Step, Variant


class VAE(Variant):
    """Minimize the negative evidence lower bound, provided that `beta` is 1 and `objective.loss` is a likelihood.

    Kingma and Welling, Auto-encoding variational Bayes, 2014; beta: Higgins et al., beta-VAE, 2017; annealing: Bowman et al.,
    Generating sentences from a continuous space, 2016; free bits: Kingma et al., Improved variational inference with inverse
    autoregressive flow, 2016.
    """

    def __init__(
        self,
        *,
        beta: Annotated[float, Field(ge=0, description="weight of the divergence from the prior")] = 1.0,
        anneal: Annotated[
            float, Field(ge=0, le=1, description="fraction of the training over which beta rises linearly from 0")
        ] = 0.0,
        free_bits: Annotated[
            float,
            Field(ge=0, description="nats of divergence per dimension that cost nothing, on average over a batch"),
        ] = 0.0,
    ) -> None:
        super().__init__()
        self.beta, self.anneal, self.free_bits = beta, anneal, free_bits

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        return GaussianHead(math.prod(features_shape), dim)

    def penalty(self, step: Step) -> dict[str, Tensor]:
        warmup = min(1.0, self.progress / self.anneal) if self.anneal else 1.0
        divergences = batch_mean(kl_to_standard_normal(step.extras["mean"], step.extras["logvar"]), 0)  # (D,)
        return {"kl": self.beta * warmup * divergences.clamp(min=self.free_bits).sum()}
