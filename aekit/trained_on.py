"""The samples that a run was trained on, opened again: what controls and detectors are fitted on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aekit.data import reopen
from aekit.encoder import Encoder
from aekit.errors import AekitError, DataError
from aekit.progress import SILENT, Progress
from aekit.recipe import read_recipe
from aekit.samples import Samples, collect

MOST = 20_000
"""Samples that are read again, evenly spaced."""


def training_samples(run: str | Path, encoder: Encoder, *, progress: Progress = SILENT) -> Samples:
    """At most about 20,000 of the samples that the encoder of a run was trained on.

    Raises:
        DataError: the data is no longer at hand, or was never in a file.
    """
    origin = encoder.record.get("data", {})
    if "source" not in origin:
        raise DataError(f"{run}: was trained on data in memory, which cannot be opened again")
    recipe = Path(run) / "recipe.toml"
    try:
        source = reopen(origin, like=encoder.spec)
        rows = source.rows_of(read_recipe(recipe).data.split if recipe.is_file() else None)
    except AekitError as error:
        raise DataError(f"the data that {run} was trained on is not at hand: {error}") from None
    rows = rows[np.arange(0, len(rows), max(1, -(-len(rows) // MOST)))]
    return collect(source, rows, encoder.device, progress=progress)
