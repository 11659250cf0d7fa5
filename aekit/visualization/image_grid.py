"""Draw a grid of samples with titles and captions, as every command that shows samples does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aekit.data.spec import SampleSpec
from aekit.visualization.thumbnails import rescale, to_pixels

PAPER, INK, FAINT, LINES = "#ffffff", "#1c2024", "#6b7178", ("#3a7bd5", "#d5653a", "#3aa76d", "#a55ad5")
GAP, MARGIN, TEXT = 6, 14, 13
SMALLEST, LARGEST = 72, 360
"""Sides of a cell: small images are enlarged by an integer factor, large ones reduced."""
FRAMES = 6
"""Most frames shown of a clip, from its first to its last."""
_FINER = 3
"""Factor by which lines are drawn larger and then reduced, which smooths them."""

Cell = np.ndarray | None


def draw_grid(
    rows: Sequence[Sequence[Cell]],
    spec: SampleSpec,
    *,
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    title: str = "",
    value_range: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw the grid.

    Args:
        rows: rows of samples (*shape) in any units; None leaves a cell empty. Images may differ in size.
        spec: of the samples; for images its shape does not matter.
        row_titles: to the left of each row.
        column_titles: above each column.
        captions: a line below each sample.
        title: above the grid.
        value_range: values drawn as black and white, or as the bottom and top of a line.
    """
    cells = [[None if sample is None else render_sample(sample, spec, value_range) for sample in row] for row in rows]
    font, columns = ImageFont.load_default(TEXT), max((len(row) for row in cells), default=0)
    known = [cell for row in cells for cell in row if cell is not None]
    wide = max((cell.width for cell in known), default=SMALLEST)
    below = [TEXT + 4 if number < len(captions) and any(captions[number]) else 0 for number in range(len(cells))]
    high = [
        max((cell.height for cell in row if cell is not None), default=SMALLEST) + text
        for row, text in zip(cells, below)
    ]
    left = MARGIN + max((round(font.getlength(text)) + 2 * GAP for text in row_titles), default=0)
    top = MARGIN + (TEXT + 12 if title else 0) + (TEXT + 6 if column_titles else 0)
    whole = max(left + columns * (wide + GAP), MARGIN + round(font.getlength(title))) + MARGIN
    canvas = Image.new("RGB", (whole, top + sum(high) + GAP * len(high) + MARGIN), PAPER)
    pen = ImageDraw.Draw(canvas)
    if title:
        pen.text((MARGIN, MARGIN - 2), title, INK, font)
    for number, text in enumerate(column_titles):
        pen.text((left + number * (wide + GAP), top - TEXT - 6), shorten(text, font, wide), FAINT, font)
    for number, (row, height) in enumerate(zip(cells, high)):
        if number < len(row_titles):
            middle = top + (height - below[number] - TEXT) // 2
            pen.text((MARGIN, middle - 2), row_titles[number], INK, font)
        for place, cell in enumerate(row):
            x = left + place * (wide + GAP)
            if cell is not None:
                canvas.paste(cell, (x, top))
            if below[number] and place < len(captions[number]):
                under = top + (cell.height if cell is not None else height - below[number])
                pen.text((x, under + 1), shorten(captions[number][place], font, wide), FAINT, font)
        top += height + GAP
    return canvas


def shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Return the text, or as much of its end as fits: file names differ at their end."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text


def stack_images(parts: Sequence[Image.Image]) -> Image.Image:
    """Stack images vertically."""
    canvas = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        canvas.paste(part, (0, top))
        top += part.height
    return canvas


def render_sample(sample: np.ndarray, spec: SampleSpec, value_range: tuple[float, float] | None = None) -> Image.Image:
    """Render one sample (*shape): an image, the frames of a clip side by side, or a line for each channel."""
    if not spec.is_visual:
        return _line(rescale(sample, spec, value_range))
    largest, side = LARGEST, max(sample.shape[-2:])
    if spec.is_clip:
        frames = np.linspace(0, sample.shape[1] - 1, min(FRAMES, sample.shape[1])).round().astype(int)
        sample, spec = np.concatenate([sample[:, frame] for frame in frames], 2), replace(spec, kind="image")
        largest = 2 * LARGEST
    image = Image.fromarray(to_pixels(sample, spec, value_range))
    if max(image.size) > largest:
        width, height = (max(1, length * largest // max(image.size)) for length in image.size)
        return image.resize((width, height), Image.Resampling.LANCZOS)
    factor = max(1, -(-SMALLEST // side))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _line(inside: np.ndarray) -> Image.Image:
    """Draw (C, T) or (D,) values in 0..1 as a line for each of the first four channels."""
    size = (2 * SMALLEST, SMALLEST)
    canvas = Image.new("RGB", (size[0] * _FINER, size[1] * _FINER), "#f4f5f6")
    pen = ImageDraw.Draw(canvas)
    for row, color in zip(np.atleast_2d(inside), LINES):
        across = np.linspace(0.02, 0.98, len(row)) if len(row) > 1 else np.array([0.02, 0.98])
        up = 0.94 - 0.88 * (row if len(row) > 1 else row.repeat(2))
        pen.line([(x * canvas.width, y * canvas.height) for x, y in zip(across, up)], color, 2 * _FINER, "curve")
    return canvas.resize(size, Image.Resampling.LANCZOS)
