"""Conversion between sRGB and CIELAB, in which distances are perceptual, with white D65 and the 2 degree observer.

IEC 61966-2-1 for sRGB; CIE 015 for L*a*b*.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aekit.io.device_constants import constant_like

TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""Matrix from linear red, green and blue in 0..1 to XYZ."""
WHITE = (0.95047, 1.0, 1.08883)
KNEE = 6 / 29
"""Value of the cube root below which it is replaced by a line."""

SHADES = 33
"""Values of red, green and blue each, whose combinations determine which bins hold a displayable color."""
NEIGHBORS, SIGMA, UNIFORM_WEIGHT = 5, 5.0, 0.5
"""Bins that a color is spread over, the standard deviation of their weights in Lab units, and the weight of a uniform
distribution in that of the colors before rebalancing. Zhang, Isola and Efros, Colorful image colorization, 2016."""


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert (B, 3, ...) sRGB in 0..1 to (B, 3, ...) L in 0..100, a and b in about -100..100."""
    # Clamp before taking roots: their infinite slope at 0 would spoil the gradients of the other branch.
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055).pow(2.4), rgb / 12.92)
    xyz = _apply_matrix(linear, _to_xyz)
    roots = torch.where(xyz > KNEE**3, xyz.clamp(min=KNEE**3).pow(1 / 3), xyz / (3 * KNEE**2) + 4 / 29)
    x, y, z = roots.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert (B, 3, ...) L, a, b to (B, 3, ...) sRGB, clipped to 0..1."""
    light, a, b = lab.unbind(1)
    y = (light + 16) / 116
    roots = torch.stack([y + a / 500, y, y - b / 200], 1)
    xyz = torch.where(roots > KNEE, roots.pow(3), 3 * KNEE**2 * (roots - 4 / 29))
    linear = _apply_matrix(xyz, _from_xyz).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308).pow(1 / 2.4) - 0.055, 12.92 * linear)


def lightness_to_rgb(light: Tensor) -> Tensor:
    """Convert (B, 1, ...) L to (B, 3, ...) sRGB grays of that lightness."""
    return lab_to_rgb(torch.cat([light, torch.zeros_like(light), torch.zeros_like(light)], 1))


def ab_bins(grid: float) -> Tensor:
    """Return the (Q, 2) centers of the squares of a and b, of side `grid`, that hold a displayable color."""
    shades = torch.linspace(0, 1, SHADES)
    rgb = torch.stack(torch.meshgrid(shades, shades, shades, indexing="ij")).flatten(1)  # (3, SHADES^3)
    return (rgb_to_lab(rgb[None])[0, 1:].T / grid).round().unique(dim=0) * grid


def soft_encode_ab(ab: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest bins (B, h, w, K) of colors (B, 2, h, w), and their weights (B, h, w, K), which sum to 1."""
    distances, indices = torch.cdist(ab.movedim(1, -1).flatten(0, -2), bins).topk(
        min(NEIGHBORS, len(bins)), largest=False
    )
    weights = (-distances.square() / (2 * SIGMA**2)).softmax(1)
    shape = (len(ab), *ab.shape[2:], indices.shape[1])
    return indices.reshape(shape), weights.reshape(shape)


def rebalancing_weights(counts: Tensor) -> Tensor:
    """Return (Q,) weights from the (Q,) counts of the bins, with mean 1 over the counted colors."""
    frequencies = counts / counts.sum()
    weights = 1 / ((1 - UNIFORM_WEIGHT) * frequencies + UNIFORM_WEIGHT / len(counts))
    return (weights / (frequencies * weights).sum()).float()


def _to_xyz() -> Tensor:
    """Return the matrix (3, 3) float64 from linear red, green and blue to XYZ relative to white."""
    return torch.tensor(TO_XYZ, dtype=torch.float64) / torch.tensor(WHITE, dtype=torch.float64)[:, None]


def _from_xyz() -> Tensor:
    """Return the matrix (3, 3) float64 from XYZ relative to white to linear red, green and blue."""
    return torch.linalg.inv(torch.tensor(TO_XYZ, dtype=torch.float64)) * torch.tensor(WHITE, dtype=torch.float64)


def _apply_matrix(channels: Tensor, matrix: Callable[[], Tensor]) -> Tensor:
    """Multiply each pixel of (B, 3, ...) by a (3, 3) matrix."""
    return torch.einsum("ij,bj...->bi...", constant_like(matrix, like=channels), channels)
