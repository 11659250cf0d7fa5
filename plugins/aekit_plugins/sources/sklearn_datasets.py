"""The data sets that come inside scikit-learn: small, real, and there without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn import datasets

from aekit.plugin import DataError, SampleSpec, Source, closest_name, from_array

NAMES = ("breast_cancer", "digits", "iris", "wine")


def open_dataset(where: str, like: SampleSpec | None = None) -> Source:
    """``digits``: 1797 gray images (1, 8, 8), the numbers as labels; ``iris``, ``wine``, ``breast_cancer``: vectors
    of float64, the names of the classes as labels.

    The gray values of digits are 0..16, which as uint8 would pass for nearly black: they are float32 in [0, 1].

    Raises:
        DataError: another name.
    """
    if where not in NAMES:
        raise DataError(f"sklearn:{where}: no such data set{closest_name(where, NAMES)}")
    bunch = getattr(datasets, f"load_{where}")()
    if where == "digits":
        return from_array((bunch.images / 16).astype(np.float32), kind="image", labels=bunch.target)
    return from_array(bunch.data, labels=bunch.target_names[bunch.target])


def example(folder: Path) -> str:
    """What the conformance kit opens."""
    return "iris"
