"""Marks to lay over images: text in many fonts and simple logos, drawn once into a bank of masks, and placed by the batch."""

from __future__ import annotations

import math
import os
import random
import string
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from aekit.data.readers.folders import list_files
from aekit.errors import RecipeError

PROPORTION = 3
"""Width of a mask in heights."""
ENDINGS = (".otf", ".ttc", ".ttf")
FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts"),
)
MOST_FONTS = 40
WORDS = ("©", "®", "™", "SAMPLE", "PREVIEW", "COPYRIGHT", "DRAFT", "Photo by", "All rights reserved", "www.", ".com")
_FINER = 4
"""Masks are drawn so many times larger and reduced."""
_GAP = 1.3
"""From a tiled mark to the next, in marks."""


def find_fonts(places: Sequence[str] = ()) -> list[Path]:
    """Font files, at most 40, evenly chosen; of the folders where systems keep theirs, if no places are named.

    Raises:
        RecipeError: a place that is named is not there, or holds no font.
    """
    found: list[Path] = []
    for place in places or FOLDERS:
        path = Path(place).expanduser()
        inside = [path] if path.is_file() else []
        if path.is_dir():
            inside = [file for file, reason in list_files(path, ENDINGS) if not reason]
        if places and not inside:
            raise RecipeError(
                [f"fonts: {place}: no font there; expected a file ending in {', '.join(ENDINGS)}, or a folder"]
            )
        found += sorted(inside)
    return found[:: max(1, -(-len(found) // MOST_FONTS))]


def draw_watermark_bank(count: int, height: int, logos: float, fonts: Sequence[Path], seed: int = 0) -> Tensor:
    """Opacities of marks that differ in font, words and form, the same from the same seed and fonts.

    Args:
        count: N.
        height: of a mask in pixels; it is three times as wide.
        logos: share of the marks that are logos; the rest is text.
        fonts: files to choose from; Pillow's own font where there are none.

    Returns:
        (N, height, 3 * height) uint8.
    """
    source, size = random.Random(seed), (PROPORTION * height, height)
    masks = []
    for number in range(count):
        large = Image.new("L", (size[0] * _FINER, size[1] * _FINER))
        if number < round(logos * count):
            _draw_logo(ImageDraw.Draw(large), large.size, source)
        else:
            _draw_text(ImageDraw.Draw(large), large.size, source, fonts)
        masks.append(torch.frombuffer(bytearray(large.resize(size, Image.Resampling.BOX).tobytes()), dtype=torch.uint8))
    return torch.stack(masks).reshape(count, height, PROPORTION * height)


def place_watermarks(
    masks: Tensor, across: Tensor, down: Tensor, width: Tensor, angle: Tensor, tiled: Tensor, size: tuple[int, int]
) -> Tensor:
    """Each mask turned, resized and moved to its place in an image, sampled at four points a pixel.

    Args:
        masks: (B, h, 3h) in 0..1.
        across, down: (B,) the middle of the mark in pixels, from the middle of the image.
        width: (B,) of the mark in pixels.
        angle: (B,) radians.
        tiled: (B,) bool, whether the mark is repeated all over the image.
        size: (H, W) of the image.

    Returns:
        (B, 1, H, W) in 0..1.
    """
    high, wide = size
    cosine, sine, zoom = angle.cos(), angle.sin(), 2 / width
    # From an image's coordinates in -1..1 to pixels from the mark's middle, turned back, to a mark's in -1..1.
    rows = [
        torch.stack([cosine * wide / 2, sine * high / 2, -cosine * across - sine * down], 1) * zoom[:, None],
        torch.stack([-sine * wide / 2, cosine * high / 2, sine * across - cosine * down], 1)
        * (PROPORTION * zoom)[:, None],
    ]
    finer = [len(masks), 1, 2 * high, 2 * wide]
    grid = F.affine_grid(torch.stack(rows, 1), finer, align_corners=False)  # (B, 2H, 2W, 2)
    around = torch.remainder(grid + _GAP, 2 * _GAP) - _GAP
    grid = torch.where(tiled[:, None, None, None], around, grid)
    return F.avg_pool2d(F.grid_sample(masks[:, None], grid, align_corners=False), 2)


def _draw_text(pen: ImageDraw.ImageDraw, size: tuple[int, int], source: random.Random, fonts: Sequence[Path]) -> None:
    text = (
        "".join(source.choices(string.ascii_letters + string.digits + " .-&", k=source.randint(3, 12))).strip() or "A"
    )
    if source.random() < 0.5:
        text = f"{source.choice(WORDS)} {text}" if source.random() < 0.5 else source.choice(WORDS)
    path, height = (source.choice(fonts) if fonts else None), 0.8 * size[1]
    left, top, right, bottom = pen.textbbox((0, 0), text, _font(path, height))
    # As large as fits, so that short texts are high and long ones low.
    font = _font(path, height * min(0.96 * size[0] / max(right - left, 1), 0.96 * size[1] / max(bottom - top, 1)))
    outline = source.choice([0, 0, 0, max(1, size[1] // 40)])
    place = (size[0] / 2, size[1] / 2)
    if outline:  # hollow letters: their rim alone
        pen.text(place, text, 0, font, "mm", stroke_width=outline, stroke_fill=255)
    else:
        pen.text(place, text, 255, font, "mm")


def _font(path: Path | None, height: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.truetype(os.fspath(path), height) if path else ImageFont.load_default(height)
    except OSError:  # a font of a kind that Pillow does not read
        return ImageFont.load_default(height)


def _draw_logo(pen: ImageDraw.ImageDraw, size: tuple[int, int], source: random.Random) -> None:
    """Two or three rings, discs, stars, polygons and bars about the middle, each over or cut out of those before."""
    high = size[1]
    for number in range(source.randint(2, 3)):
        ink = 255 if number == 0 or source.random() < 0.5 else 0
        radius = high * source.uniform(0.35, 0.48) * (1 - 0.3 * number)
        x, y = size[0] / 2 + (number and high * source.uniform(-0.4, 0.4)), high / 2
        form, thick = (
            source.choice(["disc", "ring", "star", "polygon", "bar"]),
            round(high * source.uniform(0.05, 0.12)),
        )
        box = (x - radius, y - radius, x + radius, y + radius)
        if form == "disc":
            pen.ellipse(box, ink)
        elif form == "ring":
            pen.ellipse(box, None, ink, thick)
        elif form == "bar":
            pen.rectangle((x - 2.5 * radius, y - thick, x + 2.5 * radius, y + thick), ink)
        else:
            corners, inner = source.randint(3, 7), 0.45 if form == "star" else math.cos(math.pi / 7)
            turn = source.uniform(0, math.pi)
            steps = [(turn + math.pi * k / corners, radius * (inner if k % 2 else 1)) for k in range(2 * corners)]
            pen.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a, r in steps], ink)
