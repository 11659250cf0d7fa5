"""Gaussian blur of samples with any number of axes, with one width per sample."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur samples with a Gaussian along each axis after the channels, repeating the values at the edges.

    Args:
        x: (B, C, ...) samples.
        sigma: (B,) standard deviations in entries; 0 leaves a sample as it is.
        radius: entries from the center at which the Gaussian is cut off.

    Returns:
        (B, C, ...) blurred samples.
    """
    steps = torch.arange(-radius, radius + 1, device=x.device)
    kernels = (-0.5 * (steps / sigma.clamp(min=1e-3)[:, None]).square()).softmax(1)
    for axis in range(2, x.ndim):
        lines = x.movedim(axis, -1)
        # Samples become the channels of a grouped convolution, so that each gets its own kernel: (N, B, L).
        padded = F.pad(lines.flatten(1, -2).transpose(0, 1), (radius, radius), mode="replicate")
        blurred = F.conv1d(padded, kernels[:, None], groups=len(x)).transpose(0, 1)
        x = blurred.reshape(lines.shape).movedim(-1, axis).to(x.dtype)
    return x
