"""Evaluate restored samples; read images at their original size if the network supports it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from aekit.data.readers.image_headers import MAX_MEGAPIXELS, BadImage
from aekit.data.readers.images import read_full_size
from aekit.data.samples import to_tensor
from aekit.data.source import Source
from aekit.errors import DataError
from aekit.evaluation.metrics.image import psnr_from_mse, squared_errors
from aekit.objectives.losses import ssim
from aekit.workflows.applying._context import Context, TaskResult
from aekit.workflows.applying._full_size import FullSizeNetwork
from aekit.workflows.applying._outputs import image_suffix
from aekit.workflows.applying._references import image_files

SHOWN = 6


@dataclass(frozen=True)
class RestoredSample:
    """One sample before and after restoration. All values are (*shape) in the units of the data.

    Attributes:
        row: position in the source.
        damaged: input of the network.
        restored: output of the network.
        baselines: outputs of the baselines, by name; the first is the unchanged input.
        clean: the clean sample, if known.
        mask: bool (1, ...), the part that was restored; None: everything.
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
    """Return the data, at its original size if the network and the data allow it, and the network for that."""
    if isinstance(full, str):
        if context.spec.is_image:
            notes.append(
                f"resized to the {context.spec.shape[2]}x{context.spec.shape[1]} pixels of the network: {full}"
            )
        return context.source, None
    if image_files(context.original_size_source):
        if image_suffix(context.spec):
            return context.original_size_source, full
        notes.append(
            f"resized to the {context.spec.shape[2]}x{context.spec.shape[1]} pixels of the network: "
            f"image files cannot hold {context.spec}"
        )
        return context.source, None
    original, expected = context.original_size_source.spec, context.spec
    if not original.is_image or (original.shape[0], original.dtype) != (expected.shape[0], expected.dtype):
        return context.source, None  # opening it raises an error that names the difference
    return context.original_size_source, full


def read_image(source: Source, row: int, context: Context) -> np.ndarray | None:
    """Read a (C, H, W) image at its original size; None if unreadable, with the reason in the source's `skipped`."""
    paths = image_files(source)
    if not paths:
        raw, ok = source.read(np.asarray([row]))
        return raw[0] if ok[0] else None
    try:
        return read_full_size(paths[row], context.spec, getattr(source, "max_megapixels", MAX_MEGAPIXELS))
    except BadImage as error:
        source.skipped[source.ids[row]] = str(error)
        return None


def read_images(source: Source, rows: np.ndarray, context: Context) -> Iterator[tuple[int, np.ndarray]]:
    """Yield row and (C, H, W) image at its original size, one by one, without unreadable ones."""
    with context.progress.task("apply", len(rows)) as task:
        for row in rows.tolist():
            task.advance()
            image = read_image(source, row, context)
            if image is not None:
                yield row, image


def evaluate_restoration(
    context: Context,
    source: Source,
    rows: np.ndarray,
    restored: Iterable[RestoredSample],
    damaged: str,
    notes: list[str],
) -> TaskResult:
    """Write restored samples, and compare them with the baselines if the clean samples are known.

    The root mean squared error is relative to the range of the values (0..1; on the scale of the network for tables and series)
    and averaged over samples, like PSNR and SSIM. All metrics are of the written values.

    Args:
        context: the run and the data.
        source, rows: the samples and their positions.
        restored: the restored samples in that order, without unreadable ones.
        damaged: title of the inputs in the image.
        notes: what was skipped, and why.

    Raises:
        DataError: no sample can be read.
    """
    outputs = context.outputs([source.ids[int(row)] for row in rows], image_files=bool(image_files(source)))
    show = {int(rows[position]) for position in np.linspace(0, len(rows) - 1, min(len(rows), SHOWN)).astype(int)}
    shown: list[list[np.ndarray]] = []
    titles: list[str] = []
    samples: list[dict[str, Any]] = []
    table: dict[str, list[dict[str, float]]] = {}
    for sample in restored:
        outputs.add([source.ids[sample.row]], sample.restored[None])
        row: dict[str, Any] = {"id": source.ids[sample.row]}
        if sample.clean is None:
            row["rmse to input"] = _metrics(context, sample, sample.restored, sample.damaged)["rmse"]
        else:
            methods = {"network": sample.restored, **sample.baselines}
            metrics = {title: _metrics(context, sample, values, sample.clean) for title, values in methods.items()}
            for title, values in metrics.items():
                table.setdefault(title, []).append(values)
            before = list(metrics.values())[1]
            row |= metrics["network"] | {f"{metric} before": value for metric, value in before.items()}
        samples.append(row)
        if sample.row in show:
            baselines = dict(list(sample.baselines.items())[1:])
            clean = {} if sample.clean is None else {"clean": sample.clean}
            cells = {damaged: sample.damaged, "network": sample.restored, **clean, **baselines}
            titles = list(cells)
            shown.append(list(cells.values()))
    if not samples:
        raise DataError(f"none of {len(rows)} samples can be read: {'; '.join(list(source.skipped.values())[:3])}")
    means = [
        {"method": title, **{metric: _mean([values[metric] for values in by_sample]) for metric in by_sample[0]}}
        for title, by_sample in table.items()
    ]
    title = f"{len(samples)} samples restored by encoder {context.encoder.digest[:12]}"
    return TaskResult(context.grid(shown, column_titles=titles, title=title), means, samples, {}, notes)


def _metrics(context: Context, sample: RestoredSample, values: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    left, right = to_tensor(values[None]), to_tensor(clean[None])
    if not context.are_images:  # columns and channels have different units: compare on the scale of the network
        left, right = (context.encoder.preprocess(raw.to(context.encoder.device)).cpu() for raw in (left, right))
        metrics = {"rmse": float(squared_errors(left, right).sqrt())}
        if sample.mask is not None:
            metrics["rmse in mask"] = float(_error_in_mask(sample, left, right).sqrt())
        return metrics
    error = squared_errors(left, right)
    metrics = {"rmse": float(error.sqrt()) / context.peak, "psnr": float(psnr_from_mse(error, context.peak))}
    if context.spec.is_image:
        metrics["ssim"] = float(ssim(left.double(), right.double(), context.peak))
    if sample.mask is not None:
        metrics["psnr in mask"] = float(psnr_from_mse(_error_in_mask(sample, left, right), context.peak))
    return metrics


def _error_in_mask(sample: RestoredSample, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Compute the (1,) mean squared error in the mask; NaN if the mask is empty."""
    mask = torch.from_numpy(np.broadcast_to(sample.mask, left.shape[1:]).copy())[None]  # type: ignore[arg-type]
    return (left.double() - right.double())[mask].square().mean()[None]


def _mean(values: list[float]) -> float:
    finite = [value for value in values if not np.isnan(value)]
    return float(np.mean(finite)) if finite else float("nan")
