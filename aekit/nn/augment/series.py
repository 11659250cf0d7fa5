"""Augment series: random crop, time warp, gain, noise and a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.encoder.preprocessing import Preprocess
from aekit.nn.augment.base import Augmentation, Strength, format_percent, normal, uniform

KNOTS = 4
"""Number of knots of the smooth random curves that warp time and gain."""


@dataclass(frozen=True, kw_only=True)
class SeriesAugmentation(Augmentation):
    """Crop a fraction `crop_scale` of the length and resample it at a varying pace; multiply each channel by a drifting factor;
    add noise; set a stretch to 0, the mean of standardized series.

    Um et al., Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional neural networks,
    2017.

    Attributes:
        pace: standard deviation of the log speed.
        gain: standard deviation of each channel's factor.
        drift: standard deviation of its change within the series.
        noise: standard deviation of the noise, on the preprocessed scale.
        gap: maximum length of the stretch that is set to 0, as a fraction of the whole.
    """

    pace: float
    gain: float
    drift: float
    noise: float
    gap: float

    @property
    def description(self) -> str:
        return f"{format_percent(self.crop_scale)} of the length, time warp; gain, noise, gap"

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        count, channels, length = x.shape
        crop = self._crop(x, generator)
        curve = interpolate_knots(normal(count, channels, KNOTS, generator=generator), length)
        factor = 1 + self.gain * normal(count, channels, 1, generator=generator) + self.drift * curve
        view = crop * factor + self.noise * normal(*x.shape, generator=generator)
        gap = uniform(count, 0, self.gap, generator)
        start = uniform(count, 0, 1, generator) * (1 - gap)
        position = (torch.arange(length, device=x.device) + 0.5) / length
        return view.masked_fill(((position >= start[:, None]) & (position < (start + gap)[:, None]))[:, None], 0.0)

    def _crop(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Crop a stretch of each series (B, C, T) and resample it at a varying pace, by linear interpolation."""
        count, _, length = x.shape
        scale = self.crop_scales(count, generator)[:, None]
        start = uniform(count, 0, 1, generator)[:, None] * (1 - scale)
        speed = (self.pace * interpolate_knots(normal(count, 1, KNOTS, generator=generator), length)[:, 0]).exp()
        elapsed = speed.cumsum(1) - speed[:, :1]  # (B, T), from 0
        time = (length - 1) * (start + scale * elapsed / elapsed[:, -1:].clamp(min=1e-6))
        before = time.long().clamp(max=max(length - 2, 0))
        after = (before + 1).clamp(max=length - 1)
        left, right = (x.gather(2, step[:, None].expand_as(x)) for step in (before, after))
        return torch.lerp(left, right, (time - before)[:, None].clamp(0, 1))


def interpolate_knots(knots: Tensor, length: int) -> Tensor:
    """Interpolate values (B, C, K) at evenly spaced knots linearly -> (B, C, length)."""
    return F.interpolate(knots, length, mode="linear", align_corners=True)


PRESETS: dict[str, dict[str, Any]] = {
    "weak": {"crop_scale": (0.8, 1.0), "pace": 0.1, "gain": 0.1, "drift": 0.05, "noise": 0.05, "gap": 0.05},
    "default": {"crop_scale": (0.5, 1.0), "pace": 0.2, "gain": 0.2, "drift": 0.1, "noise": 0.1, "gap": 0.1},
    "strong": {"crop_scale": (0.3, 1.0), "pace": 0.4, "gain": 0.4, "drift": 0.2, "noise": 0.2, "gap": 0.3},
}
"""Noise is for data of standard deviation 1; data in [0, 1] has about a quarter of it."""


def series_augmentation(preprocess: Preprocess, strength: Strength = "default") -> SeriesAugmentation:
    """Return the augmentation for series (C, T)."""
    preset = PRESETS[strength]
    noise = preset["noise"] / (4 if preprocess.unit else 1)
    return SeriesAugmentation(**preset | {"noise": noise}, unit=preprocess.unit)
