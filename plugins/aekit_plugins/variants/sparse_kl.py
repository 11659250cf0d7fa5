"""Sparse autoencoder, KL penalty: push the mean activation of each unit towards a target."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.gather import gather
from aekit.plugin import Encoder, Field, RecipeError, Samples, Step, Variant, eval_mode

BOUNDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
"""Activation function -> its smallest and largest value."""
EPSILON = 1e-6
"""Distance of mean activations from 0 and 1, where the divergence is infinite, and smallest range."""


class SparseKL(Variant):
    """Add ``weight`` times KL(target || rate) in nats, summed over the units, where a unit's rate is its mean activation in 0..1.

    Activations are scaled to the range that the unit can have: for a sigmoid the rate is the mean itself, for a tanh
    (mean + 1) / 2. For any other unit it is the range in the batch, through which gradients flow. Such a rate does not change
    with scale or offset, which the decoder could undo: it is low if the unit stays near its minimum for all but a few samples.
    A unit that is constant over a batch, e.g. of a single sample, has rate 0 and no gradient.

    The rate is averaged over the ``batch``; or it is m * average + (1 - m) * batch, with the `momentum` m and the average of
    the previous steps (``running``); or it is the rate over ``all`` training samples, uncorrupted and in eval mode,
    recomputed every `update_interval` steps. The log shows the divergence of that rate. The gradient is the derivative of the
    divergence there times the gradient of the batch's rate, without a factor 1 - m, so that `weight` means the same for all
    three.

    Lee, Ekanadham and Ng, Sparse deep belief net model for visual area V2, 2008; Ng, Sparse autoencoder, CS294A lecture notes,
    2011.
    """

    average: Tensor
    age: Tensor

    def __init__(
        self,
        *,
        target: Annotated[
            float, Field(gt=0, lt=1, description="mean activation of each unit, as a fraction of its range")
        ] = 0.05,
        weight: Annotated[float, Field(ge=0, description="weight of the divergence")] = 0.1,
        units: Annotated[
            Literal["code", "features"], Field(description="units to penalize: the code, or the backbone's features")
        ] = "code",
        activation_range: Annotated[
            Literal["any", "sigmoid", "tanh"],
            Field(description="range of the activations: 0..1, -1..1, or any, taken from each batch"),
        ] = "any",
        average_over: Annotated[
            Literal["batch", "running", "all"], Field(description="samples over which activations are averaged")
        ] = "batch",
        momentum: Annotated[float, Field(ge=0, lt=1, description="momentum of the running average, per step")] = 0.9,
        update_interval: Annotated[
            int, Field(ge=1, description="steps between passes over all training samples")
        ] = 100,
    ) -> None:
        super().__init__()
        self.target, self.weight, self.units, self.activation_range = target, weight, units, activation_range
        self.average_over, self.momentum, self.update_interval = average_over, momentum, update_interval

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        self._training = (encoder, samples)  # in a tuple, so that the encoder is not a submodule
        activations = self._activations(samples.batch(torch.arange(min(64, len(samples)))))
        low, high = BOUNDS.get(self.activation_range, (-torch.inf, torch.inf))
        smallest, largest = activations.min(), activations.max()
        if smallest < low or largest > high:
            problem = f"expected {self.units} in {low:g}..{high:g}, found {smallest:.3g}..{largest:.3g}"
            advice = f"set it to 'any', or units = 'features' and the backbone's activation = {self.activation_range!r}"
            raise RecipeError([f"sparse-kl.activation_range = {self.activation_range!r}: {problem}; {advice}"])
        # Saved with the state of a run, so that a resumed run continues where it stopped.
        self.register_buffer("average", torch.zeros(activations.shape[1], device=activations.device))
        self.register_buffer("age", torch.zeros((), dtype=torch.int64, device=activations.device))

    def penalty(self, step: Step) -> dict[str, Tensor]:
        units = gather((step.code if self.units == "code" else step.features).float())
        rate = self._rate(units.mean(0), units.amin(0), units.amax(0))
        value = rate.detach()
        if self.average_over == "running":
            value = self.latest = torch.where(self.age > 0, value.lerp(self.average, self.momentum), value)
        elif self.average_over == "all":
            if self.age.item() % self.update_interval == 0:
                self.average.copy_(self._overall_rate())
            value = self.average
        return {"kl": self.weight * divergence(self.target, value + (rate - rate.detach())).sum()}

    def after_step(self) -> None:
        if self.average_over != "batch":
            self.age += 1
        if self.average_over == "running":
            self.average.copy_(self.latest)

    def _rate(self, mean: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the (D,) rates from the units' mean, smallest and largest activations."""
        if self.activation_range in BOUNDS:
            low, high = (torch.full_like(mean, bound) for bound in BOUNDS[self.activation_range])
        return (mean - low) / (high - low).clamp(min=EPSILON)

    def _overall_rate(self) -> Tensor:
        """Return the (D,) rates over all training samples."""
        samples = self._training[1]
        parts = [torch.stack([u.sum(0), u.amin(0), u.amax(0)]) for u in map(self._activations, samples.chunks())]
        totals, lows, highs = torch.stack(parts, 1)
        return self._rate(totals.double().sum(0).float() / len(samples), lows.amin(0), highs.amax(0))

    def _activations(self, raw: Tensor) -> Tensor:
        """Map raw samples (B, *shape) -> (B, D) activations in eval mode."""
        encoder = self._training[0]
        with eval_mode(encoder):
            x = encoder.preprocess(raw)
            return (encoder.encode(x) if self.units == "code" else encoder.backbone(x)).float()


def divergence(target: float, rate: Tensor) -> Tensor:
    """Return the (D,) divergences KL(target || rate) between Bernoulli distributions, in nats."""
    rate = rate.clamp(EPSILON, 1 - EPSILON)
    return target * (target / rate).log() + (1 - target) * ((1 - target) / (1 - rate)).log()
