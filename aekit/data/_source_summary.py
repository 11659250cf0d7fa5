"""Describe an `aekit.data.source.Source` in the lines and rows that a notebook shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from aekit.data.labels import label_texts
from aekit.io.summaries import MAX_ROWS

MOST_CLASSES = 20
"""Different labels up to which each is counted."""


def source_lines(source: Any) -> list[str]:
    """Return lines on the samples, splits and labels, on the choices that opening made, and on skipped samples."""
    lines = [str(source.spec)]
    if source.splits is not None:
        lines.append(f"splits: {_counted(source.splits.tolist())}")
    if source.labels is not None:
        lines.append(f"labels: {_counted_labels(source.labels)}")
    lines += [*source.notes, *source.losses]
    if source.skipped:
        name, reason = next(iter(source.skipped.items()))
        lines.append(f"{len(source.skipped):,} skipped so far, e.g. {name}: {reason}")
    return lines


def first_rows(source: Any) -> list[dict[str, Any]]:
    """Return id, label and split of the first samples, where they have them."""
    shown = range(min(len(source), MAX_ROWS))
    columns: dict[str, Any] = {"id": [source.ids[row] for row in shown]}
    if source.labels is not None and source.labels.ndim == 1:
        columns["label"] = label_texts(source.labels[: len(shown)]).tolist()
    if source.splits is not None:
        columns["split"] = source.splits[: len(shown)].tolist()
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def _counted_labels(labels: np.ndarray) -> str:
    if labels.ndim > 1:
        return f"{labels.shape[1]} for each sample"
    texts = label_texts(labels)
    known = texts[texts != ""].tolist()
    different = len(set(known))
    missing = f", {len(texts) - len(known):,} without a label" if len(known) < len(texts) else ""
    return (_counted(known) if different <= MOST_CLASSES else f"{different:,} different values") + missing


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{value} {count:,}" for value, count in sorted(Counter(values).items())) or "none"
