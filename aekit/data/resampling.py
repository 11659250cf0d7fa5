"""Samples made smaller or larger along their axes, with the kernels that Pillow uses: antialiased on the way down."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["bicubic", "bilinear"]

SHARPNESS = -0.5
"""Of the kernel: what reproduces a parabola. Keys, Cubic convolution interpolation for digital image processing, 1981."""


def resample(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, C, ...) -> (B, C, *size)."""
    for axis, (before, after) in enumerate(zip(x.shape[2:], size), start=2):
        if before != after:
            weights = resampling_weights(before, after).to(x)
            x = (x.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return x


def resampling_weights(before: int, after: int, kernel: Kernel = "bicubic") -> Tensor:
    """(after, before) float64: what each new entry takes of each old one; rows sum to 1."""
    scale = before / after
    wide = max(scale, 1.0)  # on the way down the kernel widens, so that it averages over all that it stands for
    centers = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    away = (torch.arange(before, dtype=torch.float64) + 0.5 - centers[:, None]).abs() / wide
    if kernel == "bilinear":
        heights = (1 - away).clamp(min=0)
    else:
        near = (SHARPNESS + 2) * away**3 - (SHARPNESS + 3) * away**2 + 1
        far = SHARPNESS * (away**3 - 5 * away**2 + 8 * away - 4)
        heights = torch.where(away < 1, near, torch.where(away < 2, far, 0.0))
    return heights / heights.sum(1, keepdim=True)
