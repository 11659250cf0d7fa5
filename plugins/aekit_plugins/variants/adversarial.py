"""The adversarial autoencoder: codes that a second network, trained to, can hardly tell from draws of a prior."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.nn.priors import NormalHead
from aekit.objectives.base import Step, Variant
from aekit.plugin import Encoder, Field, Samples, temporary_seed


class Adversarial(Variant):
    """A discriminator learns to tell codes from draws of N(0, sigma^2 I), and in the same step the encoder to prevent it: between
    the two the gradient is reversed, and taken ``weight`` times.

    Its cross-entropy is logged, log 2 where it is at a loss. It is kept smooth by ``smooth`` times the mean squared norm of
    its gradient at codes and draws: without that it soon tells them apart for certain, and its gradient vanishes.

    Makhzani, Shlens, Jaitly, Goodfellow and Frey, Adversarial autoencoders, 2015; the reversal: Ganin and Lempitsky, Unsupervised
    domain adaptation by backpropagation, 2015; the smoothness: Mescheder, Geiger and Nowozin, Which training methods for GANs
    do actually converge?, 2018.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="of the discriminator's reversed gradient")] = 5.0,
        sigma: Annotated[float, Field(gt=0, description="deviation of the prior in each dimension")] = 1.0,
        smooth: Annotated[float, Field(ge=0, description="weight of the norm of the discriminator's gradient")] = 0.3,
        width: Annotated[int, Field(ge=1, description="of the discriminator's two hidden layers")] = 128,
    ) -> None:
        super().__init__()
        self.weight, self.sigma, self.smooth, self.width = weight, sigma, smooth, width
        # Its layers wait for the width of the code; their first weights follow from the run's seed nonetheless.
        self.seed = int(torch.randint(2**31, ()))

    @property
    def deterministic(self) -> bool:
        return False

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        return NormalHead(math.prod(features_shape), dim, self.sigma)

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        assert isinstance(encoder.head, NormalHead)
        widths = (encoder.head.out_features, self.width, self.width)
        with temporary_seed(self.seed):
            layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
            self.discriminator = nn.Sequential(*layers, nn.Linear(self.width, 1)).to(encoder.device)

    def penalty(self, step: Step) -> dict[str, Tensor]:
        code = step.code.float()
        drawn = self.sigma * torch.randn(code.shape, generator=step.generator, device=code.device)
        on_codes = self.discriminator(Reversed.apply(code, self.weight)).float()
        on_draws = self.discriminator(drawn).float()
        with torch.enable_grad():  # also where the loss is only looked at
            both = torch.cat([code.detach(), drawn]).requires_grad_()
            slopes = torch.autograd.grad(self.discriminator(both).sum(), both, create_graph=True)[0]
        return {
            "discrimination": (F.softplus(-on_codes).mean() + F.softplus(on_draws).mean()) / 2,
            "smoothness": self.smooth * slopes.float().square().sum(1).mean(),
        }


class Reversed(torch.autograd.Function):
    """The same values; the gradient times ``-weight``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None
