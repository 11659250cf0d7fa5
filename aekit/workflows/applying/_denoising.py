"""Denoise samples with an autoencoder, compared with filters that need no training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.data.source import Source
from aekit.encoder.backbone import apply_any_size
from aekit.registry.options import Field
from aekit.workflows.applying._context import CleanOption, Context, TaskResult, TileOption
from aekit.workflows.applying._full_size import FullSizeNetwork, full_size_network
from aekit.workflows.applying._references import CleanReferences
from aekit.workflows.applying._restored import (
    RestoredSample,
    evaluate_restoration,
    open_full_size,
    read_image,
    read_images,
)

TUNING_IMAGES = 4
MEDIANS, STRENGTHS = (3, 5, 7), (0.02, 0.05, 0.1, 0.2, 0.4)
"""Sizes in pixels, and strengths for values in 0..1, from which the filters are tuned."""
BACKGROUNDS = (15, 23, 31)
"""Sizes in pixels of the surroundings whose median is the background of a page."""

Filter = Callable[[np.ndarray, float], np.ndarray]


@torch.inference_mode()
def denoise(
    context: Context,
    *,
    clean: CleanOption = None,
    baselines: Annotated[bool, Field(description="compare with filters that need no training")] = True,
    tile: TileOption = 1024,
) -> TaskResult:
    """Denoise samples, images at their original size if the network supports it."""
    notes: list[str] = []
    autoencoder = context.autoencoder

    def run(x: Tensor) -> Tensor:
        return autoencoder.likelihood.activate(apply_any_size(context.encoder.backbone, autoencoder.decoder, x).float())

    source, full = open_full_size(context, full_size_network(context.encoder, autoencoder.decoder, run), notes)
    rows = source.rows_of(context.split)
    references = CleanReferences(clean, context, source, original_size=full is not None) if clean is not None else None
    filters = _filters(context, source, rows, full, references, notes) if baselines and references is not None else {}

    def steps() -> Iterator[RestoredSample]:
        for row, raw, restored in _restored(context, source, rows, full, tile):
            reference = references.reference_for(row, raw.shape) if references is not None else None
            filtered = {title: _as_raw(apply(raw / context.peak), context) for title, apply in filters.items()}
            yield RestoredSample(row, raw, restored, {"input": raw, **filtered}, reference)

    result = evaluate_restoration(context, source, rows, steps(), "damaged", notes)
    result.details["original_size"] = full is not None
    return result


def _restored(
    context: Context, source: Source, rows: np.ndarray, full: FullSizeNetwork | None, tile: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield row, damaged sample and restored sample."""
    if full is None:
        for positions, batch in context.batches("apply", rows):
            yield from zip(
                positions.tolist(), batch.cpu().numpy(), context.denormalize(context.decode(context.encode(batch)))
            )
        return
    for row, raw in read_images(source, rows, context):
        x = context.encoder.preprocess(to_tensor(raw[None]).to(context.encoder.device))[0]
        yield row, raw, context.denormalize(full.restore(x, tile)[None])[0]


def _as_raw(values: np.ndarray, context: Context) -> np.ndarray:
    """Convert (C, H, W) in 0..1 to the units and dtype of the data."""
    scaled = values * context.peak
    return (scaled.round().clip(0, context.peak) if np.dtype(context.spec.dtype).kind in "ui" else scaled).astype(
        context.spec.dtype
    )


def _filters(
    context: Context,
    source: Source,
    rows: np.ndarray,
    full: FullSizeNetwork | None,
    references: CleanReferences,
    notes: list[str],
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Tune filters on a few of the images themselves, which favors the filters: title -> filter."""
    if not context.spec.is_image:
        return {}
    from scipy.ndimage import median_filter

    known: dict[str, tuple[Filter, tuple[float, ...]]] = {
        "median filter": (lambda x, side: median_filter(x, (1, int(side), int(side))), MEDIANS)
    }
    try:
        from skimage.filters.rank import median
        from skimage.restoration import denoise_nl_means
    except ImportError:
        notes.append(
            "no non-local means and no background division: they need scikit-image (pip install 'aekit[images]')"
        )
    else:
        known["non-local means"] = (
            lambda x, h: np.stack([denoise_nl_means(plane, patch_size=5, patch_distance=6, h=h) for plane in x]),
            STRENGTHS,
        )

        def divide_by_background(x: np.ndarray, side: float) -> np.ndarray:
            """Divide a page by its local median: stains vanish, and ink stays, which covers less than half of a place."""
            levels = (255 * x).round().clip(0, 255).astype(np.uint8)
            background = np.stack([median(plane, np.ones((int(side), int(side)), bool)) for plane in levels]) / 255
            return np.clip(x / np.maximum(background, 1 / 255), 0, 1)

        known["background division"] = divide_by_background, BACKGROUNDS
    tuning_rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), TUNING_IMAGES)).astype(int)]
    pairs = []
    for row in tuning_rows.tolist():
        raw = read_image(source, row, context) if full is not None else source.read(np.asarray([row]))[0][0]
        if raw is not None:
            pairs.append((raw / context.peak, references.reference_for(row, raw.shape) / context.peak))
    tuned: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    for title, (apply, settings) in known.items():
        errors = {s: np.mean([np.square(apply(x, s) - clean).mean() for x, clean in pairs]) for s in settings}
        best = min(settings, key=lambda s: errors[s])
        tuned[title] = lambda x, apply=apply, best=best: apply(x, best)  # type: ignore[misc]
        notes.append(
            f"{title}: {best:g}, the best of {', '.join(f'{s:g}' for s in settings)} on {len(pairs)} of the images"
        )
    return tuned
