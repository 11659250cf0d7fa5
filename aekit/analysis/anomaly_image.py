"""The image of a search for anomalies: the oddest and the most usual samples, how their scores are spread, and where in time
they are."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder.encoder import Encoder
from aekit.objectives.autoencoder import Autoencoder
from aekit.visualization.image_grid import draw_grid, stack_images
from aekit.visualization.plots import draw_histogram, draw_time_courses
from aekit.visualization.rendering import DisplayScale

SHOWN = 10


@torch.inference_mode()
def anomalies_image(
    encoder: Encoder,
    autoencoder: Autoencoder | None,
    source: Source,
    rows: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray | None,
    anomalous: np.ndarray | None,
) -> Image.Image:
    """The image.

    Args:
        encoder, autoencoder: trained; without an autoencoder of samples no reconstructions are shown.
        source: of the samples.
        rows: (N,) positions in it, the oddest first.
        scores: (N,) combined.
        labels, anomalous: (N,), or None.
    """
    drawn = DisplayScale(encoder.spec, encoder.preprocess)
    cells, titles, captions = [], [], []
    ends = {"most anomalous": np.arange(min(SHOWN, len(rows))), "most usual": np.arange(len(rows))[::-1][:SHOWN]}
    for title, places in ends.items():
        raw, _ = read_valid(source, rows[places])
        cells.append([drawn.to_display(sample) for sample in raw])
        titles.append(title)
        captions.append([f"{scores[p]:.1f}" + ("" if labels is None else f" · {labels[p]}") for p in places])
        if autoencoder is not None and autoencoder.reconstructs_samples:
            back = encoder.preprocess.inverse(autoencoder.reconstruct(to_tensor(raw).to(encoder.device))).cpu().numpy()
            cells.append([drawn.to_display(sample) for sample in back])
            titles.append("reconstructed")
            captions.append([""] * len(places))
    said = "" if labels is None else " and label"
    grid = draw_grid(
        cells,
        encoder.spec,
        row_titles=titles,
        captions=captions,
        title=f"{len(rows)} samples by combined score; below each its score{said}",
        value_range=drawn.value_range,
    )
    spread = np.log10(np.maximum(scores, 1e-3))
    groups = {"all": spread}
    if anomalous is not None:
        groups = {
            f"normal ({(~anomalous).sum()})": spread[~anomalous],
            f"anomalies ({anomalous.sum()})": spread[anomalous],
        }
    parts = [grid, draw_histogram(groups, "combined score, as shares of each group", "log10 of the score")]
    if source.segment_starts is not None:
        moments = source.segment_starts[rows]
        names = {
            number: source.ids[row].rpartition("@")[0] for row, number in zip(rows.tolist(), moments[:, 0].tolist())
        }
        said = "" if anomalous is None else "; anomalies are underlined"
        title = f"log10 of the combined score in the course of time{said}"
        parts.insert(1, draw_time_courses(spread, moments, names, title, anomalous))
    return stack_images(parts)
