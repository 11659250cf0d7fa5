"""Apply a trained run: reconstruct, denoise, sample or interpolate with an autoencoder, or restore with a pretext task.

Tasks of autoencoders are functions registered here; tasks of pretexts come with the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit._arguments import checked_arguments
from aekit.data.readers.folders import warn_if_inside
from aekit.encoder.engines.choice import EngineName, choose_engine
from aekit.encoder.parquet_store import skipped_csv
from aekit.errors import DataError, RecipeError
from aekit.io.atomic import write_json, write_text
from aekit.io.csv_files import write_csv
from aekit.io.remote import optional_folder
from aekit.io.remote_urls import is_remote
from aekit.io.summaries import html_summary
from aekit.io.text_table import format_columns
from aekit.progress import warn
from aekit.progress_display import ProgressOption, open_progress
from aekit.registry.options import options_model, validation_errors
from aekit.workflows.applying._context import Context, TaskResult
from aekit.workflows.applying._denoising import denoise
from aekit.workflows.applying._generation import interpolate, sample
from aekit.workflows.applying._reconstruction import reconstruct
from aekit.workflows.applying._restoration import restore, unknown_task


@dataclass(frozen=True)
class ApplyTask:
    """A task that a trained run can be applied to.

    Attributes:
        run: ``(context, *, options) -> TaskResult``; writes its samples to ``context.outputs``.
        summary: one line.
        needs_data: whether it needs input samples.
        shared: whether workers can share the samples.
    """

    run: Callable[..., TaskResult]
    summary: str
    needs_data: bool = True
    shared: bool = True


TASKS: dict[str, ApplyTask] = {
    "reconstruct": ApplyTask(reconstruct, "reconstruct samples: errors and bytes, compared with PCA, JPEG and PNG"),
    "denoise": ApplyTask(denoise, "denoise samples, images at their original size if the network supports it"),
    "sample": ApplyTask(
        sample, "generate samples from the prior of a generative autoencoder", needs_data=False, shared=False
    ),
    "interpolate": ApplyTask(interpolate, "interpolate between the codes of two samples", shared=False),
}
PRETEXT_TASK = ApplyTask(restore, "restore samples with a pretext task of the run")


@dataclass(frozen=True, eq=False)
class ApplyResult:
    """Result of applying a run.

    Attributes:
        task: name of the task.
        digest: digest of the encoder.
        values: (N, *shape) samples in the units of the data, or a list if sizes differ; None if they were written.
        folder: folder with the samples, ``results.json``, ``samples.csv`` and ``image.png``, or None.
        samples_path: path of the samples in the folder, for `aekit.open_data`.
        count: number of samples.
        rows: a table of metrics, those of the network first.
        samples: metrics of each sample.
        details: further values.
        notes: what was skipped, and why.
        image: an image grid.
    """

    task: str
    digest: str
    values: np.ndarray | list[np.ndarray] | None
    folder: Path | None
    samples_path: str | None
    count: int
    rows: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    details: Mapping[str, Any]
    notes: list[str]
    image: Image.Image

    def __repr__(self) -> str:
        return f"<ApplyResult: {self.task}, {self.count} samples>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return html_summary(f"{self.task}: {self.count:,} samples", self.notes, self.rows, image=self.image)

    def text(self) -> str:
        """Return the metrics and the notes, for a terminal."""
        return "\n".join([*([format_columns(self.rows)] if self.rows else []), *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the samples, as plain JSON."""
        summary = {"task": self.task, "digest": self.digest, "samples": self.count, **self.details}
        return summary | {"samples_path": self.samples_path, "rows": self.rows, "notes": self.notes}


@checked_arguments
def apply(
    run: str | Path,
    data: Any = None,
    *,
    task: str = "reconstruct",
    out: str | Path | None = None,
    split: str | None = None,
    options: dict[str, Any] | None = None,
    device: str = "cpu",
    engine: EngineName = "single",
    workers: int | None = None,
    address: str | None = None,
    progress: ProgressOption = None,
    **settings: Any,
) -> ApplyResult:
    """Apply a trained run to data.

    Args:
        run: run folder.
        data: data as `aekit.open_data` takes it; not needed for ``sample``.
        task: ``reconstruct``, ``denoise``, ``sample`` or ``interpolate`` for runs with a decoder; or the task of a pretext of
            the run, such as ``inpaint``.
        out: new folder; without it everything stays in memory.
        split: use only this split of the data.
        options: options of the source, by source name.
        device: device to compute on, such as ``cuda``.
        engine: what computes, as in `aekit.embed`; for ``sample`` and ``interpolate`` this process.
        workers: number of workers, as in `aekit.embed`.
        address: of a running Ray cluster, as in `aekit.embed`.
        progress: shows bars, as in `aekit.fit`.
        settings: settings of the task, such as ``count=16`` for ``sample``.

    Raises:
        RecipeError: unknown task or setting; there is no such engine, or it or the task does not take these options.
        DataError: the run has no decoder, or the data is unreadable or does not fit.
        OutputError: `out` already exists.

    Examples:
        >>> encoder = aekit.fit("sklearn:iris", dim=2, epochs=1, out="run", report=False)
        >>> result = aekit.apply("run", "sklearn:iris", task="reconstruct")
        >>> result.values.shape, result.rows[0]["method"]
        ((150, 4), 'code, float32')
    """
    progress, chosen = open_progress(progress), choose_engine(engine, workers, address)
    context = Context(run, task, data, options, split, progress, device, chosen)
    if task not in TASKS and task not in context.pretext_tasks:
        raise RecipeError([unknown_task(context, TASKS)])
    definition = TASKS.get(task, PRETEXT_TASK)
    model = options_model(definition.run)
    if problems := validation_errors(model, settings, task):
        raise RecipeError(problems)
    if chosen is not None and not definition.shared:
        raise RecipeError([f"engine = {engine!r}: {task} computes in this process; leave it out"])
    if data is None and definition.needs_data:
        raise DataError(f"{task} needs data: a folder, a file or SOURCE:NAME")
    with optional_folder(out) as folder:
        context.folder = folder
        warn_if_inside(out, data)
        outcome = definition.run(context, **model.model_validate(settings).model_dump())
        for note in context.skipped_notes():
            warn(f"data: {note}")
        result = ApplyResult(
            task=task,
            digest=context.encoder.digest,
            values=context.outputs_written.close(),
            folder=None if out is None or is_remote(out) else Path(out).absolute(),
            samples_path=context.outputs_written.samples_path,
            count=context.outputs_written.count,
            rows=outcome.rows,
            samples=outcome.samples,
            details=outcome.details,
            notes=outcome.notes + context.skipped_notes(),
            image=outcome.image,
        )
        if folder is not None:
            write_json(folder / "results.json", result.to_dict())
            outcome.image.save(folder / "image.png")
            if outcome.samples:
                _write_csv(folder / "samples.csv", outcome.samples)
            if skipped := context.skipped():
                write_text(folder / "skipped.csv", skipped_csv(skipped))
    return result


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        cells = ([f"{v:.6g}" if isinstance(v, float) else v for v in row.values()] for row in rows)
        write_csv(file, list(rows[0]), cells)
