"""Arrays in HDF5 files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from aekit.plugin import (
    ArrayOptions,
    DataError,
    SampleSpec,
    Source,
    check_memory,
    importing,
    open_named_arrays,
    reading,
)


def open_dataset(where: str, like: SampleSpec | None = None, **options: Unpack[ArrayOptions]) -> Source:
    """Open arrays by usual names: ``x``, ``data``, ``images`` or ``features``, with ``y`` or ``labels``; in groups, and by split.

    ``train/x`` and ``test/x`` give the splits. The arrays are read into memory.

    Raises:
        DataError: h5py is not installed, the file is damaged, or no array or several may be the samples.
    """
    with importing(f"{where}: needs the package h5py", "pip install 'aekit[arrays]'"):
        import h5py
    arrays: dict[str, Any] = {}
    with reading(where, "not a readable HDF5 file"), h5py.File(where, "r") as file:
        file.visititems(lambda name, entry: arrays.update({name: entry}) if hasattr(entry, "dtype") else None)
        return open_named_arrays(arrays, lambda name: _load(arrays[name], f"{where}: {name}"), where, like, options)


def _load(array: Any, place: str) -> np.ndarray:
    if array.external:
        raise DataError(f"{place}: its values are in other files, which are not opened; copy them into one file")
    check_memory(math.prod(array.shape) * array.dtype.itemsize, f"{place}: an array of shape {array.shape}")
    values = np.asarray(array[()])
    if values.dtype.kind == "O":  # strings of variable length
        values = np.array(
            [entry.decode("utf-8", "replace") if isinstance(entry, bytes) else str(entry) for entry in values]
        )
    return values


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    import h5py

    with h5py.File(folder / "samples.h5", "w") as file:
        file["group/x"] = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
        file["group/y"] = np.arange(12) % 3
    return str(folder / "samples.h5")
