"""Evaluate restored samples; read images at their original size if the network supports it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from aekit.data.readers.image_headers import MAX_MEGAPIXELS, BadImage
from aekit.data.readers.images import read_full_size
from aekit.data.samples import chunk_size, to_tensor
from aekit.data.source import Source
from aekit.data.stream import BATCH, readable_batches
from aekit.evaluation.metrics.image import psnr_from_mse, squared_errors
from aekit.evaluation.splits import evenly_spaced
from aekit.objectives.losses import ssim
from aekit.workflows.applying._context import Context, TaskResult
from aekit.workflows.applying._full_size import FullSizeNetwork
from aekit.workflows.applying._outputs import image_suffix
from aekit.workflows.applying._references import image_files
from aekit.workflows.applying._sharing import Applied, Step, applied_to_all, show

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


class RestorationStep(Step):
    """Restore samples, and compare them with the baselines if the clean samples are known.

    The root mean squared error is relative to the range of the values (0..1; on the scale of the network for tables and series)
    and averaged over samples, like PSNR and SSIM. All metrics are of the written values.

    Args:
        context: the run and the data.
        source: of the samples.
        one_by_one: whether images are read one by one, at their original size.
        damaged: title of the inputs in the image.
    """

    def __init__(self, context: Context, source: Source, one_by_one: bool, damaged: str) -> None:
        self.context, self.source, self.one_by_one, self.damaged = context, source, one_by_one, damaged
        self.rows = source.rows_of(context.split)
        self.batch = 1 if one_by_one else chunk_size(source.spec, BATCH)
        self.shown = set(evenly_spaced(self.rows, SHOWN).tolist())

    @abstractmethod
    def restore(self, positions: list[int], raw: np.ndarray) -> Iterator[RestoredSample]:
        """Restore raw samples (B, *shape) at positions, a batch or a single one at its original size."""

    def apply(self, positions: np.ndarray) -> Iterator[tuple[int, Applied | None]]:
        if self.one_by_one:
            for position in positions.tolist():
                image = read_image(self.source, position, self.context)
                yield 1, None if image is None else self._measured(self.restore([position], image[None]))
            return
        device = self.context.encoder.device
        for asked, readable, raw in readable_batches(self.source, positions, device):
            batch = readable.tolist(), raw.cpu().numpy()
            yield asked, self._measured(self.restore(*batch)) if len(readable) else None

    def _measured(self, restored: Iterable[RestoredSample]) -> Applied:
        samples = list(restored)
        metrics: dict[str, dict[str, list[float]]] = {}
        for sample in samples:
            for method, values in _metrics_by_method(self.context, sample).items():
                for name, value in values.items():
                    metrics.setdefault(method, {}).setdefault(name, []).append(value)
        shown = {sample.row: self._cells(sample) for sample in samples if sample.row in self.shown}
        arrays = {method: {name: np.asarray(v) for name, v in by_name.items()} for method, by_name in metrics.items()}
        return Applied(np.asarray([s.row for s in samples]), [s.restored for s in samples], arrays, shown)

    def _cells(self, sample: RestoredSample) -> dict[str, np.ndarray]:
        """Return title -> a sample of a row of the image."""
        baselines = dict(list(sample.baselines.items())[1:])
        clean = {} if sample.clean is None else {"clean": sample.clean}
        return {self.damaged: sample.damaged, "network": sample.restored, **clean, **baselines}


_UNKNOWN, MASK = "(unknown)", "(mask)"
"""Methods of metrics that are no method's: without a clean sample, and of the mask."""


def _metrics_by_method(context: Context, sample: RestoredSample) -> dict[str, dict[str, float]]:
    """Return method -> metric -> value; and of the mask, whether it is empty, if there is one."""
    mask = {} if sample.mask is None else {MASK: {"empty": float(not sample.mask.any())}}
    if sample.clean is None:
        rmse = _metrics(context, sample, sample.restored, sample.damaged)["rmse"]
        return {_UNKNOWN: {"rmse to input": rmse}} | mask
    methods = {"network": sample.restored, **sample.baselines}
    return {title: _metrics(context, sample, values, sample.clean) for title, values in methods.items()} | mask


def evaluate_restoration(
    context: Context, step: RestorationStep, settings: Mapping[str, Any], notes: list[str]
) -> tuple[TaskResult, int]:
    """Write restored samples, and average their metrics.

    Args:
        context: the run and the data.
        step: restores them.
        settings: from which workers build the step.
        notes: what was skipped, and why.

    Returns:
        the result, and the number of samples whose mask is empty.

    Raises:
        DataError: no sample can be read.
    """
    source, rows, empty = step.source, step.rows, 0
    outputs = context.outputs([source.ids[int(row)] for row in rows], image_files=bool(image_files(source)))
    cells: list[Mapping[str, np.ndarray]] = []
    samples: list[dict[str, Any]] = []
    table: dict[str, dict[str, list[float]]] = {}
    first: int | None = None
    for applied in applied_to_all(context, step, settings):
        by_method = dict(applied.metrics)
        empty += int(by_method.pop(MASK, {"empty": np.zeros(1)})["empty"].sum())
        to_input = by_method.pop(_UNKNOWN, {})
        for method, metrics in by_method.items():
            for name, values in metrics.items():
                table.setdefault(method, {}).setdefault(name, []).extend(values.tolist())
        for number, position in enumerate(applied.positions.tolist()):
            first = position if first is None else first
            outputs.add([source.ids[position]], applied.outputs[number][None])
            values_of_sample = {
                name: float(values[number]) for name, values in (to_input or by_method["network"]).items()
            }
            before = {} if to_input else list(by_method.values())[1]
            values_of_sample |= {f"{name} before": float(values[number]) for name, values in before.items()}
            samples.append({"id": source.ids[position], **values_of_sample})
            cells += [applied.shown[position]] if position in applied.shown else []
    if not cells and first is not None:
        cells = [show(step, first)]
    means = [
        {"method": title, **{name: _mean(values) for name, values in metrics.items()}}
        for title, metrics in table.items()
    ]
    title = f"{len(samples)} samples restored by encoder {context.encoder.digest[:12]}"
    image = context.grid([list(row.values()) for row in cells], column_titles=list(cells[0]), title=title)
    return TaskResult(image, means, samples, {}, notes), empty


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
        brightness, reference = (values.double() - context.black for values in (left, right))
        metrics["ssim"] = float(ssim(brightness, reference, context.peak))
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
