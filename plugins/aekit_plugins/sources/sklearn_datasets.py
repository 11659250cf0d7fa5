"""Data sets that ship with scikit-learn: small, real and offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn import datasets

from aekit.plugin import DataError, SampleSpec, Source, closest_name, from_array

NAMES = ("breast_cancer", "digits", "iris", "wine")


def open_dataset(where: str, like: SampleSpec | None = None) -> Source:
    """Open ``digits``, 1797 grayscale images (1, 8, 8), or ``iris``, ``wine`` or ``breast_cancer``, float64 vectors.

    The labels are numbers for digits and class names for the others. Values of digits are 0..16, almost black as uint8, so they
    are scaled to float32 in [0, 1].

    Raises:
        DataError: the name is unknown.
    """
    if where not in NAMES:
        raise DataError(f"sklearn:{where}: no such data set{closest_name(where, NAMES)}")
    bunch = getattr(datasets, f"load_{where}")()
    if where == "digits":
        return from_array((bunch.images / 16).astype(np.float32), kind="image", labels=bunch.target)
    return from_array(bunch.data, labels=bunch.target_names[bunch.target])


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    return "iris"
