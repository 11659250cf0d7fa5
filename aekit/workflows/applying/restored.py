"""What tasks share that restore damaged samples: their data, at its own size where the network can, and the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from aekit.data.readers.image_headers import BadImage
from aekit.data.readers.images import read_full_size
from aekit.data.samples import to_tensor
from aekit.data.source import Source
from aekit.errors import DataError
from aekit.evaluation.metrics.image import psnr_from_mse, squared_errors
from aekit.objectives.losses import ssim
from aekit.workflows.applying.context import Context, TaskResult
from aekit.workflows.applying.full_size import FullSizeNetwork
from aekit.workflows.applying.outputs import supports_png
from aekit.workflows.applying.references import image_files

SHOWN = 6


@dataclass(frozen=True)
class RestoredSample:
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
    damaged: np.ndarray
    restored: np.ndarray
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)
    clean: np.ndarray | None = None
    mask: np.ndarray | None = None


def open_full_size(
    context: Context, full: FullSizeNetwork | str, notes: list[str]
) -> tuple[Source, FullSizeNetwork | None]:
    """The data, at its own size where the network and the data allow it."""
    if isinstance(full, str):
        if context.spec.is_image:
            notes.append(f"at the network's own {context.spec.shape[2]}x{context.spec.shape[1]} pixels: {full}")
        return context.source, None
    if image_files(context.original_size_source):
        return context.original_size_source, full if supports_png(context.spec) else None
    found, wanted = context.original_size_source.spec, context.spec
    if not found.is_image or (found.shape[0], found.dtype) != (wanted.shape[0], wanted.dtype):
        return context.source, None  # which says what does not fit
    return context.original_size_source, full


def read_image(source: Source, row: int, context: Context) -> np.ndarray | None:
    """(C, H, W) at its own size; None where it cannot be read, and the source's `skipped` says why."""
    paths = image_files(source)
    if not paths:
        raw, ok = source.read(np.asarray([row]))
        return raw[0] if ok[0] else None
    try:
        return read_full_size(paths[row], context.spec)
    except BadImage as error:
        source.skipped[source.ids[row]] = str(error)
        return None


def evaluate_restoration(
    context: Context,
    source: Source,
    rows: np.ndarray,
    restored: Iterable[RestoredSample],
    damaged: str,
    notes: list[str],
) -> TaskResult:
    """Writes what was restored, and judges it where the true samples are known, beside the baselines.

    The root mean squared error is in shares of the range of the values (0..1; for tables and series on the network's scale),
    averaged over samples, as PSNR and SSIM are; all are those of the values as they are written.

    Args:
        source, rows: the samples, and which of them.
        restored: each of them, in that order, without those that cannot be read.
        damaged: what the network was shown, for the image.
        notes: what was left out, and why.

    Raises:
        DataError: no sample can be used.
    """
    outputs = context.outputs([source.ids[int(row)] for row in rows])
    show = {int(rows[place]) for place in np.linspace(0, len(rows) - 1, min(len(rows), SHOWN)).astype(int)}
    shown: list[list[np.ndarray]] = []
    titles: list[str] = []
    samples: list[dict[str, Any]] = []
    table: dict[str, list[dict[str, float]]] = {}
    for one in restored:
        outputs.add([source.ids[one.row]], one.restored[None])
        row: dict[str, Any] = {"id": source.ids[one.row]}
        if one.clean is None:
            row["rmse to input"] = _figures(context, one, one.restored, one.damaged)["rmse"]
        else:
            ways = {"network": one.restored, **one.baselines}
            figures = {title: _figures(context, one, values, one.clean) for title, values in ways.items()}
            for title, found in figures.items():
                table.setdefault(title, []).append(found)
            left = list(figures.values())[1]
            row |= figures["network"] | {f"{figure} before": value for figure, value in left.items()}
        samples.append(row)
        if one.row in show:
            beside = dict(list(one.baselines.items())[1:])
            titles = [damaged, "network", *(["clean"] if one.clean is not None else []), *beside]
            shown.append([one.damaged, one.restored, *([] if one.clean is None else [one.clean]), *beside.values()])
    if not samples:
        raise DataError(f"none of {len(rows)} samples can be used; {'; '.join(list(source.skipped.values())[:3])}")
    means = [
        {"what": title, **{figure: _mean([one[figure] for one in found]) for figure in found[0]}}
        for title, found in table.items()
    ]
    title = f"{len(samples)} samples restored by encoder {context.encoder.digest[:12]}"
    return TaskResult(context.grid(shown, column_titles=titles, title=title), means, samples, {}, notes)


def _figures(context: Context, one: RestoredSample, given: np.ndarray, true: np.ndarray) -> dict[str, float]:
    left, right = to_tensor(given[None]), to_tensor(true[None])
    if (
        not context.are_images
    ):  # columns and channels have each their own unit: they are compared as the network sees them
        left, right = (context.encoder.preprocess(raw.to(context.encoder.device)).cpu() for raw in (left, right))
        found = {"rmse": float(squared_errors(left, right).sqrt())}
        return found | ({"rmse inside": float(_inside(one, left, right).sqrt())} if one.mask is not None else {})
    error = squared_errors(left, right)
    found = {"rmse": float(error.sqrt()) / context.peak, "psnr": float(psnr_from_mse(error, context.peak))}
    if context.spec.is_image:
        found["ssim"] = float(ssim(left.double(), right.double(), context.peak))
    if one.mask is not None:
        found["psnr inside"] = float(psnr_from_mse(_inside(one, left, right), context.peak))
    return found


def _inside(one: RestoredSample, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(1,) mean squared error where it was restored; NaN where there is nothing to restore."""
    chosen = torch.from_numpy(np.broadcast_to(one.mask, left.shape[1:]).copy())[None]  # type: ignore[arg-type]
    return (left.double() - right.double())[chosen].square().mean()[None]


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
