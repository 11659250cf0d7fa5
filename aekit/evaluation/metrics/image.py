"""Metrics of restored samples. Structural similarity is in `aekit.objectives.losses`."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_PSNR = 100.0
"""Value for a perfect reconstruction, whose ratio is infinite, so that means stay finite."""


def squared_errors(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Return (B,) float64 mean squared errors of (B, *shape) samples."""
    return (reconstruction.double() - target.double()).square().flatten(1).mean(1)


def psnr_from_mse(errors: Tensor, peak: float = 1.0) -> Tensor:
    """Convert (B,) mean squared errors to (B,) peak signal-to-noise ratios, at most 100 dB; `peak` is the range of values."""
    return (10 * torch.log10(peak**2 / errors.double().clamp(min=1e-300))).clamp(max=MAX_PSNR)
