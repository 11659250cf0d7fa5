"""Sparse by a price on frequency: a unit that is active more, or less, often than a target share pays for it."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.objectives.base import Step, Variant
from aekit.plugin import Encoder, Field, RecipeError, Samples, eval_mode

BOUNDS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
"""Kind of unit -> its least and its largest activation."""
LEAST = 1e-6
"""A share is kept this far from 0 and 1, where the divergence is infinite, and so is a range from 0."""


class SparseKL(Variant):
    """Adds KL(target || share), in nats, summed over the units, times `weight`, where a unit's share says how active it is.

    The share is the mean activation, measured from the least that the unit can have towards the largest: for a sigmoid the mean
    itself, for a tanh (mean + 1) / 2. Any other unit is measured between the extremes of its batch, with their gradients. No
    scale or offset, which a decoder could make up for, changes such a share: it is low if the unit stays near its floor but for
    few samples. A unit that is constant over a batch, such as one of a single sample, has a share of 0 and no gradient.

    The share is that over the `batch`; or m average + (1 - m) batch, with m the `momentum` and the average that of the steps
    before (``running``); or that over `all` training samples, uncorrupted and in eval mode, found anew every `every` steps. The
    logged value is the divergence of that share. Its gradient is the slope of the divergence there times that of the batch's
    share, without a factor 1 - m, so that a weight means the same for all three.

    Lee, Ekanadham and Ng, Sparse deep belief net model for visual area V2, 2008; Ng, Sparse autoencoder, CS294A lecture notes,
    2011.
    """

    average: Tensor
    age: Tensor

    def __init__(
        self,
        *,
        target: Annotated[float, Field(gt=0, lt=1, description="share of its range that a unit is to use")] = 0.05,
        weight: Annotated[float, Field(ge=0, description="of the divergence, beside the reconstruction's error")] = 0.1,
        what: Annotated[Literal["code", "features"], Field(description="the units: code or features")] = "code",
        units: Annotated[
            Literal["any", "sigmoid", "tanh"], Field(description="kind of the units: where their activations lie")
        ] = "any",
        over: Annotated[
            Literal["batch", "running", "all"], Field(description="samples over which activations are averaged")
        ] = "batch",
        momentum: Annotated[float, Field(ge=0, lt=1, description="of the running average, a step")] = 0.9,
        every: Annotated[int, Field(ge=1, description="steps between passes over all training samples")] = 100,
    ) -> None:
        super().__init__()
        self.target, self.weight, self.what, self.units = target, weight, what, units
        self.over, self.momentum, self.every = over, momentum, every

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        self._kept = (encoder, samples)  # in a tuple, so that the encoder is not a part of this module
        seen = self._activations(samples.batch(torch.arange(min(64, len(samples)))))
        low, high = BOUNDS.get(self.units, (-torch.inf, torch.inf))
        if seen.min() < low or seen.max() > high:
            found = f"expected {low:g}..{high:g}, found {self.what} in {seen.min():.3g}..{seen.max():.3g}"
            advice = f"take 'any', or what = 'features' of a backbone with activation = {self.units!r}"
            raise RecipeError([f"sparse-kl.units = {self.units!r}: {found}; {advice}"])
        # Saved with the state of a run, so that one that is resumed goes on where it was.
        self.register_buffer("average", torch.zeros(seen.shape[1], device=seen.device))
        self.register_buffer("age", torch.zeros((), dtype=torch.int64, device=seen.device))

    def penalty(self, step: Step) -> dict[str, Tensor]:
        units = (step.code if self.what == "code" else step.features).float()
        share = self._share(units.mean(0), units.amin(0), units.amax(0))
        value = share.detach()
        if self.over == "running":
            value = self.latest = torch.where(self.age > 0, value.lerp(self.average, self.momentum), value)
        elif self.over == "all":
            if self.age.item() % self.every == 0:
                self.average.copy_(self._over_all())
            value = self.average
        return {"kl": self.weight * divergence(self.target, value + (share - share.detach())).sum()}

    def after_step(self) -> None:
        if self.over != "batch":
            self.age += 1
        if self.over == "running":
            self.average.copy_(self.latest)

    def _share(self, mean: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """(D,) shares from the units' mean, least and largest activations."""
        if self.units in BOUNDS:
            low, high = (torch.full_like(mean, bound) for bound in BOUNDS[self.units])
        return (mean - low) / (high - low).clamp(min=LEAST)

    def _over_all(self) -> Tensor:
        """(D,) shares over all training samples."""
        samples = self._kept[1]
        parts = [torch.stack([u.sum(0), u.amin(0), u.amax(0)]) for u in map(self._activations, samples.chunks())]
        totals, lows, highs = torch.stack(parts, 1)
        return self._share(totals.double().sum(0).float() / len(samples), lows.amin(0), highs.amax(0))

    def _activations(self, raw: Tensor) -> Tensor:
        """(B, *shape) raw -> (B, D) activations in eval mode."""
        encoder = self._kept[0]
        with eval_mode(encoder):
            x = encoder.preprocess(raw)
            return (encoder.encode(x) if self.what == "code" else encoder.backbone(x)).float()


def divergence(target: float, share: Tensor) -> Tensor:
    """(D,) KL(target || share) in nats, of variables that are 1 with these chances and else 0."""
    share = share.clamp(LEAST, 1 - LEAST)
    return target * (target / share).log() + (1 - target) * ((1 - target) / (1 - share)).log()
