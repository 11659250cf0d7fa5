"""Damaged samples, restored by an autoencoder, beside leaving them as they are and filters that need no training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from aekit.applying.fullsize import FullSize, full_size
from aekit.applying.job import Job, Outcome
from aekit.applying.originals import Originals
from aekit.applying.restored import Restored, judged, opened, read_one
from aekit.backbone import through
from aekit.options import Field
from aekit.samples import Source, to_tensor

TRIED = 4
MEDIANS, STRENGTHS = (3, 5, 7), (0.02, 0.05, 0.1, 0.2, 0.4)
"""Sizes in pixels and strengths, for values in 0..1, that the filters may choose from."""

Filter = Callable[[np.ndarray, float], np.ndarray]


@torch.inference_mode()
def denoise(
    job: Job,
    *,
    clean: Annotated[
        Any, Field(description="the undamaged samples: data, a folder of the same names, or a column of DATA")
    ] = None,
    baselines: Annotated[bool, Field(description="a median filter and non-local means beside it")] = True,
    tile: Annotated[
        int, Field(ge=0, description="side of the pieces that large pictures are done in; 0: whole")
    ] = 1024,
) -> Outcome:
    """Writes what the network makes of damaged samples, at the natural size of pictures where it can."""
    notes: list[str] = []
    autoencoder = job.autoencoder

    def run(x: Tensor) -> Tensor:
        return autoencoder.likelihood.activate(through(job.encoder.backbone, autoencoder.decoder, x).float())

    source, full = opened(job, full_size(job.encoder, autoencoder.decoder, run), notes)
    rows = source.rows_of(job.split)
    truth = Originals(clean, job, source, own_size=full is not None) if clean is not None else None
    filters = _filters(job, source, rows, full, truth, notes) if baselines and truth is not None else {}

    def steps() -> Iterator[Restored]:
        for row, raw, made in _restored(job, source, rows, full, tile):
            true = truth.of(row, raw.shape) if truth is not None else None
            others = {title: _as_raw(apply(raw / job.peak), job) for title, apply in filters.items()}
            yield Restored(row, raw, made, {"as they are": raw, **others}, true)

    found = judged(job, source, rows, steps(), "damaged", notes)
    found.facts["own size"] = full is not None
    return found


def _restored(
    job: Job, source: Source, rows: np.ndarray, full: FullSize | None, tile: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Row, damaged and restored sample, one after the other."""
    if full is None:
        for positions, batch in job.batches("apply", rows):
            yield from zip(positions.tolist(), batch.cpu().numpy(), job.in_units(job.decode(job.encode(batch))))
        return
    with job.progress.task("apply", len(rows)) as task:
        for row in rows.tolist():
            task.advance()
            raw = read_one(source, row, job)
            if raw is not None:
                x = job.encoder.preprocess(to_tensor(raw[None]).to(job.encoder.device))[0]
                yield row, raw, job.in_units(full.restore(x, tile)[None])[0]


def _as_raw(values: np.ndarray, job: Job) -> np.ndarray:
    """(C, H, W) in 0..1 -> in the data's units and dtype."""
    scaled = values * job.peak
    return (scaled.round().clip(0, job.peak) if np.dtype(job.spec.dtype).kind in "ui" else scaled).astype(
        job.spec.dtype
    )


def _filters(
    job: Job, source: Source, rows: np.ndarray, full: FullSize | None, truth: Originals, notes: list[str]
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Filters that need no training, each with the setting that is best on some of the very pictures, in its favour."""
    if job.spec.kind != "image":
        return {}
    from scipy.ndimage import median_filter

    known: dict[str, tuple[Filter, tuple[float, ...]]] = {
        "median filter": (lambda x, side: median_filter(x, (1, int(side), int(side))), MEDIANS)
    }
    try:
        from skimage.restoration import denoise_nl_means
    except ImportError:
        notes.append("no non-local means: it needs scikit-image (pip install 'aekit[pictures]')")
    else:
        known["non-local means"] = (
            lambda x, h: np.stack([denoise_nl_means(plane, patch_size=5, patch_distance=6, h=h) for plane in x]),
            STRENGTHS,
        )
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), TRIED)).astype(int)]
    pairs = []
    for row in some.tolist():
        raw = read_one(source, row, job) if full is not None else source.read(np.asarray([row]))[0][0]
        if raw is not None:
            pairs.append((raw / job.peak, truth.of(row, raw.shape) / job.peak))
    chosen: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    for title, (apply, settings) in known.items():
        errors = {s: np.mean([np.square(apply(x, s) - true).mean() for x, true in pairs]) for s in settings}
        best = min(settings, key=lambda s: errors[s])
        chosen[title] = lambda x, apply=apply, best=best: apply(x, best)  # type: ignore[misc]
        notes.append(f"{title}: {best:g}, the best of {', '.join(f'{s:g}' for s in settings)} on {len(pairs)} of these")
    return chosen
