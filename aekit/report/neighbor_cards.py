"""Samples beside those that the encoder puts next to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aekit.report.snapshot import Snapshot
from aekit.visualization.page import Page, card, figure, image_strips

SHOWN = 6
UNITS, DRIVING = 8, 8


def neighbor_cards(page: Page, snapshot: Snapshot, seed: int) -> list[str]:
    """Nearest neighbors of random samples, and of those on which the encoder does worst."""
    if len(snapshot) < 3:
        return []
    drawn = np.sort(np.random.default_rng(seed).permutation(len(snapshot))[:SHOWN])
    worst, what = _worst(snapshot)
    below = f"The nearest of the {len(snapshot):,} samples that this page looks at, with their cosine."
    return [
        card("Neighbors of random samples", below, _rows(page, snapshot, drawn)),
        card(f"Neighbors of {what}", below, _rows(page, snapshot, worst)),
    ]


def top_activating(page: Page, snapshot: Snapshot) -> str:
    """What single numbers of the embedding respond to: the samples for which they are largest."""
    spread = snapshot.vectors.std(0)
    units = [int(unit) for unit in np.argsort(-spread, kind="stable")[:UNITS] if spread[unit] > 0]
    rows = []
    for unit in units:
        most = np.argsort(-snapshot.vectors[:, unit], kind="stable")[:DRIVING]
        cells = [_figure(page, snapshot, int(at), f"{snapshot.vectors[at, unit]:.3g}") for at in most]
        rows.append((f"number {unit + 1}", cells))
    if not rows:
        return ""
    below = "The samples for which the numbers of largest deviation are largest, with their value."
    return card(
        "What single numbers of the embedding respond to", below, image_strips(rows, wide=snapshot.sprite_sheet.aspect)
    )


def _worst(snapshot: Snapshot) -> tuple[np.ndarray, str]:
    """(SHOWN,) positions and what they are."""
    scores, places = snapshot.neighbors
    if snapshot.errors is not None:
        return np.argsort(-snapshot.errors, kind="stable")[:SHOWN], "the samples that are restored worst"
    if snapshot.classes is not None:
        agree = (snapshot.classes[places] == snapshot.classes[:, None]).mean(1) + (snapshot.classes == "")
        return np.argsort(agree, kind="stable")[:SHOWN], "the samples whose neighbors have other labels"
    return np.argsort(scores[:, 0], kind="stable")[:SHOWN], "the odd ones out, whose nearest neighbor is farthest"


def _rows(page: Page, snapshot: Snapshot, chosen: Sequence[int] | np.ndarray) -> str:
    scores, places = snapshot.neighbors
    rows = []
    for at in chosen:
        error = "" if snapshot.errors is None else f"error {snapshot.errors[at]:.3g}"
        cells = [_figure(page, snapshot, int(at), error, kind="query")]
        cells += [_figure(page, snapshot, int(place), f"{score:.3f}") for score, place in zip(scores[at], places[at])]
        rows.append((snapshot.ids[at], cells))
    return image_strips(rows, wide=snapshot.sprite_sheet.aspect)


def _figure(page: Page, snapshot: Snapshot, at: int, caption: str, *, kind: str = "") -> str:
    title = snapshot.classes[at] if snapshot.classes is not None else snapshot.ids[at]
    return figure(page.thumbnail(snapshot.sprite_sheet, at, title), title, caption, kind=kind)
