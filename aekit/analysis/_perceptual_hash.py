"""Hash how images look: the hash hardly changes when an image is resized or encoded again, and it follows the image when that is
rotated, mirrored or cropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import dctn

from aekit.visualization.resizing import resize_bilinear

SIDE = 64
"""Side of the gray thumbnails that are hashed."""
COLOR_SIDE = 16
"""Side of the thumbnails of colors."""
_POINTS, _FREQUENCIES = 32, 8
SYMMETRIES = (
    "upright",
    "mirrored",
    "flipped upside down",
    "rotated by 180 degrees",
    "transposed",
    "rotated by 90 degrees",
    "rotated by 270 degrees",
    "transposed and rotated by 180 degrees",
)
"""The eight ways to lay a square onto itself, in the order of the hashes."""
_SCALES = (0.9, 0.8, 0.7)
_PLACES = (0, 0.5, 1)

Window = tuple[int, int, int]
"""Top, left and side of a square part of a thumbnail."""


def _windows() -> list[Window]:
    """Return the whole thumbnail, and parts of it at nine places."""
    windows = [(0, 0, SIDE)]
    for scale in _SCALES:
        space = SIDE - round(scale * SIDE)
        windows += [(round(top * space), round(left * space), SIDE - space) for top in _PLACES for left in _PLACES]
    return windows


WINDOWS = _windows()


def gray_thumbnails(images: np.ndarray) -> np.ndarray:
    """Reduce images to gray thumbnails.

    Args:
        images: (B, C, H, W) of any dtype; of several channels the first three count as red, green and blue.

    Returns:
        (B, SIDE, SIDE) uint8, from black to white whatever the brightness; images of one value become zeros.
    """
    small = resize_bilinear(_gray(np.asarray(images, np.float32))[:, 0], (SIDE, SIDE))
    low, high = small.min((1, 2), keepdims=True), small.max((1, 2), keepdims=True)
    varies = high - low > 1e-3 * np.maximum(abs(high), abs(low))  # more than rounding makes of one value
    factor = np.divide(255, high - low, out=np.zeros_like(low), where=varies)
    return ((small - low) * factor).round().astype(np.uint8)


def color_thumbnails(images: np.ndarray) -> np.ndarray:
    """Reduce images to thumbnails of their colors, whatever their brightness.

    Args:
        images: as for `gray_thumbnails`.

    Returns:
        (B, 2, COLOR_SIDE, COLOR_SIDE) float32: by how much red and blue exceed gray, in units of the deviation of gray; zeros of
        images with less than three channels.
    """
    planes = np.asarray(images, np.float32)
    if planes.shape[1] < 3:
        return np.zeros((len(planes), 2, COLOR_SIDE, COLOR_SIDE), np.float32)
    gray = _gray(planes)
    colors = resize_bilinear(planes[:, [0, 2]] - gray, (COLOR_SIDE, COLOR_SIDE))
    deviation = gray.std((1, 2, 3), keepdims=True, ddof=1)
    return colors / np.where(deviation > 0, deviation, np.float32(1))


def _gray(planes: np.ndarray) -> np.ndarray:
    """Return the brightness (B, 1, H, W) of images (B, C, H, W)."""
    if planes.shape[1] < 3:
        return planes[:, :1]
    red, green, blue = planes[:, 0:1], planes[:, 1:2], planes[:, 2:3]
    return np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue


def window_hashes(thumbnails: np.ndarray, windows: Sequence[Window] = WINDOWS) -> np.ndarray:
    """Hash windows of thumbnails in all eight symmetries: the signs of the lowest frequencies of a cosine transform.

    Args:
        thumbnails: (B, SIDE, SIDE) uint8.
        windows: W windows: top, left and side.

    Returns:
        (B, W, 8, 8) uint8: 64 bits for each window and symmetry.
    """
    hashes = np.empty((len(thumbnails), len(windows), len(SYMMETRIES), 8), np.uint8)
    gray = thumbnails.astype(np.float32)
    sign = np.where(np.arange(_FREQUENCIES) % 2, -1, 1).astype(np.float32)
    for number, (top, left, side) in enumerate(windows):
        points = resize_bilinear(gray[:, top : top + side, left : left + side], (_POINTS, _POINTS))
        waves = dctn(points, axes=(1, 2), norm="ortho")[:, :_FREQUENCIES, :_FREQUENCIES]
        waves[:, 0, 0] = 0  # the mean
        # Mirroring an image turns the sign of its odd frequencies; transposing it transposes them.
        mirrored, flipped = waves * sign, waves * sign[:, None]
        both = flipped * sign
        ways = [waves, mirrored, flipped, both]
        ways += [w.transpose(0, 2, 1) for w in (waves, mirrored, flipped, both)]
        for way, turned in enumerate(ways):
            hashes[:, number, way] = np.packbits(turned.reshape(len(turned), -1) > 0, axis=1)
    return hashes


def lay(thumbnail: np.ndarray, symmetry: int) -> np.ndarray:
    """Return a square array (S, S) in one of the eight symmetries."""
    turned = thumbnail[:: -1 if symmetry % 4 in (2, 3) else 1, :: -1 if symmetry % 2 else 1]
    return turned.T if symmetry >= 4 else turned
