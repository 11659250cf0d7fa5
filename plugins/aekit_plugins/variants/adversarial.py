"""Adversarial autoencoder: match the distribution of the codes to a prior with a discriminator."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.nn.priors import NormalHead
from aekit.plugin import Encoder, Field, Samples, Step, Variant, temporary_seed


class Adversarial(Variant):
    """Train a discriminator to tell codes from draws of N(0, sigma^2 I), and the encoder to fool it in the same step.

    The gradient from the discriminator to the encoder is reversed and multiplied by ``weight``. The log shows the
    discriminator's cross-entropy, which is log 2 when it can only guess. ``gradient_penalty`` times the mean squared norm of
    its gradient at codes and draws keeps it smooth; without this it soon becomes certain and its gradient vanishes.

    Makhzani, Shlens, Jaitly, Goodfellow and Frey, Adversarial autoencoders, 2015; gradient reversal: Ganin and Lempitsky,
    Unsupervised domain adaptation by backpropagation, 2015; gradient penalty: Mescheder, Geiger and Nowozin, Which training
    methods for GANs do actually converge?, 2018.
    """

    def __init__(
        self,
        *,
        width: Annotated[int, Field(ge=1, description="width of the discriminator's two hidden layers")] = 128,
        weight: Annotated[float, Field(ge=0, description="weight of the discriminator's reversed gradient")] = 5.0,
        sigma: Annotated[float, Field(gt=0, description="standard deviation of the prior in each dimension")] = 1.0,
        gradient_penalty: Annotated[float, Field(ge=0, description="weight of the squared gradient norm")] = 0.3,
    ) -> None:
        super().__init__()
        self.weight, self.sigma, self.gradient_penalty, self.width = weight, sigma, gradient_penalty, width
        # The layers are built in `start`, once the width of the code is known; their initial weights follow the run's seed.
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
        draws = self.sigma * torch.randn(code.shape, generator=step.generator, device=code.device)
        on_codes = self.discriminator(Reversed.apply(code, self.weight)).float()
        on_draws = self.discriminator(draws).float()
        with torch.enable_grad():  # also when the loss is only evaluated
            points = torch.cat([code.detach(), draws]).requires_grad_()
            gradients = torch.autograd.grad(self.discriminator(points).sum(), points, create_graph=True)[0]
        return {
            "discrimination": (F.softplus(-on_codes).mean() + F.softplus(on_draws).mean()) / 2,
            "smoothness": self.gradient_penalty * gradients.float().square().sum(1).mean(),
        }


class Reversed(torch.autograd.Function):
    """Identity whose gradient is multiplied by ``-weight``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None
