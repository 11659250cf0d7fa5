"""Open the training samples of a run again, for baselines and detectors that are fitted on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from aekit.data.opening import open_data, reopen
from aekit.data.samples import Samples, load_samples
from aekit.data.shared_samples import SharedSamples, load_shared_samples
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.errors import AekitError, DataError, closest_name
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
    labels = source.labels[rows].astype(str)
    for name in section.only_labels:
        if name not in labels:
            raise DataError(
                f"data.only_labels: no sample with label {name!r}{closest_name(name, np.unique(labels).tolist())}"
            )
    return rows[np.isin(labels, section.only_labels)]


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
    ranks = samples.ranks if isinstance(samples, SharedSamples) else None
    return load_shared_samples(clean, rows, device, ranks, strict=True, progress=progress)


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
