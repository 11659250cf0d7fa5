"""From sRGB to CIELAB and back, in which distances are about as large as they look. White is D65, the observer that of 2 degrees.

IEC 61966-2-1 for sRGB; CIE 015 for L*a*b*.
"""

from __future__ import annotations

import torch
from torch import Tensor

TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""From linear red, green and blue, for white at 1."""
WHITE = (0.95047, 1.0, 1.08883)
BEND = 6 / 29
"""Where, as a cube root, the cube root becomes a line."""

SHADES = 33
"""Of red, green and blue each: together all the colors that a screen shows, to find out which bins they fall into."""
NEIGHBORS, SPREAD, MIXED = 5, 5.0, 0.5
"""Bins that a color is spread over, the deviation of their shares in Lab units, and how much of a uniform distribution is mixed
into that of the colors before the rare ones are given more weight. Zhang, Isola and Efros, Colorful image colorization, 2016."""


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """(B, 3, ...) sRGB in 0..1 -> (B, 3, ...) L in 0..100, a and b in about -100..100."""
    # Roots are taken where they are used alone: their slope at 0 would make gradients of the other branch infinite.
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055).pow(2.4), rgb / 12.92)
    xyz = _mixed(linear, torch.tensor(TO_XYZ, dtype=torch.float64) / torch.tensor(WHITE, dtype=torch.float64)[:, None])
    roots = torch.where(xyz > BEND**3, xyz.clamp(min=BEND**3).pow(1 / 3), xyz / (3 * BEND**2) + 4 / 29)
    x, y, z = roots.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """(B, 3, ...) L, a, b -> (B, 3, ...) sRGB; what lies outside of what a screen shows is cut to 0..1."""
    light, a, b = lab.unbind(1)
    y = (light + 16) / 116
    roots = torch.stack([y + a / 500, y, y - b / 200], 1)
    xyz = torch.where(roots > BEND, roots.pow(3), 3 * BEND**2 * (roots - 4 / 29))
    to_rgb = torch.linalg.inv(torch.tensor(TO_XYZ, dtype=torch.float64)) * torch.tensor(WHITE, dtype=torch.float64)
    linear = _mixed(xyz, to_rgb).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308).pow(1 / 2.4) - 0.055, 12.92 * linear)


def lightness_to_rgb(light: Tensor) -> Tensor:
    """(B, 1, ...) L -> (B, 3, ...) sRGB grays of that lightness."""
    return lab_to_rgb(torch.cat([light, torch.zeros_like(light), torch.zeros_like(light)], 1))


def ab_bins(grid: float) -> Tensor:
    """(Q, 2) middles of the squares of a and b, of side `grid`, that hold a color which a screen shows."""
    shades = torch.linspace(0, 1, SHADES)
    rgb = torch.stack(torch.meshgrid(shades, shades, shades, indexing="ij")).flatten(1)  # (3, SHADES^3)
    return (rgb_to_lab(rgb[None])[0, 1:].T / grid).round().unique(dim=0) * grid


def soft_encode_ab(ab: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 2, h, w) colors -> their nearest bins (B, h, w, K), and the share (B, h, w, K) of each, which add up to 1."""
    far, places = torch.cdist(ab.movedim(1, -1).flatten(0, -2), bins).topk(min(NEIGHBORS, len(bins)), largest=False)
    shares = (-far.square() / (2 * SPREAD**2)).softmax(1)
    shape = (len(ab), *ab.shape[2:], places.shape[1])
    return places.reshape(shape), shares.reshape(shape)


def rebalancing_weights(counts: Tensor) -> Tensor:
    """(Q,) counts -> (Q,) weights whose mean over the colors that were counted is 1."""
    chances = counts / counts.sum()
    weights = 1 / ((1 - MIXED) * chances + MIXED / len(counts))
    return (weights / (chances * weights).sum()).float()


def _mixed(channels: Tensor, matrix: Tensor) -> Tensor:
    """(B, 3, ...), each pixel times a (3, 3) matrix."""
    return torch.einsum("ij,bj...->bi...", matrix.to(channels), channels)
