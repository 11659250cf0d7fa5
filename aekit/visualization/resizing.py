"""Reduce images to thumbnails with NumPy, so that drawing samples does not import torch."""

from __future__ import annotations

import numpy as np


def resize_bilinear(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize images bilinearly, each pixel being a mean over its area where they become smaller.

    It is ``torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True)`` but for rounding.

    Args:
        images: (..., H, W) of any numbers.
        size: height h and width w of the result.

    Returns:
        (..., h, w) float32.
    """
    planes = np.ascontiguousarray(images, np.float32)
    if planes.shape[-2:] == size:
        return planes
    narrow = planes @ _weights(planes.shape[-1], size[1]).T
    return _weights(planes.shape[-2], size[0]) @ narrow


def _weights(count: int, wanted: int) -> np.ndarray:
    """Return the (wanted, count) float32 weights of `count` pixels in each of the new ones; they sum to 1."""
    factor = count / wanted
    centers = factor * (np.arange(wanted) + 0.5)
    distances = np.abs(np.arange(count) + 0.5 - centers[:, None]) / max(factor, 1)
    weights = np.maximum(1 - distances, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
