"""A small picture of any sample, to be put into a page: a PNG for images and clips, a line for series and vectors."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from aekit.samples import SampleSpec

SIDE = 96


def thumbnail(sample: np.ndarray, spec: SampleSpec, value_range: tuple[float, float] | None = None) -> str:
    """A data URI.

    Args:
        sample: (*spec.shape), in any units.
        spec: of the sample.
        value_range: what to draw as black and white (or as the bottom and top of a line); by default the natural range of
            8-bit samples, and the sample's own extremes for others.
    """
    low, high = value_range or _range_of(sample, spec)
    scaled = np.clip((sample.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)
    if spec.kind == "clip":
        return _png(scaled[:, scaled.shape[1] // 2])
    return _png(scaled) if spec.kind == "image" else _line(scaled)


def _range_of(sample: np.ndarray, spec: SampleSpec) -> tuple[float, float]:
    if spec.dtype == "uint8":
        return 0.0, 255.0
    finite = sample[np.isfinite(sample)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _png(scaled: np.ndarray) -> str:
    """(C, H, W) in [0, 1]. Two channels show the first; more than three show the first three."""
    channels = scaled[:3] if len(scaled) >= 3 else scaled[:1].repeat(3, axis=0)
    picture = Image.fromarray((channels.transpose(1, 2, 0) * 255).round().astype(np.uint8))
    if max(picture.size) > 2 * SIDE:
        picture.thumbnail((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS)
    stored = io.BytesIO()
    picture.save(stored, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stored.getvalue()).decode()


def _line(scaled: np.ndarray) -> str:
    """(C, T) or (D,) in [0, 1]: a line for each channel, or bars for a short vector."""
    rows = np.atleast_2d(scaled)
    paths = []
    for row in rows[:4]:
        points = row[:: max(1, len(row) // 200)]
        across = np.linspace(2, SIDE - 2, len(points)) if len(points) > 1 else np.asarray([SIDE / 2])
        drawn = " ".join(f"{x:.1f},{SIDE - 4 - y * (SIDE - 8):.1f}" for x, y in zip(across, points))
        paths.append(f'<polyline points="{drawn}" fill="none" stroke="#3a7bd5" stroke-width="1.5"/>')
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">{"".join(paths)}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
