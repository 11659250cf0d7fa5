"""What ``map.js`` draws of samples: places in a plane, colors, names and neighbors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aekit.evaluation.splits import has_label, to_class_labels, to_numbers
from aekit.visualization.plots import robust_scale

FEW = 20
"""Categories that have a color each."""


def color_options(labels: np.ndarray | None, splits: np.ndarray | None, clusters: np.ndarray | None) -> dict[str, Any]:
    """Title -> colors of N samples, by whatever of these there is and tells them apart.

    Args:
        labels: (N,) classes, or numbers on a scale.
        splits: (N,) names.
        clusters: (N,) numbers, -1 for none.
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
    ids: list[str], layouts: Mapping[str, np.ndarray], colors: Mapping[str, Any], near: np.ndarray | None
) -> dict[str, Any]:
    """All of a map.

    Args:
        ids: N names.
        layouts: title -> (N, 2) places.
        colors: title -> what `categories` or `numbers` gives.
        near: (N, K) the neighbors of each, or None.
    """
    placed = {title: _placed(places) for title, places in layouts.items()}
    return {
        "ids": ids,
        "layouts": placed,
        "colors": dict(colors),
        "near": None if near is None else near.tolist(),
    }


def category_colors(names: np.ndarray) -> dict[str, Any]:
    """(N,) texts, "" for none -> a color for each; of more than twenty the most frequent come first."""
    known, counts = np.unique(names[names != ""], return_counts=True)
    if len(known) > FEW:
        known = known[np.argsort(-counts, kind="stable")]
    elif all(name.lstrip("-").isdigit() for name in known.tolist()):
        known = known[np.argsort(known.astype(int), kind="stable")]
    codes = {name: code for code, name in enumerate(known.tolist())}
    return {"names": known.tolist(), "codes": [codes.get(name, -1) for name in names.tolist()]}


def scale_values(values: np.ndarray) -> dict[str, Any]:
    """(N,) numbers -> a place on a scale that a few outliers do not stretch; NaN stands at its bottom."""
    places, low, high = robust_scale(values)
    return {"values": [round(v, 4) for v in np.nan_to_num(places).tolist()], "low": low, "high": high}


def _placed(places: np.ndarray) -> dict[str, list[float]]:
    """(N, 2) -> both axes on one scale, 0..1, around the middle."""
    middle = (places.max(0) + places.min(0)) / 2
    reach = max(float((places.max(0) - places.min(0)).max()), 1e-12)
    inside = ((places - middle) / reach + 0.5).round(4)
    return {"x": inside[:, 0].tolist(), "y": inside[:, 1].tolist()}
