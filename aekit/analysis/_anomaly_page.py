"""Show the result of a search for anomalies as a page: the most anomalous samples, images next to their heat maps."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from aekit.analysis._anomaly_heatmaps import HeatMaps
from aekit.analysis._anomaly_results import Anomalies
from aekit.data.source import Source, read_valid
from aekit.encoder.encoder import Encoder
from aekit.visualization.sample_page import SamplePage, Section, ShownSample, Thumbnails, thumbnails_of
from aekit.visualization.sprite_cells import SpriteSheetBuilder
from aekit.visualization.sprite_sheets import PIXELS, image_sprite_sheet

COUNT = 60
"""Samples on the page that have no heat map."""
_GAP = 2


def anomalies_page(result: Anomalies, encoder: Encoder, source: Source, positions: np.ndarray) -> SamplePage:
    """Return the page of a result: its conclusion on top, or if samples are flagged as anomalies, their number.

    Args:
        result: the scores, without a page.
        encoder: encoder of the samples.
        source: source of the samples.
        positions: (N,) positions in it, the most anomalous sample first.
    """
    scores, labels, alarms, heatmaps = result.scores["combined"], result.labels, result.alarms, result.heatmaps
    conclusion = result.text(0).splitlines()[0]
    has_maps = heatmaps is not None and len(heatmaps.ids) > 0
    count = min(len(positions), len(heatmaps.ids) if heatmaps is not None and has_maps else COUNT)
    hashes, samples = source.fingerprints(positions[:count]), []
    for rank in range(count):
        facts = [f"score {scores[rank]:.3g}"]
        facts += [] if labels is None else [f"label {labels[rank]}"]
        facts += [] if alarms is None else [f"p = {alarms.p_values[rank]:.2g}"]
        is_alarm = alarms is not None and bool(alarms.flags[rank])
        samples.append(
            ShownSample(
                id=str(source.ids[int(positions[rank])]),
                hash=hashes[rank],
                title=f"{rank + 1}: anomaly" if is_alarm else str(rank + 1),
                caption=", ".join(facts),
                kind="wrong" if is_alarm else "",
            )
        )
    title, remark = f"The {count} most anomalous samples", "All are in scores.csv."
    if heatmaps is not None and has_maps:
        remark = f"{_explanation(heatmaps)} {remark}"
    sections = [Section(title=title, remark=remark, samples=samples)]
    if heatmaps is not None and heatmaps.metrics:
        sections.append(Section(title="Pixels", remark=heatmaps.conclusion(), table=heatmaps.rows()))
    if result.metrics:
        rows = [
            {"score": name} | {key.replace("_", " "): str(metric) for key, metric in metrics.items()}
            for name, metrics in result.metrics.items()
        ]
        sections.append(Section(title="Scores", table=rows))
    return SamplePage(
        title="Anomalies",
        conclusion=conclusion if alarms is None else alarms.text(),
        severity="notice",
        notes=[*([] if alarms is None else [conclusion]), *result.notes],
        encoder=result.digest,
        sections=sections,
        thumbnails=_pairs(heatmaps)
        if heatmaps is not None and has_maps
        else _thumbnails(encoder, source, positions[:count]),
    )


def _explanation(heatmaps: HeatMaps) -> str:
    name, scale = heatmaps.shown, heatmaps.scales[heatmaps.shown]
    marked = "" if scale.level is None else f" 99.9% of the pixels of normal images are below {scale.level:.3g}."
    return (
        f"Left the image, right its heat map of {name} ({scale.unit}), from {scale.low:.3g} (dark) to {scale.high:.3g} and "
        f"more (bright); one scale for all.{marked}"
    )


def _pairs(heatmaps: HeatMaps) -> Thumbnails:
    """Draw images next to their heat maps, smaller if there are more of them."""
    count, height, width, _ = heatmaps.pixels.shape
    scale = min(1.0, math.sqrt(PIXELS / (2 * count * height * width)))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    cells = np.full((count, size[1], 2 * size[0] + _GAP, 3), 255, np.uint8)
    for rank, cell in enumerate(cells):
        images = (Image.fromarray(pixels).resize(size) for pixels in (heatmaps.pixels[rank], heatmaps.overlay(rank)))
        cell[:, : size[0]], cell[:, size[0] + _GAP :] = (np.asarray(image) for image in images)
    return thumbnails_of(image_sprite_sheet(cells, frames=2))


def _thumbnails(encoder: Encoder, source: Source, positions: np.ndarray) -> Thumbnails:
    builder = SpriteSheetBuilder(encoder)
    return thumbnails_of(builder.sprite_sheet(builder.raw_to_cells(read_valid(source, positions)[0])))
