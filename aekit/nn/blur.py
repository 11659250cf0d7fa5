"""Gaussian blur of samples of any number of axes, each sample by a width of its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Convolves along each axis after the channels with a Gaussian; what lies beyond an edge is taken to be like the edge.

    Args:
        x: (B, C, ...) samples.
        sigma: (B,) standard deviations in entries; 0 leaves a sample as it is.
        radius: entries after which the Gaussian is cut off.

    Returns:
        (B, C, ...)
    """
    steps = torch.arange(-radius, radius + 1, device=x.device)
    kernels = (-0.5 * (steps / sigma.clamp(min=1e-3)[:, None]).square()).softmax(1)
    for axis in range(2, x.ndim):
        lines = x.movedim(axis, -1)
        # Samples become the channels of a grouped convolution, so that each has its own kernel: (N, B, L).
        padded = F.pad(lines.flatten(1, -2).transpose(0, 1), (radius, radius), mode="replicate")
        mixed = F.conv1d(padded, kernels[:, None], groups=len(x)).transpose(0, 1)
        x = mixed.reshape(lines.shape).movedim(-1, axis).to(x.dtype)
    return x
