"""Damaged samples, restored: at the natural size of pictures where the network allows it, and judged where the clean ones
are known, beside leaving them as they are and beside filters that need no training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import torch

from aekit.applying.fullsize import FullSize, full_size
from aekit.applying.job import Job, Outcome
from aekit.applying.originals import Originals, files_of
from aekit.applying.outputs import can_be_png
from aekit.errors import DataError
from aekit.evaluation.fidelity import decibels, squared_errors
from aekit.options import Field
from aekit.reading.pictures import BadPicture, read_whole
from aekit.reconstruction import ssim
from aekit.samples import Source, to_tensor

SHOWN, TRIED = 6, 4
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
    """Writes what the network makes of damaged samples.

    The root mean squared error is in shares of the range of the values (0..1; for tables and series on the network's scale),
    averaged over samples, as PSNR and SSIM are; all are those of the values as they are written.
    """
    notes: list[str] = []
    source, full = _opened(job, notes)
    rows = source.rows_of(job.split)
    truth = Originals(clean, job, source, own_size=full is not None) if clean is not None else None
    filters = _filters(job, source, rows, full, truth, notes) if baselines and truth is not None else {}
    outputs = job.outputs([source.ids[int(row)] for row in rows])
    shown, show = [], set(np.linspace(0, len(rows) - 1, min(len(rows), SHOWN)).astype(int).tolist())
    samples: list[dict[str, Any]] = []
    table: dict[str, list[dict[str, float]]] = {}
    for number, row, raw, restored in _restored(job, source, rows, full, tile):
        name = source.ids[row]
        outputs.add([name], restored[None])
        ways = {"network": restored, "as they are": raw}
        if truth is not None:
            true = truth.of(row, raw.shape)
            ways |= {title: _as_raw(apply(raw / job.peak), job) for title, apply in filters.items()}
            figures = {title: _figures(job, values, true) for title, values in ways.items()}
            for title, found in figures.items():
                table.setdefault(title, []).append(found)
            samples.append({"id": name, **figures["network"], "rmse before": figures["as they are"]["rmse"]})
        else:
            samples.append({"id": name, "rmse to input": _figures(job, restored, raw)["rmse"]})
        if number in show:
            shown.append([raw, restored, *([true] if truth else []), *(ways[title] for title in filters)])
    if not samples:
        raise DataError(f"none of {len(rows)} samples can be used; {'; '.join(list(source.skipped.values())[:3])}")
    rows_ = [
        {"what": title, **{figure: float(np.mean([one[figure] for one in found])) for figure in found[0]}}
        for title, found in table.items()
    ]
    picture = job.grid(
        shown,
        column_titles=["damaged", "network", *(["clean"] if truth else []), *filters],
        title=f"{len(samples)} samples restored by encoder {job.encoder.digest[:12]}",
    )
    return Outcome(picture, rows_, samples, {"own size": full is not None}, notes)


def _opened(job: Job, notes: list[str]) -> tuple[Source, FullSize | None]:
    """The data, at its own size where the network and the data allow it."""
    full = full_size(job.autoencoder)
    if isinstance(full, str):
        if job.spec.kind == "image":
            notes.append(f"at the network's own {job.spec.shape[2]}x{job.spec.shape[1]} pixels: {full}")
        return job.source, None
    if files_of(job.source_as_it_is):
        return job.source_as_it_is, full if can_be_png(job.spec) else None
    found, wanted = job.source_as_it_is.spec, job.spec
    if (found.kind, found.shape[0], found.dtype) != ("image", wanted.shape[0], wanted.dtype):
        return job.source, None  # which says what does not fit
    return job.source_as_it_is, full


def _restored(
    job: Job, source: Source, rows: np.ndarray, full: FullSize | None, tile: int
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Number, row, damaged and restored sample, one after the other."""
    if full is None:
        yield from _at_its_size(job, source, rows)
        return
    with job.progress.task("apply", len(rows)) as task:
        for number, row in enumerate(rows.tolist()):
            task.advance()
            raw = read_one(source, row, job)
            if raw is not None:
                x = job.encoder.preprocess(to_tensor(raw[None]).to(job.encoder.device))[0]
                yield number, row, raw, job.in_units(full.restore(x, tile)[None])[0]


def _at_its_size(job: Job, source: Source, rows: np.ndarray) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    numbers = {row: number for number, row in enumerate(rows.tolist())}
    for positions, raw in job.batches("apply", rows):
        restored = job.in_units(job.decode(job.encode(raw)))
        for row, before, after in zip(positions.tolist(), raw.cpu().numpy(), restored):
            yield numbers[row], row, before, after


def read_one(source: Source, row: int, job: Job) -> np.ndarray | None:
    """(C, H, W) at its own size; None where it cannot be read, and the source's `skipped` says why."""
    paths = files_of(source)
    if not paths:
        raw, ok = source.read(np.asarray([row]))
        return raw[0] if ok[0] else None
    try:
        return read_whole(paths[row], job.spec)
    except BadPicture as error:
        source.skipped[source.ids[row]] = str(error)
        return None


def _figures(job: Job, given: np.ndarray, true: np.ndarray) -> dict[str, float]:
    one, other = to_tensor(given[None]), to_tensor(true[None])
    if not job.pictures:  # columns and channels have each their own unit: they are compared as the network sees them
        first, second = (job.encoder.preprocess(raw.to(job.encoder.device)) for raw in (one, other))
        return {"rmse": float(squared_errors(first, second).sqrt())}
    error = squared_errors(one, other)
    found = {"rmse": float(error.sqrt()) / job.peak, "psnr": float(decibels(error, job.peak))}
    if job.spec.kind == "image":
        found["ssim"] = float(ssim(one.double(), other.double(), job.peak))
    return found


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
