"""Apply a task to samples batch by batch, in this process or in the workers of an engine."""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from aekit.data.source import Source
from aekit.encoder.engines.engine import Work
from aekit.encoder.engines.units import (
    Column,
    Result,
    array_from_bytes,
    array_to_bytes,
    arrays_from_bytes,
    arrays_to_bytes,
    reading,
)
from aekit.errors import DataError
from aekit.objectives.saved_pretexts import FOLDER
from aekit.workflows.applying._context import Context

WORKER = "aekit.workflows.applying._worker"
"""Module of the workers of an engine."""
STATE = "state.safetensors"
_OUTPUT, _SHOWN, _METRIC = "output", "shown", "metric "


@dataclass
class Applied:
    """The outputs of a task for a batch.

    Attributes:
        positions: (B,) positions in the source.
        outputs: B samples in the units of the data, which may differ in size.
        metrics: name of a method -> name of a metric -> (B,).
        shown: position -> title -> a sample, of those that are shown or compared.
    """

    positions: np.ndarray
    outputs: np.ndarray | Sequence[np.ndarray]
    metrics: Mapping[str, Mapping[str, np.ndarray]]
    shown: Mapping[int, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def columns(self) -> dict[str, Column]:
        """Return it as columns of a `Result`."""
        shown = (self.shown.get(position) for position in self.positions.tolist())
        columns: dict[str, Column] = {
            _OUTPUT: [array_to_bytes(output) for output in self.outputs],
            _SHOWN: [b"" if samples is None else arrays_to_bytes(samples) for samples in shown],
        }
        for method, metrics in self.metrics.items():
            for name, values in metrics.items():
                columns[f"{_METRIC}{json.dumps([method, name])}"] = np.asarray(values, np.float64)
        return columns

    @classmethod
    def from_result(cls, result: Result) -> Applied:
        """Read the result of a worker.

        Raises:
            MessageError: it is something else.
        """
        metrics: dict[str, dict[str, np.ndarray]] = {}
        with reading("output of a task"):
            for title, column in result.columns.items():
                if title.startswith(_METRIC):
                    method, name = json.loads(title.removeprefix(_METRIC))
                    metrics.setdefault(method, {})[name] = np.asarray(column, np.float64).reshape(len(result.positions))
            outputs = [array_from_bytes(content) for content in result.columns[_OUTPUT]]
            shown = zip(result.positions.tolist(), result.columns[_SHOWN])
            return cls(result.positions, outputs, metrics, {p: arrays_from_bytes(c) for p, c in shown if len(c)})


class Step(ABC):
    """Apply a task to batches of samples.

    Attributes:
        source: of the samples.
        rows: (N,) positions of all samples, ascending.
        batch: number of samples of a batch; the samples of a worker are whole batches.
        shown: positions of the samples that are shown.
    """

    source: Source
    rows: np.ndarray
    batch: int
    shown: set[int]

    @abstractmethod
    def apply(self, positions: np.ndarray) -> Iterator[tuple[int, Applied | None]]:
        """Apply the task to the samples at (n,) of the positions, batch by batch.

        Yields:
            the number of samples of the batch, and what was made of those that could be read, or None.
        """

    def number(self, position: int) -> int:
        """Return the number of the sample at a position, counted from 0 among all."""
        return int(np.searchsorted(self.rows, position))


def applied_to_all(
    context: Context, step: Step, settings: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
) -> Iterator[Applied]:
    """Apply a task to all samples, in their order; workers build the step from settings that JSON expresses, and tensors.

    Raises:
        DataError: no sample can be read; or there is an engine, and the data or a setting is in memory.
    """
    if context.engine is not None:
        context.engine.check(step.source)
    usable = 0
    with context.progress.task("apply", len(step.rows)) as task:
        batches = (
            step.apply(step.rows) if context.engine is None else _by_engine(context, step, settings, tensors or {})
        )
        with closing(batches):  # type: ignore[type-var]
            for asked, applied in batches:
                task.advance(asked)
                if applied is not None:
                    usable += len(applied.positions)
                    yield applied
    if not usable:
        reasons = "; ".join(list(step.source.skipped.values())[:3])
        raise DataError(f"none of {len(step.rows)} samples can be read: {reasons}")


def show(step: Step, position: int) -> Mapping[str, np.ndarray]:
    """Return title -> a sample of a readable sample, where none of those that were to be shown could be read."""
    step.shown = {position}
    _, applied = next(step.apply(np.asarray([position])))
    assert applied is not None
    return applied.shown[position]


def _by_engine(
    context: Context, step: Step, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Iterator[tuple[int, Applied | None]]:
    assert context.engine is not None
    plain_settings = {name: _plain(name, value) for name, value in settings.items()}
    told = {"task": context.task, "data": str(context.data), "options": context.options, "split": context.split}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def prepare() -> dict[str, Any]:
            for name in ("encoder", "decoder", FOLDER):
                if (context.run / name).is_dir():
                    shutil.copytree(context.run / name, folder / name)
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / STATE)
            return told | {"settings": plain_settings}

        device = context.encoder.device
        work = Work("applying", WORKER, step.source, device, step.batch, folder, prepare, context.progress)
        with closing(context.engine.run(work, step.rows)) as results:
            for unit, result in results:
                yield len(unit), Applied.from_result(result) if len(result.positions) else None


def _plain(name: str, value: Any) -> Any:
    """Return a setting as JSON expresses it; a path becomes a text."""
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    try:
        json.dumps(value)
    except TypeError:
        raise DataError(
            f"{name}: data in memory: workers open data by its path; save it to a file such as .npy, or leave out the "
            "engine"
        ) from None
    return value
