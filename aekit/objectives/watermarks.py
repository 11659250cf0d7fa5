"""Watermarks for images: text in many fonts and simple logos, drawn once into a bank of masks and placed by the batch."""

from __future__ import annotations

import math
import os
import random
import string
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor
from torch.nn import functional as F

from aekit.data.readers.folders import files_in
from aekit.errors import RecipeError

PROPORTION = 3
"""Ratio of width to height of a mask."""
ENDINGS = (".otf", ".ttc", ".ttf")
FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts"),
)
MAX_FONTS = 40
WORDS = ("©", "®", "™", "SAMPLE", "PREVIEW", "COPYRIGHT", "DRAFT", "Photo by", "All rights reserved", "www.", ".com")
_SUPERSAMPLING = 4
"""Factor by which masks are drawn larger and then reduced."""
_GAP = 1.3
"""Distance between tiled watermarks, in watermarks."""


def find_fonts(places: Sequence[str] = ()) -> list[Path]:
    """Return at most 40 evenly chosen font files, by default from the system's font folders.

    Args:
        places: font files, or folders of them.

    Raises:
        RecipeError: a place does not exist or has no font.
    """
    fonts: list[Path] = []
    for place in places or FOLDERS:
        path = Path(os.path.expanduser(place))
        files = [path] if path.is_file() else []
        if path.is_dir():
            files = list(files_in(path, ENDINGS))
        if places and not files:
            raise RecipeError(
                [f"fonts: {place}: no font found; expected a file ending in {', '.join(ENDINGS)}, or a folder"]
            )
        fonts += sorted(files)
    return fonts[:: max(1, -(-len(fonts) // MAX_FONTS))]


def draw_watermark_bank(count: int, height: int, logos: float, fonts: Sequence[Path], seed: int = 0) -> Tensor:
    """Draw the opacities of watermarks that differ in font, text and shape, reproducibly for a seed and fonts.

    Args:
        count: N, number of masks.
        height: height of a mask in pixels; it is three times as wide.
        logos: fraction of the watermarks that are logos; the rest is text.
        fonts: font files to choose from; empty: Pillow's default font.
        seed: of the random choices.

    Returns:
        (N, height, 3 * height) uint8.
    """
    rng, size = random.Random(seed), (PROPORTION * height, height)
    masks = []
    for number in range(count):
        large = Image.new("L", (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING))
        if number < round(logos * count):
            _draw_logo(ImageDraw.Draw(large), large.size, rng)
        else:
            _draw_text(ImageDraw.Draw(large), large.size, rng, fonts)
        # Thin letters fade when they are reduced: the most opaque pixel of each watermark is fully opaque.
        small = ImageOps.autocontrast(large.resize(size, Image.Resampling.BOX))
        masks.append(torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8))
    return torch.stack(masks).reshape(count, height, PROPORTION * height)


def place_watermarks(
    masks: Tensor, across: Tensor, down: Tensor, width: Tensor, angle: Tensor, tiled: Tensor, size: tuple[int, int]
) -> Tensor:
    """Rotate, resize and move each mask to its position in an image, sampled at four points per pixel.

    Args:
        masks: (B, h, 3h) in 0..1.
        across, down: (B,) center of the watermark in pixels, relative to the center of the image.
        width: (B,) width of the watermark in pixels.
        angle: (B,) angle in radians.
        tiled: (B,) bool, whether the watermark is tiled over the whole image.
        size: (H, W) of the image.

    Returns:
        (B, 1, H, W) in 0..1.
    """
    high, wide = size
    cosine, sine, zoom = angle.cos(), angle.sin(), 2 / width
    # From image coordinates in -1..1 to pixels relative to the watermark's center, rotated back, to mask coordinates in -1..1.
    rows = [
        torch.stack([cosine * wide / 2, sine * high / 2, -cosine * across - sine * down], 1) * zoom[:, None],
        torch.stack([-sine * wide / 2, cosine * high / 2, sine * across - cosine * down], 1)
        * (PROPORTION * zoom)[:, None],
    ]
    fine_size = [len(masks), 1, 2 * high, 2 * wide]
    grid = F.affine_grid(torch.stack(rows, 1), fine_size, align_corners=False)  # (B, 2H, 2W, 2)
    repeated = torch.remainder(grid + _GAP, 2 * _GAP) - _GAP
    grid = torch.where(tiled[:, None, None, None], repeated, grid)
    return F.avg_pool2d(F.grid_sample(masks[:, None], grid, align_corners=False), 2)


def _draw_text(pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: random.Random, fonts: Sequence[Path]) -> None:
    text = "".join(rng.choices(string.ascii_letters + string.digits + " .-&", k=rng.randint(3, 12))).strip() or "A"
    if rng.random() < 0.5:
        text = f"{rng.choice(WORDS)} {text}" if rng.random() < 0.5 else rng.choice(WORDS)
    path, height = (rng.choice(fonts) if fonts else None), 0.8 * size[1]
    if not _font(path, height).getmask(text).getbbox():  # a font of symbols, without these letters
        path = None
    left, top, right, bottom = pen.textbbox((0, 0), text, _font(path, height))
    # As large as fits: short texts are tall, long ones small.
    font = _font(path, height * min(0.96 * size[0] / max(right - left, 1), 0.96 * size[1] / max(bottom - top, 1)))
    outline = rng.choice([0, 0, 0, max(1, size[1] // 40)])
    place = (size[0] / 2, size[1] / 2)
    if outline:  # hollow letters
        pen.text(place, text, 0, font, "mm", stroke_width=outline, stroke_fill=255)
    else:
        pen.text(place, text, 255, font, "mm")


def _font(path: Path | None, height: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.truetype(os.fspath(path), height) if path else ImageFont.load_default(height)
    except OSError:  # a font format that Pillow cannot read
        return ImageFont.load_default(height)


def _draw_logo(pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: random.Random) -> None:
    """Draw two or three rings, discs, stars, polygons or bars around the center, each over or cut out of the previous ones."""
    high = size[1]
    for number in range(rng.randint(2, 3)):
        ink = 255 if number == 0 or rng.random() < 0.5 else 0
        radius = high * rng.uniform(0.35, 0.48) * (1 - 0.3 * number)
        x, y = size[0] / 2 + (number and high * rng.uniform(-0.4, 0.4)), high / 2
        shape = rng.choice(["disc", "ring", "star", "polygon", "bar"])
        thickness = round(high * rng.uniform(0.05, 0.12))
        box = (x - radius, y - radius, x + radius, y + radius)
        if shape == "disc":
            pen.ellipse(box, ink)
        elif shape == "ring":
            pen.ellipse(box, None, ink, thickness)
        elif shape == "bar":
            pen.rectangle((x - 2.5 * radius, y - thickness, x + 2.5 * radius, y + thickness), ink)
        else:
            corners, inner = rng.randint(3, 7), 0.45 if shape == "star" else math.cos(math.pi / 7)
            turn = rng.uniform(0, math.pi)
            steps = [(turn + math.pi * k / corners, radius * (inner if k % 2 else 1)) for k in range(2 * corners)]
            pen.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a, r in steps], ink)
