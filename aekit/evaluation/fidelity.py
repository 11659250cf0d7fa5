"""How near a restored sample is to the true one: squared error, peak signal to noise ratio, structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_DB = 100.0
"""What a perfect reconstruction is given: its ratio is infinite, and no mean could be taken of that."""
WINDOW, SIGMA = 11, 1.5


def squared_errors(given: Tensor, true: Tensor) -> Tensor:
    """(B, *shape) and (B, *shape) -> (B,) means over the entries, float64."""
    return (given.double() - true.double()).square().flatten(1).mean(1)


def psnr(errors: Tensor, peak: float = 1.0) -> Tensor:
    """(B,) mean squared errors -> (B,) decibels below `peak`, the range of the values; 100 at most."""
    return (10 * torch.log10(peak**2 / errors.double().clamp(min=1e-300))).clamp(max=MOST_DB)


def ssim(given: Tensor, true: Tensor, peak: float = 1.0) -> Tensor:
    """Structural similarity of pictures, averaged over positions and channels.

    Wang, Bovik, Sheikh and Simoncelli, Image quality assessment: from error visibility to structural similarity, 2004: a
    gaussian window of 11 x 11 with deviation 1.5, within the picture; smaller where the picture is.

    Args:
        given, true: (B, C, H, W).
        peak: range of the values.

    Returns:
        (B,) in -1..1, 1 for equal pictures; float64.
    """
    channels = true.shape[1]
    side = min(WINDOW, *true.shape[-2:])
    side -= 1 - side % 2
    away = torch.arange(side, dtype=torch.float64, device=true.device) - side // 2
    line = torch.exp(-(away**2) / (2 * SIGMA**2))
    line = line / line.sum()

    def blurred(x: Tensor) -> Tensor:
        # (B, C, H, W) -> (B, C, H - side + 1, W - side + 1), one axis after the other
        x = F.conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return F.conv2d(x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

    x, y = given.double() / peak, true.double() / peak
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    both = blurred(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return (alike / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).flatten(1).mean(1)
