"""Denoise samples with an autoencoder, compared with filters that need no training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.encoder.backbone import apply_any_size
from aekit.evaluation.splits import evenly_spaced
from aekit.registry.options import Field
from aekit.workflows.applying._context import CleanOption, Context, TaskResult, TileOption
from aekit.workflows.applying._full_size import full_size_network
from aekit.workflows.applying._references import CleanReferences
from aekit.workflows.applying._restored import (
    RestorationStep,
    RestoredSample,
    evaluate_restoration,
    open_full_size,
    read_image,
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
    step = Denoising(context, notes, clean, tile)
    filters = _tuned(step, notes) if baselines and step.references is not None else {}
    step.filters = filters
    result, _ = evaluate_restoration(context, step, {"clean": clean, "tile": tile, "filters": filters}, notes)
    result.details["original_size"] = step.one_by_one
    return result


class Denoising(RestorationStep):
    """Denoise samples by an autoencoder, and by filters.

    Args:
        context: the run and the data.
        notes: receives what was left out, and why.
        clean, tile: as of `denoise`.
        filters: name of a filter -> its size or strength.
    """

    def __init__(
        self, context: Context, notes: list[str], clean: Any, tile: int, filters: Mapping[str, float] | None = None
    ) -> None:
        autoencoder = context.autoencoder

        def run(x: Tensor) -> Tensor:
            return autoencoder.likelihood.activate(
                apply_any_size(context.encoder.backbone, autoencoder.decoder, x).float()
            )

        source, self.full = open_full_size(context, full_size_network(context.encoder, autoencoder.decoder, run), notes)
        super().__init__(context, source, self.full is not None, "damaged")
        self.tile, self.filters = tile, filters or {}
        self.references = (
            None if clean is None else CleanReferences(clean, context, source, original_size=self.one_by_one)
        )

    def restore(self, positions: list[int], raw: np.ndarray) -> Iterator[RestoredSample]:
        context, x = self.context, to_tensor(raw).to(self.context.encoder.device)
        if self.full is None:
            restored = context.denormalize(context.decode(context.encode(x)))
        else:
            restored = context.denormalize(self.full.restore(context.encoder.preprocess(x)[0], self.tile)[None])
        known = _known_filters([]) if self.filters else {}
        for position, damaged, output in zip(positions, raw, restored):
            reference = self.references.reference_for(position, damaged.shape) if self.references is not None else None
            filtered = {
                title: _as_raw(known[title][0](_in_unit(damaged, context), setting), context)
                for title, setting in self.filters.items()
            }
            yield RestoredSample(position, damaged, output, {"input": damaged, **filtered}, reference)


def _in_unit(raw: np.ndarray, context: Context) -> np.ndarray:
    """Map (C, H, W) in the units of the data to 0..1, from black to white."""
    return (raw - context.black) / context.peak


def _as_raw(values: np.ndarray, context: Context) -> np.ndarray:
    """Convert (C, H, W) in 0..1 to the units and dtype of the data."""
    raw = values * context.peak + context.black
    if np.dtype(context.spec.dtype).kind in "ui":
        raw = raw.round().clip(context.black, context.black + context.peak)
    return raw.astype(context.spec.dtype)


def _known_filters(notes: list[str]) -> dict[str, tuple[Filter, tuple[float, ...]]]:
    """Return title -> a filter, and the sizes or strengths that it is tuned over."""
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
        return known
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
    return known


def _tuned(step: Denoising, notes: list[str]) -> dict[str, float]:
    """Tune filters on a few of the images themselves, which favors the filters: title -> size or strength."""
    context, source = step.context, step.source
    if not context.spec.is_image or step.references is None:
        return {}
    pairs = []
    for row in evenly_spaced(step.rows, TUNING_IMAGES).tolist():
        raw = read_image(source, row, context) if step.one_by_one else source.read(np.asarray([row]))[0][0]
        if raw is not None:
            reference = step.references.reference_for(row, raw.shape)
            pairs.append((_in_unit(raw, context), _in_unit(reference, context)))
    tuned: dict[str, float] = {}
    for title, (apply, settings) in _known_filters(notes).items():
        errors = {s: np.mean([np.square(apply(x, s) - clean).mean() for x, clean in pairs]) for s in settings}
        tuned[title] = min(settings, key=lambda s: errors[s])
        among = ", ".join(f"{s:g}" for s in settings)
        notes.append(f"{title}: {tuned[title]:g}, the best of {among} on {len(pairs)} of the images")
    return tuned
