"""What tasks share that restore damaged samples: their data, at its own size where the network can, and the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from aekit.applying.fullsize import FullSize
from aekit.applying.job import Job, Outcome
from aekit.applying.originals import files_of
from aekit.applying.outputs import can_be_png
from aekit.errors import DataError
from aekit.evaluation.fidelity import decibels, squared_errors
from aekit.reading.pictures import BadPicture, read_whole
from aekit.reconstruction import ssim
from aekit.samples import Source, to_tensor

SHOWN = 6


@dataclass(frozen=True)
class Restored:
    """One sample, before and after. All values are (*shape) in the data's units.

    Attributes:
        row: its position in the source.
        given: what the network was shown.
        made: what it made of that.
        others: what baselines made of it, by name; the first of them left the damage.
        true: the undamaged one, where it is known.
        hidden: bool (1, ...), where alone it was restored; None: everywhere.
    """

    row: int
    given: np.ndarray
    made: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    true: np.ndarray | None = None
    hidden: np.ndarray | None = None


def opened(job: Job, full: FullSize | str, notes: list[str]) -> tuple[Source, FullSize | None]:
    """The data, at its own size where the network and the data allow it."""
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


def judged(
    job: Job, source: Source, rows: np.ndarray, restored: Iterable[Restored], damaged: str, notes: list[str]
) -> Outcome:
    """Writes what was restored, and judges it where the true samples are known, beside the baselines.

    The root mean squared error is in shares of the range of the values (0..1; for tables and series on the network's scale),
    averaged over samples, as PSNR and SSIM are; all are those of the values as they are written.

    Args:
        source, rows: the samples, and which of them.
        restored: each of them, in that order, without those that cannot be read.
        damaged: what the network was shown, for the picture.
        notes: what was left out, and why.

    Raises:
        DataError: no sample can be used.
    """
    outputs = job.outputs([source.ids[int(row)] for row in rows])
    show = {int(rows[place]) for place in np.linspace(0, len(rows) - 1, min(len(rows), SHOWN)).astype(int)}
    shown: list[list[np.ndarray]] = []
    titles: list[str] = []
    samples: list[dict[str, Any]] = []
    table: dict[str, list[dict[str, float]]] = {}
    for one in restored:
        outputs.add([source.ids[one.row]], one.made[None])
        row: dict[str, Any] = {"id": source.ids[one.row]}
        if one.true is None:
            row["rmse to input"] = _figures(job, one, one.made, one.given)["rmse"]
        else:
            ways = {"network": one.made, **one.others}
            figures = {title: _figures(job, one, values, one.true) for title, values in ways.items()}
            for title, found in figures.items():
                table.setdefault(title, []).append(found)
            left = list(figures.values())[1]
            row |= figures["network"] | {f"{figure} before": value for figure, value in left.items()}
        samples.append(row)
        if one.row in show:
            beside = dict(list(one.others.items())[1:])
            titles = [damaged, "network", *(["clean"] if one.true is not None else []), *beside]
            shown.append([one.given, one.made, *([] if one.true is None else [one.true]), *beside.values()])
    if not samples:
        raise DataError(f"none of {len(rows)} samples can be used; {'; '.join(list(source.skipped.values())[:3])}")
    means = [
        {"what": title, **{figure: _mean([one[figure] for one in found]) for figure in found[0]}}
        for title, found in table.items()
    ]
    title = f"{len(samples)} samples restored by encoder {job.encoder.digest[:12]}"
    return Outcome(job.grid(shown, column_titles=titles, title=title), means, samples, {}, notes)


def _figures(job: Job, one: Restored, given: np.ndarray, true: np.ndarray) -> dict[str, float]:
    left, right = to_tensor(given[None]), to_tensor(true[None])
    if not job.pictures:  # columns and channels have each their own unit: they are compared as the network sees them
        left, right = (job.encoder.preprocess(raw.to(job.encoder.device)).cpu() for raw in (left, right))
        found = {"rmse": float(squared_errors(left, right).sqrt())}
        return found | ({"rmse inside": float(_inside(one, left, right).sqrt())} if one.hidden is not None else {})
    error = squared_errors(left, right)
    found = {"rmse": float(error.sqrt()) / job.peak, "psnr": float(decibels(error, job.peak))}
    if job.spec.kind == "image":
        found["ssim"] = float(ssim(left.double(), right.double(), job.peak))
    if one.hidden is not None:
        found["psnr inside"] = float(decibels(_inside(one, left, right), job.peak))
    return found


def _inside(one: Restored, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(1,) mean squared error where it was restored; NaN where there is nothing to restore."""
    chosen = torch.from_numpy(np.broadcast_to(one.hidden, left.shape[1:]).copy())[None]  # type: ignore[arg-type]
    return (left.double() - right.double())[chosen].square().mean()[None]


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
