"""What a trained run does for you: an autoencoder reconstructs, denoises, samples, interpolates; a pretext task may do more.

A task of every autoencoder is a function and a line here; those of pretext tasks come with the run.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit.encoder.parquet_store import skipped_csv
from aekit.errors import DataError, RecipeError
from aekit.io.atomic import atomic_folder, write_json, write_text
from aekit.io.text_table import format_columns
from aekit.progress import SILENT, Progress
from aekit.registry.options import options_model, validation_errors
from aekit.workflows.applying.context import Context, TaskResult
from aekit.workflows.applying.denoising import denoise
from aekit.workflows.applying.generation import interpolate, sample
from aekit.workflows.applying.reconstruction import reconstruct
from aekit.workflows.applying.restoration import restore, unknown_task


@dataclass(frozen=True)
class ApplyTask:
    """Something that a trained run is applied for.

    Attributes:
        run: ``(job, *, options) -> Outcome``; it writes what it makes to ``job.outputs``.
        summary: one line.
        needs_data: whether it starts from samples.
    """

    run: Callable[..., TaskResult]
    summary: str
    needs_data: bool = True


TASKS: dict[str, ApplyTask] = {
    "reconstruct": ApplyTask(reconstruct, "through the code and back: errors, and bytes beside PCA, JPEG and PNG"),
    "denoise": ApplyTask(denoise, "damaged samples restored, at the natural size of images where the network can"),
    "sample": ApplyTask(sample, "new samples from the prior of a generative autoencoder", needs_data=False),
    "interpolate": ApplyTask(interpolate, "what lies between two samples, by way of their codes"),
}
PRETEXT_TASK = ApplyTask(restore, "what a pretext task of the run was trained for")


@dataclass(frozen=True)
class ApplyResult:
    """What applying a run gave.

    Attributes:
        task: its name.
        digest: of the encoder.
        values: (N, *shape) samples in the data's units, or a list of them where sizes differ; None where they were written.
        folder: that holds them, ``results.json``, ``samples.csv`` and ``image.png``, or None.
        place: what in the folder `aekit.open_data` opens.
        count: of the samples that were made.
        rows: the figures, the network's own first.
        samples: figures of each sample.
        facts: further figures.
        notes: what was left out, and why.
        image: to look at.
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

    def text(self) -> str:
        """The figures and the notes, for a terminal."""
        return "\n".join([*([format_columns(self.rows)] if self.rows else []), *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """All but the samples, as plain JSON."""
        told = {"task": self.task, "digest": self.digest, "samples": self.count, **self.details}
        return told | {"place": self.samples_path, "rows": self.rows, "notes": self.notes}


def apply(
    run: str | Path,
    data: Any = None,
    *,
    task: str = "reconstruct",
    out: str | Path | None = None,
    split: str | None = None,
    options: dict[str, Any] | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
    **settings: Any,
) -> ApplyResult:
    """Applies a trained run to data.

    Args:
        run: folder of a run.
        data: what `aekit.open_data` takes; not needed to ``sample``.
        task: ``reconstruct``, ``denoise``, ``sample`` or ``interpolate``, for runs with a decoder; or what a pretext task of the
            run is called, such as ``inpaint``.
        out: new folder; without it everything stays in memory.
        split: only these samples of data that has splits.
        options: of the source that opens the data, by its name.
        device: to compute on, such as ``cuda``.
        settings: of the task, such as ``count=16`` to sample.

    Raises:
        RecipeError: no such task, or a setting that it does not have.
        DataError: the run has no decoder, the data does not fit it, or cannot be used.
        OutputError: `out` exists already.
    """
    context = Context(run, task, data, options, split, progress, device)
    if task not in TASKS and task not in context.pretext_tasks:
        raise RecipeError([unknown_task(context, TASKS)])
    chosen = TASKS.get(task, PRETEXT_TASK)
    model = options_model(chosen.run)
    if problems := validation_errors(model, settings, task):
        raise RecipeError(problems)
    if data is None and chosen.needs_data:
        raise DataError(f"{task} needs data: a folder, a file or SOURCE:NAME")
    with atomic_folder(Path(out)) if out is not None else nullcontext() as folder:
        context.folder = folder
        found = chosen.run(context, **model.model_validate(settings).model_dump())
        made = ApplyResult(
            task=task,
            digest=context.encoder.digest,
            values=context.outputs_written.close(),
            folder=None if out is None else Path(out),
            samples_path=context.outputs_written.samples_path,
            count=context.outputs_written.count,
            rows=found.rows,
            samples=found.samples,
            details=found.details,
            notes=found.notes + context.skipped_notes(),
            image=found.image,
        )
        if folder is not None:
            write_json(folder / "results.json", made.to_dict())
            found.image.save(folder / "image.png")
            if found.samples:
                _write_csv(folder / "samples.csv", found.samples)
            if skipped := context.skipped():
                write_text(folder / "skipped.csv", skipped_csv(skipped))
    return made


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
