"""Draw the result of a search for anomalies."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from aekit.analysis._anomaly_heatmaps import HeatMaps
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
    heatmaps: HeatMaps | None = None,
) -> Image.Image:
    """Draw the most anomalous and the most typical samples, the distribution of the scores, and the scores over time.

    Args:
        encoder: trained encoder.
        autoencoder: the encoder with its decoder; None, or a decoder of features, draws no reconstructions.
        source: source of the samples.
        rows: (N,) positions in it, the most anomalous sample first.
        scores: (N,) combined scores.
        labels: (N,) labels, or None.
        anomalous: (N,) bool, or None.
        heatmaps: of the most anomalous samples, or None.
    """
    scale = DisplayScale(encoder.spec, encoder.preprocess)
    cells, titles, captions = [], [], []
    ends = {"most anomalous": np.arange(min(SHOWN, len(rows))), "most typical": np.arange(len(rows))[::-1][:SHOWN]}
    for title, ranks in ends.items():
        raw, _ = read_valid(source, rows[ranks])
        cells.append([scale.to_display(sample) for sample in raw])
        titles.append(title)
        captions.append([f"{scores[rank]:.1f}" + ("" if labels is None else f" · {labels[rank]}") for rank in ranks])
        if autoencoder is not None and autoencoder.reconstructs_samples:
            x = autoencoder.reconstruct(to_tensor(raw).to(encoder.device))
            cells.append([scale.to_display(sample) for sample in encoder.preprocess.inverse(x).cpu().numpy()])
            titles.append("reconstructed")
            captions.append([""] * len(ranks))
        if heatmaps is not None and title == "most anomalous":
            low, high = scale.value_range
            overlays = [heatmaps.overlay(rank) for rank in range(min(len(ranks), len(heatmaps.ids)))]
            cells.append([image.transpose(2, 0, 1) / 255 * (high - low) + low for image in overlays])
            titles.append(f"heat map of {heatmaps.shown}")
            captions.append([""] * len(overlays))
    below = "score" if labels is None else "score and label"
    grid = draw_grid(
        cells,
        encoder.spec,
        row_titles=titles,
        captions=captions,
        title=f"{len(rows):,} samples by combined score ({below} below each)",
        value_range=scale.value_range,
    )
    logarithms = np.log10(np.maximum(scores, 1e-3))
    groups = {"all": logarithms}
    if anomalous is not None:
        groups = {
            f"normal ({(~anomalous).sum()})": logarithms[~anomalous],
            f"anomalies ({anomalous.sum()})": logarithms[anomalous],
        }
    parts = [grid, draw_histogram(groups, "combined score, as fractions of each group", "log10 of the score")]
    if source.segment_starts is not None:
        moments = source.segment_starts[rows]
        names = {
            number: source.ids[row].rpartition("@")[0] for row, number in zip(rows.tolist(), moments[:, 0].tolist())
        }
        title = "log10 of the combined score over time" + ("" if anomalous is None else "; anomalies are underlined")
        parts.insert(1, draw_time_courses(logarithms, moments, names, title, anomalous))
    return stack_images(parts)
