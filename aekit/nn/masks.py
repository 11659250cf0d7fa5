"""Holes in samples of any number of axes: blocks, random shapes, what lies around them, and simple ways to fill them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MODES = ("linear", "bilinear", "trilinear")
POOLS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def block_masks(
    size: Sequence[int], sides: Sequence[int], share: float, count: int, generator: torch.Generator, *, central: bool
) -> Tensor:
    """A block for each of `count` samples, of one volume and of sides up to twice as long as one another.

    Args:
        size: of the samples, without channels.
        sides: of a sample that `share` counts from.
        share: of its entries that a block has.
        central: all in the middle and of equal sides, in proportion to the sample's, instead of anywhere.

    Returns:
        bool (count, 1, *size)
    """
    drawn = torch.rand(2, count, len(size), generator=generator, device=generator.device)
    if central:
        drawn = torch.full_like(drawn, 0.5)
    # Logarithms that add up to zero: what one side gains, the others lose.
    uneven = math.log(2) * (drawn[0] - drawn[0].mean(1, keepdim=True))
    inside = torch.ones(count, 1, *size, dtype=torch.bool, device=generator.device)
    for axis, (whole, side) in enumerate(zip(size, sides)):
        length = (side * share ** (1 / len(size)) * uneven[:, axis].exp()).clamp(1, min(side, whole))
        first = (drawn[1, :, axis] * (whole - length))[:, None]
        middles = torch.arange(whole, device=generator.device) + 0.5
        along = (middles >= first) & (middles < first + length[:, None])  # (count, whole)
        inside = inside & along.view(count, *[1] * (axis + 1), whole, *[1] * (len(size) - axis - 1))
    return inside


def random_shape_masks(
    size: Sequence[int], cells: Sequence[int], share: float, count: int, generator: torch.Generator
) -> Tensor:
    """Random shapes that cover the same share of every sample: where coarse noise, made smooth, is highest.

    Args:
        size: of the samples, without channels.
        cells: of the noise, along each axis.

    Returns:
        bool (count, 1, *size)
    """
    noise = torch.randn(count, 1, *cells, generator=generator, device=generator.device)
    smooth = F.interpolate(noise, tuple(size), mode=MODES[len(size) - 1]).flatten(1)
    most = min(max(1, round(share * smooth.shape[1])), smooth.shape[1] - 1)
    highest = torch.zeros_like(smooth, dtype=torch.bool).scatter_(1, smooth.topk(most, 1).indices, True)
    return highest.view(count, 1, *size)


def dilate_mask(inside: Tensor, by: int) -> Tensor:
    """(B, 1, ...) bool -> the same, with what is at most `by` entries away along each axis."""
    near = inside.float()
    for axis in range(2, near.ndim) if by else ():
        lines = near.movedim(axis, -1)
        near = F.max_pool1d(lines.flatten(1, -2), 2 * by + 1, 1, by).reshape(lines.shape).movedim(-1, axis)
    return near > 0


def smooth_fill(x: Tensor, hidden: Tensor) -> Tensor:
    """(B, C, ...) and bool (B, 1, ...) -> (B, C, ...) with a blend of what is visible around in each hidden entry.

    Averages of what is visible, over twice the side at each step, and back by interpolation. Gortler,
    Grzeszczuk, Szeliski and Cohen, The lumigraph, 1996, who call it push-pull.
    """
    return _blended(x, (~hidden).to(x.dtype))


def _blended(x: Tensor, known: Tensor) -> Tensor:
    """(B, C, ...) of which a share `known` (B, 1, ...) in 0..1 is."""
    if max(x.shape[2:]) == 1:
        return x
    pool = partial(POOLS[x.ndim - 3], kernel_size=[min(2, side) for side in x.shape[2:]], ceil_mode=True)
    below = pool(known, count_include_pad=False)
    averages = pool(x * known, count_include_pad=False) / below.clamp(min=1e-6)
    # A cell with a quarter of its entries known is as good as known.
    blended = _blended(averages, (below * 4).clamp(max=1))
    return x * known + F.interpolate(blended, x.shape[2:], mode=MODES[x.ndim - 3]) * (1 - known)


def nearest_fill(x: Tensor, hidden: Tensor) -> Tensor:
    """(B, C, ...) and bool (B, 1, ...) -> (B, C, ...) with the nearest visible entry in each hidden one."""
    from scipy.ndimage import distance_transform_edt

    def fill(sample: np.ndarray, hole: np.ndarray) -> np.ndarray:
        places = distance_transform_edt(hole, return_distances=False, return_indices=True)
        return sample[(slice(None), *places)]

    return _each(x, hidden, fill)


def biharmonic_fill(x: Tensor, hidden: Tensor) -> Tensor:
    """(B, C, H, W) and bool (B, 1, H, W) -> (B, C, H, W) with the smoothest surface through what is visible, by scikit-image."""
    from skimage.restoration import inpaint_biharmonic

    return _each(x, hidden, lambda sample, hole: inpaint_biharmonic(sample, hole, channel_axis=0))


def _each(x: Tensor, hidden: Tensor, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Tensor:
    pairs = zip(x.cpu().numpy(), hidden[:, 0].cpu().numpy())
    filled = [fill(sample, hole) if hole.any() and not hole.all() else sample for sample, hole in pairs]
    return torch.from_numpy(np.stack(filled)).to(x)
