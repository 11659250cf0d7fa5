"""Build sprite sheets: thumbnails of thousands of samples in one image, or as numbers that a browser draws as lines and bars."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, features

PIXELS = 6_000_000
"""Pixels of all cells of a sheet: about a megabyte of photographs."""
LARGEST = 112
"""Largest side of a cell."""


@dataclass(frozen=True, eq=False)
class SpriteSheet:
    """Hold thumbnails of N samples.

    Attributes:
        described: the data that ``page.js`` draws from.
        aspect: width of a thumbnail over its height.
    """

    described: dict[str, Any]
    aspect: float


def cell_side(count: int) -> int:
    """Return the side of the cells of a sheet with this many cells."""
    return max(24, min(LARGEST, math.isqrt(PIXELS // max(1, count))))


def image_sprite_sheet(cells: np.ndarray, *, frames: int = 1) -> SpriteSheet:
    """Join (N, h, w, 3) uint8 cells to a sheet, or (N, h, w, 4) with opacity, as WebP where Pillow supports it."""
    count, high, wide, channels = cells.shape
    columns = max(1, min(16_000 // wide, math.ceil(math.sqrt(count * high / wide))))
    rows = -(-count // columns)
    whole = np.zeros((columns * rows, high, wide, channels), np.uint8)
    whole[:count] = cells
    joined = whole.reshape(rows, columns, high, wide, channels).swapaxes(1, 2)
    joined = joined.reshape(rows * high, columns * wide, channels)
    side = max(high, wide // frames)
    # Pixels that are shown as squares must be exact; those of photographs need not be.
    uri = data_uri(Image.fromarray(joined), quality=100 if side <= 16 else 92 if side <= 32 else 80)
    described = {"kind": "images", "uri": uri, "width": wide, "height": high, "columns": columns}
    return SpriteSheet(described, wide / high)


def numeric_sprite_sheet(cells: np.ndarray, *, bars: bool, zero: float = 0.0) -> SpriteSheet:
    """Return a sheet of (N, channels, points) uint8 as lines, or as bars that start at `zero` in 0..1."""
    described = {
        "kind": "bars" if bars else "lines",
        "values": base64.b64encode(np.ascontiguousarray(cells).tobytes()).decode(),
        "channels": cells.shape[1],
        "points": cells.shape[2],
        "zero": round(zero, 4),
    }
    return SpriteSheet(described, 1.6)


def data_uri(image: Image.Image, *, quality: int) -> str:
    """Return an image as a data URI; a quality of 100 is lossless."""
    stored = io.BytesIO()
    if features.check("webp"):
        image.save(stored, "WEBP", lossless=quality == 100, quality=quality, method=4)
        kind = "webp"
    else:
        image.save(stored, "PNG", optimize=True)
        kind = "png"
    return f"data:image/{kind};base64,{base64.b64encode(stored.getvalue()).decode()}"
