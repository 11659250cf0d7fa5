"""Plot scatter plots, histograms and time courses with Pillow, without another dependency."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from aekit.data.labels import label_texts, to_label_array
from aekit.evaluation.splits import is_classes, to_numbers
from aekit.visualization.image_grid import FAINT, INK, MARGIN, PAPER, TEXT, shorten

COLORS = (
    ("#3a7bd5", "#e2733b", "#3aa76d", "#cf3f4f", "#8f62c9", "#8c6a4f", "#dd6fb5", "#767b80", "#a8a31d", "#24a9b8")
    + ("#9cc1ef", "#f3b995", "#9bd5b5", "#eba0a7", "#c9b3e6", "#c7b3a5", "#f1bfe0", "#bcc0c4", "#d6d387", "#95d6de")
)  # fmt: skip
GRAY = "#b9bec4"
RAMP = ("#3b4cc0", "#3f8fb5", "#5bb98a", "#b5c23f", "#f0a03c", "#d9402f")
"""Colors of numeric values, from low to high; the same as in map.js."""
SIDE, _FINER = 520, 2
COURSES = 6
"""Most recordings that are drawn."""


def draw_points(clouds: Mapping[str, np.ndarray], labels: Sequence[Any] | np.ndarray | None, title: str) -> Image.Image:
    """Draw scatter plots of the same samples side by side, with one legend.

    Args:
        clouds: title -> (N, 2) points.
        labels: (N,) classes or numeric targets that color the points, or None. Numbers run through `RAMP`; of more than twenty
            classes, the most frequent are colored and the others are gray.
        title: above the plots.
    """
    font = ImageFont.load_default(TEXT)
    colors, legend = _colored(labels, len(next(iter(clouds.values()))))
    key = max((round(font.getlength(name)) for name in legend), default=0) + (40 if legend else 0)
    top = 2 * MARGIN + 2 * TEXT + 6
    size = (MARGIN + len(clouds) * (SIDE + MARGIN) + key + (MARGIN if key else 0), top + SIDE + MARGIN)
    canvas = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, MARGIN - 2), title, INK, font)
    for number, (name, points) in enumerate(clouds.items()):
        x = MARGIN + number * (SIDE + MARGIN)
        pen.text((x, top - TEXT - 6), shorten(name, font, SIDE), FAINT, font)
        canvas.paste(_cloud(points, colors), (x, top))
    for number, (name, color) in enumerate(legend.items()):
        x, y = size[0] - key - MARGIN + 10, top + number * (TEXT + 8)
        pen.ellipse((x, y + 2, x + 10, y + 12), color)
        pen.text((x + 18, y), name, INK, font)
    return canvas


def draw_histogram(
    groups: Mapping[str, np.ndarray], title: str, across: str, *, reference_lines: Mapping[str, float] | None = None
) -> Image.Image:
    """Draw normalized histograms of several groups over one another.

    Args:
        groups: name -> (N,) finite values.
        title: above the plot.
        across: name of the values.
        reference_lines: name -> position of a vertical line, such as a threshold.
    """
    font, wide, high, bins = ImageFont.load_default(TEXT), 640, 200, 60
    every = np.concatenate(list(groups.values()))
    low, most = float(every.min()), float(every.max())
    edges = np.linspace(low, most if most > low else low + 1, bins + 1)
    counted = {name: np.histogram(values, edges)[0] / max(1, len(values)) for name, values in groups.items()}
    tallest = max(float(counts.max()) for counts in counted.values()) or 1.0
    top = 2 * MARGIN + 2 * TEXT + 8
    canvas = Image.new("RGBA", (wide + 2 * MARGIN, top + high + TEXT + 2 * MARGIN), PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, MARGIN - 2), title, INK, font)
    x = float(MARGIN)
    for (name, counts), color in zip(counted.items(), COLORS):
        layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
        brush = ImageDraw.Draw(layer)
        for number, share in enumerate(counts):
            left, right = MARGIN + number * wide / bins, MARGIN + (number + 1) * wide / bins - 1
            if share > 0:
                brush.rectangle((left, top + high * (1 - share / tallest), right, top + high), f"{color}a0")
        canvas.alpha_composite(layer)
        pen.rectangle((x, top - TEXT - 8, x + 10, top - TEXT + 2), color)
        pen.text((x + 16, top - TEXT - 10), name, INK, font)
        x += font.getlength(name) + 40
    for name, place in (reference_lines or {}).items():
        at = MARGIN + wide * (place - edges[0]) / (edges[-1] - edges[0])
        pen.line((at, top, at, top + high), INK)
        pen.text((at + 4, top), name, INK, font)
    pen.line((MARGIN, top + high, MARGIN + wide, top + high), FAINT)
    pen.text((MARGIN, top + high + 4), f"{edges[0]:.3g}", FAINT, font)
    end = f"{across}  {edges[-1]:.3g}"
    pen.text((MARGIN + wide - font.getlength(end), top + high + 4), end, FAINT, font)
    return canvas.convert("RGB")


def draw_time_courses(
    values: np.ndarray, moments: np.ndarray, names: Mapping[int, str], title: str, highlighted: np.ndarray | None = None
) -> Image.Image:
    """Draw values over time, a strip for each recording, all on one scale; of many recordings those with the largest values.

    Args:
        values: (N,) finite values.
        moments: (N, 2) number of the recording, and the step in it.
        names: of the recordings.
        title: above the plot.
        highlighted: (N,) bool, values to underline, or None.
    """
    font, wide, high = ImageFont.load_default(TEXT), 1100, 70
    low, most = float(values.min()), float(values.max())
    numbers, first = np.unique(moments[:, 0], return_inverse=True)
    peaks = np.array([values[first == place].max() for place in range(len(numbers))])
    shown = np.sort(numbers[np.argsort(-peaks, kind="stable")[:COURSES]])
    step, top = high + TEXT + 14, 2 * MARGIN + TEXT
    canvas = Image.new("RGB", (wide + 2 * MARGIN, top + step * len(shown) + MARGIN), PAPER)
    pen = ImageDraw.Draw(canvas)
    some = f"; {len(shown)} of {len(numbers)} recordings" if len(shown) < len(numbers) else ""
    pen.text((MARGIN, MARGIN - 2), f"{title}{some}", INK, font)
    for number in shown.tolist():
        members = np.flatnonzero(moments[:, 0] == number)
        members = members[np.argsort(moments[members, 1], kind="stable")]
        at = moments[members, 1]
        x = MARGIN + wide * (at - at[0]) / max(1, at[-1] - at[0])
        y = top + high * (1 - (values[members] - low) / max(most - low, 1e-12))
        pen.rectangle((MARGIN, top, MARGIN + wide, top + high), "#f7f8f9")
        pen.line([(float(a), float(b)) for a, b in zip(x, y)], COLORS[0], 2)
        for place in x[highlighted[members]] if highlighted is not None else ():
            pen.line((place - 2, top + high + 1, place + 2, top + high + 1), COLORS[3], 3)
        pen.text((MARGIN, top + high + 4), f"{shorten(names[number], font, wide / 2)}, from {at[0]}", FAINT, font)
        end = f"to {at[-1]}"
        pen.text((MARGIN + wide - font.getlength(end), top + high + 4), end, FAINT, font)
        top += step
    return canvas


def _colored(labels: Sequence[Any] | np.ndarray | None, count: int) -> tuple[list[str], dict[str, str]]:
    """Return a color for each point, and the legend."""
    if labels is None:
        return [COLORS[0]] * count, {}
    if np.ndim(labels) == 1 and not is_classes(labels):
        places, low, high = robust_scale(to_numbers(labels))
        marks = np.linspace(0, 1, 5).tolist()
        legend = {f"{float(f'{low + mark * (high - low):.3g}'):,g}": _ramp(mark) for mark in marks}
        return [_ramp(place) for place in places.tolist()], legend
    names = label_texts(labels).tolist()
    counts = Counter(name for name in names if name)
    kept = {name for name, _ in counts.most_common(len(COLORS) - (len(counts) > len(COLORS)))}
    shown = [name for name in dict.fromkeys(label_texts(np.unique(to_label_array(labels))).tolist()) if name in kept]
    legend = dict(zip(shown, COLORS))
    if len(kept) < len(counts):
        legend[f"{len(counts) - len(kept)} others"] = GRAY
    return [legend.get(name, GRAY) for name in names], legend


def robust_scale(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Scale (N,) values to 0..1 so that a few outliers do not stretch the scale, keep NaN, and return both ends of the scale."""
    finite = values[np.isfinite(values)]
    low, high = (float(v) for v in np.quantile(finite, [0.01, 0.99])) if len(finite) else (0.0, 1.0)
    return np.clip((values - low) / (high - low or 1.0), 0, 1), low, high


def _ramp(place: float) -> str:
    """Return the color of a value in 0..1; gray for NaN."""
    if math.isnan(place):
        return GRAY
    first = min(int(place * (len(RAMP) - 1)), len(RAMP) - 2)
    share = place * (len(RAMP) - 1) - first
    low, high = (ImageColor.getrgb(color) for color in RAMP[first : first + 2])
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(low, high))


def _cloud(points: np.ndarray, colors: list[str]) -> Image.Image:
    """Draw (N, 2) points in a square, both axes on one scale."""
    canvas = Image.new("RGB", (SIDE * _FINER, SIDE * _FINER), "#f7f8f9")
    pen = ImageDraw.Draw(canvas)
    center = (points.max(0) + points.min(0)) / 2
    reach = max(float((points.max(0) - points.min(0)).max()) / 2, 1e-12) * 1.06
    places = ((points - center) / reach * [1, -1] + 1) / 2 * canvas.width
    radius = _FINER * float(np.clip(60 / np.sqrt(len(points)), 1.3, 4.0))
    # In random order, so that no class covers the others.
    for number in np.random.default_rng(0).permutation(len(points)):
        x, y = places[number]
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), colors[number])
    return canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
