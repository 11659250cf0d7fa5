"""Importance-weighted autoencoder: tighten the VAE's bound with several weighted codes per sample."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor, nn

from aekit.nn.gaussian import GaussianHead, log_importance_weights
from aekit.plugin import Field, Step, Variant


class IWAE(Variant):
    """Minimize the negative of a lower bound on log p(x) that grows tighter with the number of draws.

    With one draw it is the VAE's bound, with the divergence estimated from that draw. The decoder's cost grows with the
    number of draws. `objective.loss` should be a likelihood: ``bce``, ``gaussian`` or ``logistic``.

    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2015.
    """

    def __init__(
        self, *, draws: Annotated[int, Field(ge=1, description="codes per sample; the paper uses 5 and 50")] = 5
    ) -> None:
        super().__init__()
        self.draws = draws

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        return GaussianHead(math.prod(features_shape), dim, self.draws)

    def reconstruction_loss(self, step: Step) -> Tensor:
        # (K, B) log p(x, z) - log q(z | x) for each draw z
        weights = log_importance_weights(step.code, step.extras["mean"], step.extras["logvar"]) - step.errors.view(
            self.draws, -1
        )
        return math.log(self.draws) - weights.logsumexp(0).mean()
