"""Draw samples as the thumbnails of a sprite sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from aekit.data.samples import to_tensor
from aekit.encoder.encoder import Encoder
from aekit.visualization.rendering import DisplayScale
from aekit.visualization.sprite_sheets import LARGEST, SpriteSheet, image_sprite_sheet, numeric_sprite_sheet
from aekit.visualization.thumbnails import BARS

FRAMES = 3
"""Frames of a clip, side by side."""
POINTS = 120
"""Points of a line; longer series keep their highest and lowest values."""
LINES = 4
"""Channels of a series that are drawn."""


class SpriteSheetBuilder:
    """Draw samples of one kind of data as thumbnails.

    Images and clips are drawn in the data's own units, from what is black there to what is white. Series and vectors are
    drawn as the network sees them, so that columns and channels of any units share one scale.

    Args:
        encoder: encoder of the samples.
        value_range: bottom and top of a line, on the network's scale; by default the range of the training data.
    """

    def __init__(self, encoder: Encoder, value_range: tuple[float, float] | None = None) -> None:
        self.spec, self.preprocess, self.device = encoder.spec, encoder.preprocess, encoder.device
        if self.are_images:
            self.value_range = DisplayScale(self.spec, self.preprocess).value_range
        elif value_range is not None:
            self.value_range = value_range
        else:
            low, high = self.preprocess.low, self.preprocess.high
            # A few outliers among standardized values would flatten the others.
            least, most = (-4.0, 4.0) if self.preprocess.mode == "standard" else (-math.inf, math.inf)
            self.value_range = (max(least, float(low.min())), min(most, float(high.max())))

    @property
    def are_images(self) -> bool:
        return self.spec.is_visual

    def raw_to_cells(self, raw: Tensor | np.ndarray, side: int = LARGEST) -> np.ndarray:
        """Return the cells of (B, *shape) samples in the data's units; see `to_cells`."""
        samples = to_tensor(raw) if isinstance(raw, np.ndarray) else raw
        if self.are_images:
            return self._cells(samples.cpu().float(), side)
        with torch.inference_mode():
            return self.to_cells(self.preprocess(samples.to(self.device)), side)

    def to_cells(self, x: Tensor, side: int = LARGEST) -> np.ndarray:
        """Return the cells of (B, *shape) samples on the network's scale.

        Returns:
            (B, h, w, 3) uint8, neither side above `side`, or (B, channels, points) uint8 for lines and bars.
        """
        if self.are_images:
            return self._cells(self.preprocess.inverse(x).float().cpu(), side)
        rows = x.float().cpu()
        return _quantize(_shorten(rows if rows.ndim == 3 else rows[:, None]), self.value_range)

    def errors_to_cells(self, errors: Tensor, side: int = LARGEST) -> np.ndarray:
        """Return the cells of (B, *shape) errors of at least 0; brightest, or highest, where the error is largest."""
        most = max(float(errors.max()), 1e-12)
        if self.are_images:
            # The mean over the channels, as gray.
            gray = errors.float().cpu().mean(1, keepdim=True).expand_as(errors.cpu())
            return self._cells(gray, side, (0.0, most))
        rows = errors.float().cpu()
        return _quantize(_shorten(rows if rows.ndim == 3 else rows[:, None]), (0.0, most))

    def sprite_sheet(self, cells: Sequence[np.ndarray] | np.ndarray, *, zero: float | None = None) -> SpriteSheet:
        """Join cells to a sheet, in order. `zero` is where bars start, in 0..1."""
        joined = np.concatenate(list(cells)) if isinstance(cells, (list, tuple)) else np.asarray(cells)
        if self.are_images:
            return image_sprite_sheet(joined, frames=FRAMES if self.spec.is_clip else 1)
        bars = self.spec.is_vector and joined.shape[2] <= BARS
        low, high = self.value_range
        start = min(1.0, max(0.0, -low / max(high - low, 1e-12))) if zero is None else zero
        return numeric_sprite_sheet(joined, bars=bars, zero=start)

    def _cells(self, raw: Tensor, side: int, value_range: tuple[float, float] | None = None) -> np.ndarray:
        """Convert (B, C, H, W) or (B, C, T, H, W) to (B, h, w, 3) uint8, with the frames of a clip side by side."""
        low, high = value_range or self.value_range
        inside = ((raw - low) / max(high - low, 1e-12)).clamp(0, 1)
        if inside.ndim == 5:
            frames = torch.linspace(0, inside.shape[2] - 1, min(FRAMES, inside.shape[2])).round().long()
            inside = torch.cat([inside[:, :, frame] for frame in frames], 3)  # (B, C, H, FRAMES * W)
            side = round(side * 2.5)
        # Two channels show the first, more than three the first three.
        inside = inside[:, :3] if inside.shape[1] >= 3 else inside[:, :1].expand(-1, 3, -1, -1)
        tall, wide = inside.shape[2:]
        if max(tall, wide) > side:
            size = (max(1, round(tall * side / max(tall, wide))), max(1, round(wide * side / max(tall, wide))))
            inside = interpolate(inside, size, mode="bilinear", antialias=True)
        return (inside.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()


def _shorten(rows: Tensor) -> Tensor:
    """Shorten (B, C, T) to at most LINES channels and POINTS points: the lowest and the highest value of each stretch."""
    rows = rows[:, :LINES]
    count, channels, length = rows.shape
    if length <= POINTS:
        return rows
    edges = np.linspace(0, length, POINTS // 2 + 1).astype(int)
    ends = [torch.stack([rows[..., a:b].amin(-1), rows[..., a:b].amax(-1)], -1) for a, b in pairwise(edges)]
    return torch.cat(ends, -1).reshape(count, channels, -1)


def _quantize(rows: Tensor, value_range: tuple[float, float]) -> np.ndarray:
    low, high = value_range
    inside = ((rows - low) / max(high - low, 1e-12)).clamp(0, 1)
    return (inside * 255).round().to(torch.uint8).numpy()
