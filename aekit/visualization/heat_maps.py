"""Draw heat maps over images, on a stated color scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aekit.visualization.image_grid import FAINT, GAP, INK, MARGIN, PAPER, TEXT, shorten

RAMP = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""Colors from low to high, of even steps in brightness."""
OPACITY = (0.25, 0.85)
"""Opacity of the lowest and the highest color over an image."""
SMALLEST, LARGEST = 192, 480
"""Sides of a panel: small images are enlarged by an integer factor, large ones reduced."""
_BAR = 10
_MASK = (64, 224, 208)


class HeatScale(NamedTuple):
    """Color scale of a kind of heat map.

    Attributes:
        low, high: values with the first and the last color; values beyond them have these colors too.
        level: value that is marked on the scale, or None.
        unit: of the values.
    """

    low: float
    high: float
    level: float | None
    unit: str

    def to_unit(self, heat: np.ndarray) -> np.ndarray:
        """Map values to 0..1, of any shape."""
        return np.clip((heat - self.low) / max(self.high - self.low, 1e-30), 0, 1)


def heat_colors(values: np.ndarray) -> np.ndarray:
    """Return the colors (..., 3) in 0..255 of values (...) in 0..1."""
    marks = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(values, marks, [color[c] for color in RAMP]) for c in range(3)], axis=-1)


def overlay(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Draw values (H, W) in 0..1 over the gray version of an image (H, W, 3) uint8 -> (H, W, 3) uint8."""
    gray = (pixels @ np.array([0.299, 0.587, 0.114]))[:, :, None]
    opacity = (OPACITY[0] + (OPACITY[1] - OPACITY[0]) * values)[:, :, None]
    return (gray * (1 - opacity) + heat_colors(values) * opacity).round().astype(np.uint8)


def draw_heat_maps(
    pixels: np.ndarray,
    maps: Mapping[str, np.ndarray],
    scales: Mapping[str, HeatScale],
    *,
    title: str,
    mask: np.ndarray | None = None,
) -> Image.Image:
    """Draw an image next to its heat maps, each over the image and with its color scale.

    Args:
        pixels: (H, W, 3) uint8.
        maps: name -> (H, W) values.
        scales: name -> scale of the colors.
        title: above the image.
        mask: (H, W) bool, the anomalous pixels, whose outline is drawn on the image; or None.
    """
    font = ImageFont.load_default(TEXT)
    panels = {"image": _panel(pixels)}
    if mask is not None and mask.any():
        panels = {"image, anomaly outlined": _outlined(panels["image"], mask)}
    panels |= {name: _panel(overlay(pixels, scales[name].to_unit(heat))) for name, heat in maps.items()}
    wide, high = next(iter(panels.values())).size
    top = MARGIN + 2 * (TEXT + 8)
    below = GAP + _BAR + 2 * (TEXT + 4)
    size = (2 * MARGIN + len(panels) * wide + (len(panels) - 1) * 2 * GAP, top + high + below + MARGIN)
    canvas = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, MARGIN - 2), shorten(title, font, size[0] - 2 * MARGIN), INK, font)
    for number, (name, panel) in enumerate(panels.items()):
        x = MARGIN + number * (wide + 2 * GAP)
        pen.text((x, top - TEXT - 6), shorten(name, font, wide), FAINT, font)
        canvas.paste(panel, (x, top))
        if name in maps:
            _draw_scale(canvas, pen, (x, top + high + GAP), wide, scales[name])
    return canvas


def _panel(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    side = max(image.size)
    if side > LARGEST:
        width, height = (max(1, round(length * LARGEST / side)) for length in image.size)
        return image.resize((width, height), Image.Resampling.LANCZOS)
    factor = max(1, -(-SMALLEST // side))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _outlined(panel: Image.Image, mask: np.ndarray) -> Image.Image:
    """Draw the outline of a mask (H, W) on an enlarged image, outside of the anomaly so that it stays visible."""
    from scipy.ndimage import binary_dilation

    inside = np.asarray(Image.fromarray(mask).resize(panel.size, Image.Resampling.NEAREST))
    outline = binary_dilation(inside, iterations=2) & ~inside
    pixels = np.asarray(panel).copy()
    pixels[outline] = _MASK
    return Image.fromarray(pixels)


def _draw_scale(
    canvas: Image.Image, pen: ImageDraw.ImageDraw, corner: tuple[int, int], wide: int, scale: HeatScale
) -> None:
    """Draw the bar of colors with its ends, the marked level, and the unit."""
    font, (x, y) = ImageFont.load_default(TEXT - 2), corner
    bar = heat_colors(np.linspace(0, 1, wide))[None].repeat(_BAR, 0).round().astype(np.uint8)
    canvas.paste(Image.fromarray(bar), (x, y))
    texts: Sequence[tuple[float, str]] = [(0, f"{scale.low:.3g}"), (1, f"{scale.high:.3g} or more")]
    if scale.level is not None:
        place = float(scale.to_unit(np.array(scale.level)))
        at = x + place * (wide - 1)
        pen.polygon([(at - 4, y + _BAR + 5), (at + 4, y + _BAR + 5), (at, y + _BAR - 1)], INK)
    for place, text in texts:
        length = font.getlength(text)
        pen.text((x + place * (wide - length), y + _BAR + 5), text, FAINT, font)
    pen.text((x, y + _BAR + 7 + TEXT), scale.unit, FAINT, font)
