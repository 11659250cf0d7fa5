"""How near restored samples are to the true ones, sample by sample. Structural similarity is in `aekit.objectives.losses`."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_PSNR = 100.0
"""What a perfect reconstruction is given: its ratio is infinite, and no mean could be taken of that."""


def squared_errors(given: Tensor, true: Tensor) -> Tensor:
    """(B, *shape) and (B, *shape) -> (B,) means over the entries, float64."""
    return (given.double() - true.double()).square().flatten(1).mean(1)


def psnr_from_mse(errors: Tensor, peak: float = 1.0) -> Tensor:
    """(B,) mean squared errors -> (B,) peak signal to noise ratios; `peak` is the range of the values. 100 at most."""
    return (10 * torch.log10(peak**2 / errors.double().clamp(min=1e-300))).clamp(max=MAX_PSNR)
