"""Cover an image with windows of one size."""

from __future__ import annotations

import math

import numpy as np

from aekit.io.memory import check_memory

_BYTES = 150
"""Bytes of a window: its place and its id."""


def window_corners(
    whole: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...], max_samples: int = 0
) -> np.ndarray:
    """Return the upper left corners (N, 2) of a grid of windows over an image, row by row.

    The last row and column end at the edge, so that a stride of at most the window covers the whole image. An axis that is
    shorter than a window has one corner, at 0.

    Args:
        whole: (height, width) of the image, in pixels.
        window: (height, width) of a window.
        stride: (height, width) between the starts of two windows.
        max_samples: maximum number of windows, evenly spaced in the grid; 0: all.

    Raises:
        DataError: they do not fit in memory.
    """
    counts = [-(-max(0, side - part) // step) + 1 for side, part, step in zip(whole, window, stride)]
    check_memory(_BYTES * math.prod(counts), f"windows of {window[1]}x{window[0]} in {whole[1]}x{whole[0]} pixels")
    down, across = (_starts(*along) for along in zip(whole, window, stride))
    grid = np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(-1, 2)
    if not 0 < max_samples < len(grid):
        return grid
    return grid[np.linspace(0, len(grid) - 1, max_samples).round().astype(np.intp)]


def _starts(length: int, window: int, stride: int) -> np.ndarray:
    last = max(0, length - window)
    return np.append(np.arange(0, last, stride), last)
