"""Draw charts as SVG and HTML in the colors of the page: curves, intervals, confusion matrices, calibration."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

WIDE, HIGH = 340, 190
_BOX = (46, 8, WIDE - 54, HIGH - 34)
"""Left, top, width and height of the area inside the axes."""
_DRAWN = 400
"""Number of points above which a curve is thinned."""
_BASELINE, _OURS = "var(--faint)", "var(--mark)"


def curve(title: str, xs: Sequence[float], ys: Sequence[float], across: str, *, smooth: bool = False) -> str:
    """Draw a curve with axes that shows its values at the pointer.

    Args:
        title: drawn above it.
        xs, ys: finite values, xs in rising order.
        across: unit of xs, such as ``step``.
        smooth: draw noisy values faintly with their running mean over them, and positive values over more than a factor of
            30 on a logarithmic axis.
    """
    if len(xs) < 2:
        return ""
    values = np.asarray(ys, np.float64)
    log = bool(smooth and values.min() > 0 and values.max() > 30 * values.min())
    smoothed = _running(values) if smooth else values
    shown = np.linspace(0, len(xs) - 1, min(len(xs), _DRAWN)).round().astype(int)
    x, y, faint = np.asarray(xs, np.float64)[shown], smoothed[shown], values[shown]
    # Outliers, as at the first steps, must not flatten the curve.
    low, high = float(np.quantile(faint, 0.005)), float(np.quantile(faint, 0.995))
    low, high = min(low, float(y[-1]), float(y.min())), max(high, float(y[-1]))
    ticks = _log_ticks(low, high) if log else _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    span = (float(x[0]), float(x[-1]), low, high)
    place = _Axes(span, log=log)
    parts = [_axes(place, ticks, across)]
    if smooth:
        parts.append(f'<path class="raw" d="{place.path(x, faint)}"/>')
    parts.append(f'<path class="curve" d="{place.path(x, y)}"/>')
    data = {
        "xs": [float(f"{v:.6g}") for v in x],
        "ys": [float(f"{v:.5g}") for v in y],
        "box": _BOX,
        "span": span,
        "log": log,
        "across": across,
    }
    scale = " (log)" if log else ""
    last = f"{float(f'{values[-1]:.4g}'):g} at the end"
    return (
        f'<figure class="chart" data-curve="{escape(json.dumps(data, separators=(",", ":")))}">'
        f"<figcaption>{escape(title)}{scale}<output>{last}</output></figcaption>"
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(title)} by {escape(across)}: from '
        f'{values[0]:.4g} to {values[-1]:.4g}">{"".join(parts)}</svg></figure>'
    )


def charts(*drawn: str) -> str:
    """Arrange charts next to each other where there is room."""
    kept = [chart for chart in drawn if chart]
    return f'<div class="charts">{"".join(kept)}</div>' if kept else ""


def intervals(rows: Mapping[str, tuple[float, float | None, float | None, bool]], title: str, digits: int = 3) -> str:
    """Draw a track for each row, with the value as a dot on its interval.

    Args:
        rows: name -> value, low, high (None without an interval), and whether it is a baseline.
        title: name of the metric.
        digits: decimal places.
    """
    ends = [v for value, low, high, _ in rows.values() for v in (value, low, high) if v is not None]
    if not ends:
        return ""
    left, right = _enclosing(min(ends), max(ends))

    def across(value: float) -> float:
        return 100 * (value - left) / max(right - left, 1e-12)

    drawn = []
    for name, (value, low, high, is_baseline) in rows.items():
        text = f"{value:.{digits}f}"
        bar = ""
        if low is not None and high is not None:
            bar = f'<i style="left:{across(low):.2f}%;width:{max(0.4, across(high) - across(low)):.2f}%"></i>'
            text += f" [{low:.{digits}f}, {high:.{digits}f}]"
        tint, kind = (_BASELINE, " baseline") if is_baseline else (_OURS, "")
        drawn.append(
            f'<span class="name{kind}">{escape(name)}</span><span class="track" style="--tint:{tint}" aria-hidden="true">'
            f'{bar}<b style="left:{across(value):.2f}%"></b></span><span class="said">{text}</span>'
        )
    foot = f'<span class="ends" aria-hidden="true"><span>{_short(left)}</span><span>{_short(right)}</span></span>'
    return f'<h3>{escape(title)}</h3><div class="intervals">{"".join(drawn)}{foot}</div>'


def confusion_table(counts: np.ndarray, classes: Sequence[str]) -> str:
    """Draw (C, C) counts, rows true and columns predicted, as a table colored by the fraction of the row."""
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    head = "".join(
        f'<th scope="col" title="{escape(name)}" dir="auto"><span>{escape(_shortened(name, 16))}</span></th>'
        for name in classes
    )
    lines = []
    for row, name in enumerate(classes):
        cells = []
        for column, count in enumerate(counts[row]):
            share, right = float(shares[row, column]), row == column
            tooltip = f"{name} predicted as {classes[column]}: {count} ({100 * share:.1f}%)"
            shade = "var(--mark)" if right else "var(--bad)"
            # Mistakes are rarer than correct predictions, so their color scale is finer.
            depth = share if right else min(1.0, share * 2.5)
            dark = ' class="dark"' if depth > 0.6 else ""
            cells.append(
                f'<td{dark} style="--share:{depth:.3f};--shade:{shade}" title="{escape(tooltip)}">{count or ""}</td>'
            )
        lines.append(
            f'<tr><th scope="row" title="{escape(name)}" dir="auto">{escape(_shortened(name, 16))}</th>{"".join(cells)}</tr>'
        )
    return (
        f'<div class="scroll"><table class="confusion"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def reliability_diagram(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> str:
    """Draw a reliability diagram (DeGroot and Fienberg, 1983): accuracy by confidence.

    Args:
        confidence: (N,) in 0..1, of the predictions.
        right: (N,) bool, whether a prediction is correct.
        bins: number of bins of equal width.
    """
    box, wide = (46, 8, 214, 214), 272
    counts, accuracy, mean = bin_by_confidence(confidence, right, bins)
    parts = [_square(box)]
    for number in np.flatnonzero(counts):
        x, step = box[0] + box[2] * number / bins, box[2] / bins
        top = box[1] + box[3] * (1 - accuracy[number])
        tooltip = f"{counts[number]} predictions of confidence {mean[number]:.2f}: accuracy {accuracy[number]:.2f}"
        opacity = 0.3 + 0.7 * math.sqrt(counts[number] / counts.max())
        parts.append(
            f'<rect class="bar" style="opacity:{opacity:.2f}" x="{x + 1:.1f}" y="{top:.1f}" width="{step - 2:.1f}" '
            f'height="{box[1] + box[3] - top:.1f}"><title>{tooltip}</title></rect>'
        )
    parts.append(f'<path class="ideal" d="M{box[0]} {box[1] + box[3]}L{box[0] + box[2]} {box[1]}"/>')
    middle = box[0] + box[2] / 2
    parts.append(f'<text x="{middle}" y="{box[1] + box[3] + 30}" text-anchor="middle">confidence</text>')
    label = "Accuracy by confidence"
    return (
        f'<figure class="chart" style="max-width:330px"><figcaption>{label}</figcaption>'
        f'<svg viewBox="0 0 {wide} {box[1] + box[3] + 36}" role="img" aria-label="{label}">{"".join(parts)}</svg></figure>'
    )


def bin_by_confidence(
    confidence: np.ndarray, right: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (bins,) counts, accuracies and mean confidences of (N,) predictions; 0 for an empty bin."""
    where = np.clip((np.asarray(confidence) * bins).astype(int), 0, bins - 1)
    counts = np.bincount(where, minlength=bins)
    sums = (np.bincount(where, values, minlength=bins) for values in (np.asarray(right, float), confidence))
    accuracy, mean = (total / np.maximum(1, counts) for total in sums)
    return counts, accuracy, mean


def bar_chart(title: str, values: Sequence[float], across: str) -> str:
    """Draw a bar for each value, from zero."""
    heights = np.asarray(values, np.float64)
    ticks = _ticks(0.0, float(heights.max()))
    place = _Axes((0.0, float(len(heights)), 0.0, max(ticks[-1], float(heights.max()))))
    step = _BOX[2] / len(heights)
    drawn = [_axes(place, ticks, across)]
    for number, value in enumerate(heights):
        x, y = place(number, value)
        drawn.append(
            f'<rect class="bar" x="{x + 0.1 * step:.2f}" y="{y:.1f}" width="{max(0.5, 0.8 * step):.2f}" '
            f'height="{_BOX[1] + _BOX[3] - y:.1f}"><title>{number + 1}: {value:.3g}</title></rect>'
        )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDE} {HIGH}" role="img" '
        f'aria-label="{escape(title)}">{"".join(drawn)}</svg></figure>'
    )


class _Axes:
    """Map values to positions inside the axes; `span` holds the ends of x and of y."""

    def __init__(self, span: tuple[float, float, float, float], *, log: bool = False) -> None:
        self.span, self.log = span, log

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        left, right, low, high = self.span
        if self.log:
            y, low, high = math.log10(max(y, 1e-300)), math.log10(low), math.log10(high)
        inside = (x - left) / max(right - left, 1e-300), min(1.0, max(0.0, (y - low) / max(high - low, 1e-300)))
        return _BOX[0] + _BOX[2] * inside[0], _BOX[1] + _BOX[3] * (1 - inside[1])

    def path(self, xs: np.ndarray, ys: np.ndarray) -> str:
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in (self(*point) for point in zip(xs, ys)))


def _axes(place: _Axes, ticks: Sequence[float], across: str) -> str:
    left, top, wide, high = _BOX
    parts = []
    for tick in ticks:
        y = place(place.span[0], tick)[1]
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{left + wide}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_short(tick)}</text>')
    end = place.span[1]
    parts.append(f'<text x="{left}" y="{top + high + 18}">{_short(place.span[0])}</text>')
    parts.append(f'<text x="{left + wide}" y="{top + high + 18}" text-anchor="end">{escape(across)} {end:,.0f}</text>')
    return "".join(parts)


def _square(box: tuple[int, int, int, int]) -> str:
    left, top, wide, high = box
    parts = []
    for share in (0.0, 0.5, 1.0):
        y, x = top + high * (1 - share), left + wide * share
        parts.append(f'<path class="grid" d="M{left} {y}H{left + wide}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{share:g}</text>')
        parts.append(f'<text x="{x}" y="{top + high + 15}" text-anchor="middle">{share:g}</text>')
    return "".join(parts)


def _ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Return round numbers that enclose the range, or nearly do."""
    if not high > low:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= rough * 0.999)
    first, last = math.floor(low / step + 0.35), math.ceil(high / step - 0.35)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _enclosing(low: float, high: float) -> tuple[float, float]:
    """Return round numbers below and above the range."""
    ticks = _ticks(low, high)
    if not high > low:
        return ticks[0], ticks[-1]
    step = ticks[1] - ticks[0]
    first, last = math.floor(round(low / step, 9)), math.ceil(round(high / step, 9))
    return float(f"{first * step:.10g}"), float(f"{last * step:.10g}")


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, len(powers) // 5)
    return [10.0**power for power in powers][::every]


def _running(values: np.ndarray) -> np.ndarray:
    """Return the running mean over a twentieth of the curve, over less at its ends."""
    half = max(1, len(values) // 40)
    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(0, np.arange(len(values)) - half)
    last = np.minimum(len(values), np.arange(len(values)) + half + 1)
    return (total[last] - total[first]) / (last - first)


def _short(value: float) -> str:
    if value and (abs(value) >= 10_000 or abs(value) < 0.0001):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}"


def _shortened(text: str, most: int) -> str:
    """Return a text of at most this many characters, without its middle: long names often differ at their end alone."""
    tail = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - tail]}…{text[-tail:]}"
