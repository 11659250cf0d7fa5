"""Samples beside those that the encoder puts next to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aekit.report.look import Look
from aekit.report.page import Page, card, figure, strips

SHOWN = 6
UNITS, DRIVING = 8, 8


def neighbourhoods(page: Page, look: Look, seed: int) -> list[str]:
    """Nearest neighbours of random samples, and of those on which the encoder does worst."""
    if len(look) < 3:
        return []
    drawn = np.sort(np.random.default_rng(seed).permutation(len(look))[:SHOWN])
    worst, what = _worst(look)
    below = f"The nearest of the {len(look):,} samples that this page looks at, with their cosine."
    return [
        card("Neighbours of random samples", below, _rows(page, look, drawn)),
        card(f"Neighbours of {what}", below, _rows(page, look, worst)),
    ]


def driving(page: Page, look: Look) -> str:
    """What single numbers of the embedding respond to: the samples for which they are largest."""
    spread = look.vectors.std(0)
    units = [int(unit) for unit in np.argsort(-spread, kind="stable")[:UNITS] if spread[unit] > 0]
    rows = []
    for unit in units:
        most = np.argsort(-look.vectors[:, unit], kind="stable")[:DRIVING]
        cells = [_figure(page, look, int(at), f"{look.vectors[at, unit]:.3g}") for at in most]
        rows.append((f"number {unit + 1}", cells))
    if not rows:
        return ""
    below = "The samples for which the numbers of largest deviation are largest, with their value."
    return card("What single numbers of the embedding respond to", below, strips(rows, wide=look.sheet.aspect))


def _worst(look: Look) -> tuple[np.ndarray, str]:
    """(SHOWN,) positions and what they are."""
    scores, places = look.near
    if look.errors is not None:
        return np.argsort(-look.errors, kind="stable")[:SHOWN], "the samples that are restored worst"
    if look.classes is not None:
        agree = (look.classes[places] == look.classes[:, None]).mean(1) + (look.classes == "")
        return np.argsort(agree, kind="stable")[:SHOWN], "the samples whose neighbours have other labels"
    return np.argsort(scores[:, 0], kind="stable")[:SHOWN], "the odd ones out, whose nearest neighbour is farthest"


def _rows(page: Page, look: Look, chosen: Sequence[int] | np.ndarray) -> str:
    scores, places = look.near
    rows = []
    for at in chosen:
        error = "" if look.errors is None else f"error {look.errors[at]:.3g}"
        cells = [_figure(page, look, int(at), error, kind="query")]
        cells += [_figure(page, look, int(place), f"{score:.3f}") for score, place in zip(scores[at], places[at])]
        rows.append((look.ids[at], cells))
    return strips(rows, wide=look.sheet.aspect)


def _figure(page: Page, look: Look, at: int, caption: str, *, kind: str = "") -> str:
    title = look.classes[at] if look.classes is not None else look.ids[at]
    return figure(page.thumbnail(look.sheet, at, title), title, caption, kind=kind)
