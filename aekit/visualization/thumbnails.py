"""Draw a thumbnail of any sample: a PNG for images and clips, lines for series, bars for vectors."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from aekit.data.spec import SampleSpec

SIDE = 96
DARK = 16
"""An 8-bit sample whose values are all below this would look black."""
BARS = 64
"""Width up to which each entry of a vector is a bar; wider vectors are drawn as a line."""


def thumbnail(sample: np.ndarray, spec: SampleSpec, value_range: tuple[float, float] | None = None) -> str:
    """Return a thumbnail as a data URI.

    Args:
        sample: (*spec.shape), in any units.
        spec: of the sample.
        value_range: values drawn as black and white (or as the bottom and top of a line); by default 0 to 255 for 8-bit
            samples, and the extremes of the sample for others.
    """
    if spec.is_visual:
        return _png(to_pixels(sample, spec, value_range))
    inside = rescale(sample, spec, value_range)
    if spec.is_vector and spec.size <= BARS:
        return _svg(_bars(inside, float(rescale(np.zeros(1), spec, value_range or _range_of(sample, spec))[0])))
    return _svg(_lines(inside))


def to_pixels(sample: np.ndarray, spec: SampleSpec, value_range: tuple[float, float] | None = None) -> np.ndarray:
    """Convert (C, H, W), or the middle frame of (C, T, H, W), to (H, W, 3) uint8.

    Two channels show the first; more than three show the first three.
    """
    inside = rescale(sample, spec, value_range)
    if spec.is_clip:
        inside = inside[:, inside.shape[1] // 2]
    channels = inside[:3] if len(inside) >= 3 else inside[:1].repeat(3, axis=0)
    return (channels.transpose(1, 2, 0) * 255).round().astype(np.uint8)


def rescale(sample: np.ndarray, spec: SampleSpec, value_range: tuple[float, float] | None = None) -> np.ndarray:
    """Map `value_range` of a sample of any shape to 0..1, and clip what lies outside."""
    low, high = value_range or _range_of(sample, spec)
    return np.clip((sample.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)


def _range_of(sample: np.ndarray, spec: SampleSpec) -> tuple[float, float]:
    if spec.dtype == "uint8" and sample.max(initial=0) >= DARK:
        return 0.0, 255.0
    finite = sample[np.isfinite(sample)]
    return spec.black_and_white(float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _png(shown: np.ndarray) -> str:
    """Encode (H, W, 3) uint8 as PNG in a data URI."""
    image = Image.fromarray(shown)
    if max(image.size) > 2 * SIDE:
        image.thumbnail((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS)
    stored = io.BytesIO()
    image.save(stored, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stored.getvalue()).decode()


def _lines(inside: np.ndarray) -> list[str]:
    """Draw (C, T) or (D,) values in 0..1 as a line for each channel."""
    rows = np.atleast_2d(inside)
    paths = []
    for row in rows[:4]:
        points = row[:: max(1, len(row) // 200)]
        across = np.linspace(2, SIDE - 2, len(points)) if len(points) > 1 else np.asarray([SIDE / 2])
        drawn = " ".join(f"{x:.1f},{SIDE - 4 - y * (SIDE - 8):.1f}" for x, y in zip(across, points))
        paths.append(f'<polyline points="{drawn}" fill="none" stroke="#3a7bd5" stroke-width="1.5"/>')
    return paths


def _bars(inside: np.ndarray, zero: float) -> list[str]:
    """Draw (D,) values in 0..1 as bars, up or down from `zero`."""
    wide = (SIDE - 4) / len(inside)
    bars = []
    for number, value in enumerate(inside):
        top, bottom = (SIDE - 4 - end * (SIDE - 8) for end in (max(value, zero), min(value, zero)))
        place = (
            f'x="{2 + number * wide:.1f}" y="{top:.1f}" width="{0.8 * wide:.1f}" height="{max(bottom - top, 0.5):.1f}"'
        )
        bars.append(f'<rect {place} fill="#3a7bd5"/>')
    return bars


def _svg(shapes: list[str]) -> str:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">{"".join(shapes)}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
