"""Resample along axes with the kernels of Pillow, antialiased when shrinking."""

from __future__ import annotations

import torch
from torch import Tensor

from aekit.data.spec import Kernel
from aekit.io.device_constants import constant_like

SHARPNESS = -0.5
"""Parameter of the bicubic kernel that reproduces parabolas. Keys, Cubic convolution interpolation for digital image
processing, 1981."""


def resample(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resample (B, C, ...) to (B, C, *size)."""
    for axis, (before, after) in enumerate(zip(x.shape[2:], size), start=2):
        if before != after:
            weights = constant_like(resampling_weights, before, after, like=x)
            x = (x.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return x


def resampling_weights(before: int, after: int, kernel: Kernel = "bicubic") -> Tensor:
    """Return the weights (after, before) float64 of old entries in new ones; rows sum to 1."""
    scale = before / after
    width = max(scale, 1.0)  # when shrinking, the kernel widens to average over all entries that it covers
    centers = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    distance = (torch.arange(before, dtype=torch.float64) + 0.5 - centers[:, None]).abs() / width
    if kernel == "bilinear":
        heights = (1 - distance).clamp(min=0)
    else:
        near = (SHARPNESS + 2) * distance**3 - (SHARPNESS + 3) * distance**2 + 1
        far = SHARPNESS * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        heights = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    return heights / heights.sum(1, keepdim=True)
