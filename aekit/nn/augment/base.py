"""Base class and random numbers of augmentations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Strength = Literal["weak", "default", "strong"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Draws a random view of each sample in a batch.

    Attributes:
        crop_scale: minimum and maximum fraction of a sample in a view.
        unit: whether samples, and therefore views, lie in [0, 1].
    """

    crop_scale: tuple[float, float]
    unit: bool

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a view (B, *shape) of each preprocessed sample (B, *shape), not in place."""
        # bfloat16 would resolve positions in an image only to a few pixels.
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            view = self.draw(x.float(), generator)
            return view.clamp(0, 1) if self.unit else view

    @property
    def description(self) -> str:
        """One line about the views, for people."""
        raise NotImplementedError

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw views of (B, *shape) float32, not yet clamped."""
        raise NotImplementedError

    def crop_scales(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the fractions (count,) of the samples to show."""
        return uniform(count, *self.crop_scale, generator)


def format_percent(scale: tuple[float, float]) -> str:
    """Format (0.2, 1) as ``20 to 100%``."""
    low, high = (f"{100 * fraction:.3g}" for fraction in scale)
    return f"{high}%" if low == high else f"{low} to {high}%"


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw (count,) uniform numbers on the generator's device."""
    return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)


def bernoulli(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Draw (count,) bool, True with this probability, on the generator's device."""
    return torch.rand(count, generator=generator, device=generator.device) < probability


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers of this shape on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device)
