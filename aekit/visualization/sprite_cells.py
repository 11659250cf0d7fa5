"""Draw samples as the thumbnails of a sprite sheet, in NumPy: torch is imported only where tensors are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from aekit.encoder.stored_scaling import Scaled
from aekit.visualization.rendering import DisplayScale
from aekit.visualization.resizing import resize_bilinear
from aekit.visualization.sprite_sheets import LARGEST, SpriteSheet, image_sprite_sheet, numeric_sprite_sheet
from aekit.visualization.thumbnails import BARS

if TYPE_CHECKING:
    from torch import Tensor

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
        encoder: encoder of the samples, or what is stored of it.
        value_range: bottom and top of a line, on the network's scale; by default the range of the training data.
    """

    def __init__(self, encoder: Scaled, value_range: tuple[float, float] | None = None) -> None:
        self.spec = encoder.spec
        self.preprocess: Any = encoder.preprocess
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
        samples = _array(raw)
        if self.are_images:
            return self._cells(samples, side)
        return self._numeric_cells(self.preprocess.scaled(samples), self.value_range)

    def to_cells(self, x: Tensor, side: int = LARGEST) -> np.ndarray:
        """Return the cells of (B, *shape) samples on the network's scale.

        Returns:
            (B, h, w, 3) uint8, neither side above `side`, or (B, channels, points) uint8 for lines and bars.
        """
        if self.are_images:
            return self._cells(_array(self.preprocess.inverse(x).float()), side)
        return self._numeric_cells(_array(x.float()), self.value_range)

    def errors_to_cells(self, errors: Tensor, side: int = LARGEST) -> np.ndarray:
        """Return the cells of (B, *shape) errors of at least 0; brightest, or highest, where the error is largest."""
        most = max(float(errors.max()), 1e-12)
        values = _array(errors.float())
        if self.are_images:
            # The mean over the channels, as gray.
            gray = np.broadcast_to(values.mean(axis=1, keepdims=True), values.shape)
            return self._cells(gray, side, (0.0, most))
        return self._numeric_cells(values, (0.0, most))

    def sprite_sheet(self, cells: Sequence[np.ndarray] | np.ndarray, *, zero: float | None = None) -> SpriteSheet:
        """Join cells to a sheet, in order. `zero` is where bars start, in 0..1."""
        joined = np.concatenate(list(cells)) if isinstance(cells, (list, tuple)) else np.asarray(cells)
        if self.are_images:
            return image_sprite_sheet(joined, frames=FRAMES if self.spec.is_clip else 1)
        bars = self.spec.is_vector and joined.shape[2] <= BARS
        low, high = self.value_range
        start = min(1.0, max(0.0, -low / max(high - low, 1e-12))) if zero is None else zero
        return numeric_sprite_sheet(joined, bars=bars, zero=start)

    def _cells(self, raw: np.ndarray, side: int, value_range: tuple[float, float] | None = None) -> np.ndarray:
        """Convert (B, C, H, W) or (B, C, T, H, W) to (B, h, w, 3) uint8, with the frames of a clip side by side."""
        if raw.ndim == 5:
            frames = np.linspace(0, raw.shape[2] - 1, min(FRAMES, raw.shape[2])).round().astype(int)
            raw = np.concatenate([raw[:, :, frame] for frame in frames], axis=3)  # (B, C, H, FRAMES * W)
            side = round(side * 2.5)
        # Two channels show the first, more than three the first three.
        planes = _within(raw[:, : 3 if raw.shape[1] >= 3 else 1], value_range or self.value_range)
        tall, wide = planes.shape[2:]
        if max(tall, wide) > side:
            planes = resize_bilinear(
                planes, (max(1, round(tall * side / max(tall, wide))), max(1, round(wide * side / max(tall, wide))))
            )
        cells = _as_bytes(planes.transpose(0, 2, 3, 1))
        return cells if cells.shape[3] == 3 else cells.repeat(3, axis=3)

    def _numeric_cells(self, x: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
        """Convert (B, C, T) or (B, D) to (B, channels, points) uint8."""
        return _as_bytes(_within(_shorten(x if x.ndim == 3 else x[:, None]), value_range))


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()


def _shorten(rows: np.ndarray) -> np.ndarray:
    """Shorten (B, C, T) to at most LINES channels and POINTS points: the lowest and the highest value of each stretch."""
    rows = rows[:, :LINES]
    count, channels, length = rows.shape
    if length <= POINTS:
        return rows
    edges = np.linspace(0, length, POINTS // 2 + 1).astype(int)
    ends = [np.stack([rows[..., a:b].min(-1), rows[..., a:b].max(-1)], -1) for a, b in pairwise(edges)]
    return np.concatenate(ends, -1).reshape(count, channels, -1)


def _within(values: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Map a range of values to 0..1, as float32; what lies outside is clipped."""
    low, high = value_range
    return ((values.astype(np.float32) - low) / max(high - low, 1e-12)).clip(0, 1).astype(np.float32)


def _as_bytes(inside: np.ndarray) -> np.ndarray:
    """Return values in 0..1 as uint8; what is not a number, in samples that cannot be read, is black."""
    return (np.nan_to_num(inside, copy=False, nan=0.0) * 255).round().astype(np.uint8)
