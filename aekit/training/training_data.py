"""Open the training samples of a run again, for baselines and detectors that are fitted on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from aekit.data.labels import label_texts
from aekit.data.opening import open_data, reopen
from aekit.data.samples import Samples, load_samples
from aekit.data.shared_samples import load_shared_samples
from aekit.data.source import Source
from aekit.data.streamed_samples import StreamedSamples
from aekit.encoder.encoder import Encoder
from aekit.encoder.parquet_store import skipped_csv
from aekit.errors import AekitError, DataError, closest_name
from aekit.io.atomic import write_text
from aekit.io.processes import Ranks
from aekit.io.torchrun import is_silent
from aekit.progress import SILENT, Progress
from aekit.training.recipe import DataSection, Recipe
from aekit.training.run_recipe import read_data_section

MAX_SAMPLES = 20_000
"""Samples to read again, evenly spaced."""


def training_rows(source: Source, section: DataSection) -> np.ndarray:
    """Return the (N,) positions of the training samples of a ``[data]`` section: of its split, with the labels it names.

    Raises:
        DataError: there is no such split or label, or the data has no labels.
    """
    trains_on_all = source.splits is None and section.split == DataSection.model_fields["split"].default
    rows = source.rows_of(None if trains_on_all else section.split)
    if not section.only_labels:
        return rows
    if source.labels is None:
        raise DataError(f"data.only_labels = {list(section.only_labels)}: the data has no labels")
    labels = label_texts(source.labels[rows])
    for name in section.only_labels:
        if name not in labels:
            raise DataError(
                f"data.only_labels: no sample with label {name!r}{closest_name(name, np.unique(labels).tolist())}"
            )
    return rows[np.isin(labels, section.only_labels)]


def load_training_samples(
    source: Source,
    section: DataSection,
    device: torch.device,
    ranks: Ranks | None = None,
    *,
    begun: Path | None = None,
    progress: Progress = SILENT,
) -> Samples:
    """Read the training samples of a ``[data]`` section, or prepare to stream them.

    Args:
        source: the data.
        section: says which samples, and how they are read.
        device: training device.
        ranks: processes that share them, or None.
        begun: folder of the run, which streams its samples as it began to, if it did and the section says ``auto``.
        progress: receives a progress bar.

    Raises:
        DataError: as `training_rows` and `load_shared_samples`.
    """
    rows = training_rows(source, section)
    if begun is not None and section.streaming == "auto" and (begun / "recipe.toml").is_file():
        before = read_data_section(begun / "recipe.toml")
        changes = {"streaming": before.streaming is True, "shuffle_buffer": before.shuffle_buffer}
        section = section.model_copy(update=changes)
    buffer = section.shuffle_buffer
    return load_shared_samples(
        source,
        rows,
        device,
        ranks,
        strict=section.strict,
        streaming=section.streaming,
        buffer=None if buffer == "auto" else buffer,
        progress=progress,
    )


def resolve_streaming(recipe: Recipe, samples: Samples, progress: Progress) -> Recipe:
    """Return a recipe that says how its samples are streamed, if they are, and report it."""
    if not isinstance(samples, StreamedSamples):
        return recipe
    progress.say(f"data: {samples.describe(recipe.train.batch_size)}")
    return recipe.with_data(streaming=True, shuffle_buffer=samples.buffer)


def list_skipped(source: Source, folder: Path | None) -> None:
    """Warn of the samples that could not be read since the last call; list all of them in ``skipped.csv`` of a run folder."""
    if folder is not None and source.skipped and not is_silent():
        write_text(folder / "skipped.csv", skipped_csv(source.skipped))
    source.warn_of_skipped(None if folder is None else folder / "skipped.csv")


def training_targets(
    recipe: Recipe, source: Source, samples: Samples, device: torch.device, progress: Progress = SILENT
) -> Samples | None:
    """Read the target of each training sample from the data that ``data.target`` names; None if it is not set.

    Raises:
        DataError: samples have no target.
    """
    section = recipe.data
    if section.target is None:
        return None
    options = {name: dict(table) for name, table in recipe.options.get("data", {}).items()}
    for name, table in section.targets.items():
        options[name] = options.get(name, {}) | table
    clean = open_data(section.target, options, like=source.spec)
    places = {name: row for row, name in enumerate(clean.ids)}
    missing = [name for row in samples.rows if (name := source.ids[row]) not in places]
    if missing:
        raise DataError(f"data.target = {section.target!r}: {len(missing)} samples have no target, e.g. {missing[0]!r}")
    rows = np.asarray([places[source.ids[row]] for row in samples.rows])
    streamed = isinstance(samples, StreamedSamples)
    return load_shared_samples(clean, rows, device, samples.ranks, strict=True, streaming=streamed, progress=progress)


def training_samples(run: str | Path, encoder: Encoder, *, progress: Progress = SILENT) -> Samples:
    """Read at most 20,000 of the training samples of a run.

    Raises:
        DataError: the data is no longer available, or was in memory.
    """
    origin = encoder.record.get("data", {})
    if "source" not in origin:
        raise DataError(f"{run}: was trained on data in memory, which is not available")
    recipe = Path(run) / "recipe.toml"
    try:
        source = reopen(origin, like=encoder.spec, near=encoder.folder)
        rows = training_rows(source, read_data_section(recipe)) if recipe.is_file() else np.arange(len(source))
    except AekitError as error:
        raise DataError(f"the training data of {run} is not available: {error}") from None
    rows = rows[np.arange(0, len(rows), max(1, -(-len(rows) // MAX_SAMPLES)))]
    return load_samples(source, rows, encoder.device, progress=progress)
