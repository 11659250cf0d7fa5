"""Prepare the data that ``map.js`` draws: points in the plane, colors, names and neighbors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aekit.evaluation.splits import has_label, to_class_labels, to_numbers
from aekit.visualization.plots import robust_scale

FEW = 20
"""Number of categories with a color of their own."""


def color_options(labels: np.ndarray | None, splits: np.ndarray | None, clusters: np.ndarray | None) -> dict[str, Any]:
    """Return title -> colors of N samples, by label, cluster and split, as far as these exist and differ.

    Args:
        labels: (N,) classes or numeric targets.
        splits: (N,) names.
        clusters: (N,) cluster numbers, -1 for none.
    """
    colors: dict[str, Any] = {}
    if labels is not None:
        classes, _ = to_class_labels(labels, len(labels), what="samples")
        if classes is not None:
            colors["label"] = category_colors(classes.astype(str))
        elif has_label(labels).any() and np.ndim(labels) == 1:
            colors["label"] = scale_values(to_numbers(labels))
    if clusters is not None:
        colors["cluster"] = category_colors(np.array([str(n) if n >= 0 else "" for n in clusters]))
    if splits is not None and len(np.unique(splits)) > 1:
        colors["split"] = category_colors(splits.astype(str))
    return colors


def map_data(
    ids: list[str], layouts: Mapping[str, np.ndarray], colors: Mapping[str, Any], neighbors: np.ndarray | None
) -> dict[str, Any]:
    """Return all data of a map.

    Args:
        ids: N names.
        layouts: title -> (N, 2) points.
        colors: title -> the result of `category_colors` or `scale_values`.
        neighbors: (N, K) positions of the neighbors of each sample, or None.
    """
    return {
        "ids": ids,
        "layouts": {title: _normalize(points) for title, points in layouts.items()},
        "colors": dict(colors),
        "neighbors": None if neighbors is None else neighbors.tolist(),
    }


def category_colors(names: np.ndarray) -> dict[str, Any]:
    """Return a color code for each of (N,) names, "" for none; of more than twenty names the most frequent come first."""
    known, counts = np.unique(names[names != ""], return_counts=True)
    if len(known) > FEW:
        known = known[np.argsort(-counts, kind="stable")]
    elif all(name.lstrip("-").isdigit() for name in known.tolist()):
        known = known[np.argsort(known.astype(int), kind="stable")]
    codes = {name: code for code, name in enumerate(known.tolist())}
    return {"names": known.tolist(), "codes": [codes.get(name, -1) for name in names.tolist()]}


def scale_values(values: np.ndarray) -> dict[str, Any]:
    """Return (N,) numbers on a scale of 0..1 that a few outliers do not stretch; NaN becomes 0."""
    scaled, low, high = robust_scale(values)
    return {"values": [round(v, 4) for v in np.nan_to_num(scaled).tolist()], "low": low, "high": high}


def _normalize(points: np.ndarray) -> dict[str, list[float]]:
    """Scale (N, 2) points to 0..1, both axes alike, around the middle."""
    middle = (points.max(0) + points.min(0)) / 2
    extent = max(float((points.max(0) - points.min(0)).max()), 1e-12)
    inside = ((points - middle) / extent + 0.5).round(4)
    return {"x": inside[:, 0].tolist(), "y": inside[:, 1].tolist()}
