"""What all views have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.registry.options import Field

Strength = Annotated[
    Literal["weak", "usual", "strong"], Field(description="how far from the sample a view of it may be")
]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Draws a view of each sample of a batch.

    Attributes:
        share: least and most of a sample that a view shows, drawn for each.
        unit: whether samples lie in [0, 1], where views of them have to stay.
    """

    crop_scale: tuple[float, float]
    unit: bool

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, *shape) preprocessed -> (B, *shape), a new view of each sample, which is left as it is."""
        # In bfloat16 a place on an image is known to a few pixels.
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            view = self.draw(x.float(), generator)
            return view.clamp(0, 1) if self.unit else view

    @property
    def description(self) -> str:
        """What a view shows, and what may be changed in it, in words."""
        raise NotImplementedError

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, *shape) float32 -> (B, *shape), not yet held within bounds."""
        raise NotImplementedError

    def crop_scales(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) parts of samples to show."""
        return uniform(count, *self.crop_scale, generator)


def format_percent(share: tuple[float, float]) -> str:
    """(0.2, 1) as ``20 to 100 %``."""
    low, high = (f"{100 * part:.3g}" for part in share)
    return f"{high} %" if low == high else f"{low} to {high} %"


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """(count,) uniform numbers, on the generator's device."""
    return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)


def bernoulli(count: int, chance: float, generator: torch.Generator) -> Tensor:
    """(count,) bool, on the generator's device."""
    return torch.rand(count, generator=generator, device=generator.device) < chance


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of this shape, on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device)
