"""Masks of samples with any number of axes: blocks, random shapes, dilation, and simple ways to fill masked entries."""

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
    size: Sequence[int], sides: Sequence[int], ratio: float, count: int, generator: torch.Generator, *, central: bool
) -> Tensor:
    """Return a block mask for each of `count` samples, of equal volume and with sides up to twice as long as one another.

    Args:
        size: of the samples, without channels.
        sides: size that `ratio` refers to.
        ratio: fraction of the entries in the block, 0..1.
        count: number of masks.
        generator: of the random numbers.
        central: place all blocks in the center, with sides in proportion to the sample's, instead of anywhere.

    Returns:
        bool (count, 1, *size), True in the block.
    """
    drawn = torch.rand(2, count, len(size), generator=generator, device=generator.device)
    if central:
        drawn = torch.full_like(drawn, 0.5)
    # Log factors of the sides add up to zero, so that the volume does not change.
    log_factors = math.log(2) * (drawn[0] - drawn[0].mean(1, keepdim=True))
    masks = torch.ones(count, 1, *size, dtype=torch.bool, device=generator.device)
    for axis, (length, side) in enumerate(zip(size, sides)):
        block = (side * ratio ** (1 / len(size)) * log_factors[:, axis].exp()).clamp(1, min(side, length))
        first = (drawn[1, :, axis] * (length - block))[:, None]
        centers = torch.arange(length, device=generator.device) + 0.5
        inside = (centers >= first) & (centers < first + block[:, None])  # (count, length)
        masks = masks & inside.view(count, *[1] * (axis + 1), length, *[1] * (len(size) - axis - 1))
    return masks


def random_shape_masks(
    size: Sequence[int], cells: Sequence[int], ratio: float, count: int, generator: torch.Generator
) -> Tensor:
    """Return masks of random shapes, where smoothed coarse noise is highest, that cover the same ratio of every sample.

    Args:
        size: of the samples, without channels.
        cells: cells of the noise along each axis.
        ratio: fraction of masked entries, 0..1.
        count: number of masks.
        generator: of the random numbers.

    Returns:
        bool (count, 1, *size), True in the shapes.
    """
    noise = torch.randn(count, 1, *cells, generator=generator, device=generator.device)
    smooth = F.interpolate(noise, tuple(size), mode=MODES[len(size) - 1]).flatten(1)
    masked = min(max(1, round(ratio * smooth.shape[1])), smooth.shape[1] - 1)
    masks = torch.zeros_like(smooth, dtype=torch.bool).scatter_(1, smooth.topk(masked, 1).indices, True)
    return masks.view(count, 1, *size)


def dilate_mask(mask: Tensor, by: int) -> Tensor:
    """Extend a mask (B, 1, ...) bool by `by` entries in both directions along each axis."""
    dilated = mask.float()
    for axis in range(2, dilated.ndim) if by else ():
        lines = dilated.movedim(axis, -1)
        dilated = F.max_pool1d(lines.flatten(1, -2), 2 * by + 1, 1, by).reshape(lines.shape).movedim(-1, axis)
    return dilated > 0


def smooth_fill(x: Tensor, mask: Tensor) -> Tensor:
    """Fill the masked entries of (B, C, ...), given bool (B, 1, ...), with a blend of the visible entries around them.

    Visible entries are averaged over twice the side at each step, and interpolated back: the push-pull of Gortler,
    Grzeszczuk, Szeliski and Cohen, The lumigraph, 1996.
    """
    return _push_pull(x, (~mask).to(x.dtype))


def _push_pull(x: Tensor, known: Tensor) -> Tensor:
    """Fill (B, C, ...), of whose entries the fractions `known` (B, 1, ...) in 0..1 are visible."""
    if max(x.shape[2:]) == 1:
        return x
    pool = partial(POOLS[x.ndim - 3], kernel_size=[min(2, side) for side in x.shape[2:]], ceil_mode=True)
    coarse_known = pool(known, count_include_pad=False)
    averages = pool(x * known, count_include_pad=False) / coarse_known.clamp(min=1e-6)
    # A cell with a quarter of its entries visible counts as visible.
    filled = _push_pull(averages, (coarse_known * 4).clamp(max=1))
    return x * known + F.interpolate(filled, x.shape[2:], mode=MODES[x.ndim - 3]) * (1 - known)


def nearest_fill(x: Tensor, mask: Tensor) -> Tensor:
    """Fill the masked entries of (B, C, ...), given bool (B, 1, ...), with the nearest visible ones."""
    from scipy.ndimage import distance_transform_edt

    def fill(sample: np.ndarray, mask: np.ndarray) -> np.ndarray:
        indices = distance_transform_edt(mask, return_distances=False, return_indices=True)
        return sample[(slice(None), *indices)]

    return _fill_each(x, mask, fill)


def biharmonic_fill(x: Tensor, mask: Tensor) -> Tensor:
    """Fill the masked pixels of (B, C, H, W), given bool (B, 1, H, W), with scikit-image's biharmonic surface."""
    from skimage.restoration import inpaint_biharmonic

    return _fill_each(x, mask, lambda sample, mask: inpaint_biharmonic(sample, mask, channel_axis=0))


def _fill_each(x: Tensor, masks: Tensor, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Tensor:
    pairs = zip(x.cpu().numpy(), masks[:, 0].cpu().numpy())
    filled = [fill(sample, mask) if mask.any() and not mask.all() else sample for sample, mask in pairs]
    return torch.from_numpy(np.stack(filled)).to(x)
