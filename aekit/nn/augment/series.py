"""Views of series: a part of it at an uneven pace, stretched to the whole length, with gain, noise and a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.encoder.preprocessing import Preprocess
from aekit.nn.augment.base import Augmentation, Strength, format_percent, normal, uniform

KNOTS = 4
"""Of the smooth random curves that bend time and gain."""


@dataclass(frozen=True, kw_only=True)
class SeriesAugmentation(Augmentation):
    """A `share` of the length is cut out and read off at an uneven pace; each channel is multiplied by a factor that drifts;
    noise is added; a stretch is set to 0, which is the mean of standardized series.

    Um et al., Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional neural networks,
    2017.

    Attributes:
        pace: deviation of the logarithm of the speed.
        gain: deviation of each channel's factor from 1.
        drift: deviation of its change within the series.
        noise: its deviation, on the preprocessed scale.
        gap: largest length of the stretch that is set to 0, as a part of the whole.
    """

    pace: float
    gain: float
    drift: float
    noise: float
    gap: float

    @property
    def description(self) -> str:
        return f"{format_percent(self.crop_scale)} of the length, at an uneven pace; gain, noise, a gap"

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        count, channels, length = x.shape
        part = self._part(x, generator)
        curve = interpolate_knots(normal(count, channels, KNOTS, generator=generator), length)
        factor = 1 + self.gain * normal(count, channels, 1, generator=generator) + self.drift * curve
        view = part * factor + self.noise * normal(*x.shape, generator=generator)
        gap = uniform(count, 0, self.gap, generator)
        start = uniform(count, 0, 1, generator) * (1 - gap)
        place = (torch.arange(length, device=x.device) + 0.5) / length
        return view.masked_fill(((place >= start[:, None]) & (place < (start + gap)[:, None]))[:, None], 0.0)

    def _part(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, T) -> (B, C, T): a stretch of each series, at an uneven pace, between whose steps lines are drawn."""
        count, _, length = x.shape
        share = self.crop_scales(count, generator)[:, None]
        start = uniform(count, 0, 1, generator)[:, None] * (1 - share)
        speed = (self.pace * interpolate_knots(normal(count, 1, KNOTS, generator=generator), length)[:, 0]).exp()
        passed = speed.cumsum(1) - speed[:, :1]  # (B, T), from 0
        at = (length - 1) * (start + share * passed / passed[:, -1:].clamp(min=1e-6))
        before = at.long().clamp(max=max(length - 2, 0))
        after = (before + 1).clamp(max=length - 1)
        left, right = (x.gather(2, step[:, None].expand_as(x)) for step in (before, after))
        return torch.lerp(left, right, (at - before)[:, None].clamp(0, 1))


def interpolate_knots(knots: Tensor, length: int) -> Tensor:
    """(B, C, K) values at evenly spaced knots -> (B, C, length), with lines in between."""
    return F.interpolate(knots, length, mode="linear", align_corners=True)


PRESETS: dict[str, dict[str, Any]] = {
    "weak": {"crop_scale": (0.8, 1.0), "pace": 0.1, "gain": 0.1, "drift": 0.05, "noise": 0.05, "gap": 0.05},
    "usual": {"crop_scale": (0.5, 1.0), "pace": 0.2, "gain": 0.2, "drift": 0.1, "noise": 0.1, "gap": 0.1},
    "strong": {"crop_scale": (0.3, 1.0), "pace": 0.4, "gain": 0.4, "drift": 0.2, "noise": 0.2, "gap": 0.3},
}
"""Noise is for data of deviation 1; data in [0, 1] has about a quarter of that."""


def series_augmentation(preprocess: Preprocess, strength: Strength = "usual") -> SeriesAugmentation:
    """Views of series (C, T)."""
    preset = PRESETS[strength]
    noise = preset["noise"] / (4 if preprocess.unit else 1)
    return SeriesAugmentation(**preset | {"noise": noise}, unit=preprocess.unit)
