"""Write the page of a search for anomalies in images: each of the most anomalous beside its heat map."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PIL import Image

from aekit.analysis._anomaly_heatmaps import HeatMaps
from aekit.visualization.page import Page, card, figure, gallery, headline, sentences, table
from aekit.visualization.sprite_sheets import data_uri

_SIDE, _QUALITY = 320, 88


def anomalies_page(conclusion: str, notes: Sequence[str], scores: Sequence[float], heatmaps: HeatMaps) -> str:
    """Return the HTML of the page.

    Args:
        conclusion: the sentence at its top.
        notes: remarks below it.
        scores: (n,) combined scores of the images with heat maps.
        heatmaps: the heat maps.
    """
    page = Page("Anomalies", f"the {len(heatmaps.ids)} most anomalous images")
    page.add("Anomalies", headline(conclusion, "notice"), sentences(notes))
    if heatmaps.metrics:
        page.add("Anomalies", card("Pixels", heatmaps.conclusion(), table(heatmaps.rows())))
    name, scale = heatmaps.shown, heatmaps.scales[heatmaps.shown]
    marked = "" if scale.level is None else f" 99.9% of the pixels of normal images are below {scale.level:.3g}."
    explained = (
        f"Left the image, right its heat map of {name} ({scale.unit}), from {scale.low:.3g} (dark) to {scale.high:.3g} and "
        f"more (bright); one scale for all.{marked}"
    )
    cells = []
    for rank, (sample, score) in enumerate(zip(heatmaps.ids, scores)):
        pair = Image.fromarray(heatmaps.pixels[rank]), Image.fromarray(heatmaps.overlay(rank))
        cells.append(figure(_beside(*pair, alt=f"{sample} and its heat map"), sample, f"score {score:.3g}"))
    aspect = 2 * heatmaps.pixels.shape[2] / heatmaps.pixels.shape[1]
    page.add("Anomalies", card("Heat maps", explained, gallery(cells, wide=aspect, cell=260)))
    return page.html()


def _beside(left: Image.Image, right: Image.Image, *, alt: str) -> str:
    """Return the HTML of two images of one size side by side."""
    factor = max(1, -(-_SIDE // (2 * left.width)))
    wide, high = left.width * factor, left.height * factor
    canvas = Image.new("RGB", (2 * wide + 2 * factor, high), "#ffffff")
    for number, image in enumerate((left, right)):
        canvas.paste(image.resize((wide, high), Image.Resampling.NEAREST), (number * (wide + 2 * factor), 0))
    return f'<img style="display: block; width: 100%" src="{data_uri(canvas, quality=_QUALITY)}" alt="{escape(alt)}">'
