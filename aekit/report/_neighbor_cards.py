"""Cards of a run's page: samples with their nearest neighbors, and the samples that activate a dimension most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aekit.report._snapshot import Snapshot
from aekit.visualization.page import Page, card, figure, image_strips

QUERIES = 6
DIMENSIONS, ACTIVATING = 8, 8


def neighbor_cards(page: Page, snapshot: Snapshot, seed: int) -> list[str]:
    """Show the nearest neighbors of random samples, and of those on which the encoder does worst."""
    if len(snapshot) < 3:
        return []
    random_rows = np.sort(np.random.default_rng(seed).permutation(len(snapshot))[:QUERIES])
    worst_rows, worst_title = _worst(snapshot)
    below = f"Nearest neighbors among {len(snapshot):,} samples, with their cosine similarity."
    if snapshot.classes is not None:
        below += " ✓: the neighbor has the label of the query; ✕: it has another."
    return [
        card("Neighbors of random samples", below, _rows(page, snapshot, random_rows)),
        card(f"Neighbors of {worst_title}", below, _rows(page, snapshot, worst_rows)),
    ]


def top_activating(page: Page, snapshot: Snapshot) -> str:
    """Show the samples with the largest values in the dimensions that vary most."""
    deviation = snapshot.vectors.std(0)
    dimensions = [int(d) for d in np.argsort(-deviation, kind="stable")[:DIMENSIONS] if deviation[d] > 0]
    rows = []
    for dimension in dimensions:
        top = np.argsort(-snapshot.vectors[:, dimension], kind="stable")[:ACTIVATING]
        cells = [_figure(page, snapshot, int(row), f"{snapshot.vectors[row, dimension]:.3g}") for row in top]
        rows.append((f"dimension {dimension + 1}", cells))
    if not rows:
        return ""
    below = "The samples with the largest values in the dimensions that vary most."
    return card("Top-activating samples", below, image_strips(rows, wide=snapshot.sprite_sheet.aspect))


def _worst(snapshot: Snapshot) -> tuple[np.ndarray, str]:
    """Return (QUERIES,) positions of the samples on which the encoder does worst, and a title for them."""
    scores, neighbors = snapshot.neighbors
    if snapshot.errors is not None:
        largest = np.argsort(-snapshot.errors, kind="stable")
        return largest[:QUERIES], "the samples with the largest reconstruction error"
    if snapshot.classes is not None:
        same = (snapshot.classes[neighbors] == snapshot.classes[:, None]).mean(1) + (snapshot.classes == "")
        return np.argsort(same, kind="stable")[:QUERIES], "the samples whose neighbors have other labels"
    return np.argsort(scores[:, 0], kind="stable")[:QUERIES], "the most isolated samples"


def _rows(page: Page, snapshot: Snapshot, queries: Sequence[int] | np.ndarray) -> str:
    scores, neighbors = snapshot.neighbors
    rows = []
    for query in queries:
        error = "" if snapshot.errors is None else f"error {snapshot.errors[query]:.3g}"
        cells = [_figure(page, snapshot, int(query), error, kind="query")]
        for score, neighbor in zip(scores[query], neighbors[query]):
            kind = ""
            if snapshot.classes is not None and snapshot.classes[query] and snapshot.classes[neighbor]:
                kind = "same" if snapshot.classes[query] == snapshot.classes[neighbor] else "other"
            cells.append(_figure(page, snapshot, int(neighbor), f"{score:.3f}", kind=kind))
        rows.append((snapshot.ids[query], cells))
    return image_strips(rows, wide=snapshot.sprite_sheet.aspect)


def _figure(page: Page, snapshot: Snapshot, row: int, caption: str, *, kind: str = "") -> str:
    title = snapshot.classes[row] if snapshot.classes is not None else snapshot.ids[row]
    return figure(page.thumbnail(snapshot.sprite_sheet, row, title), title, caption, kind=kind)
