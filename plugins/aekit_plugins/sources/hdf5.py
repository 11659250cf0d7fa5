"""Arrays in HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np

from aekit.plugin import ArrayOptions, DataError, SampleSpec, Source, open_contents, read_named_arrays


def open_dataset(where: str, like: SampleSpec | None = None, **options: Unpack[ArrayOptions]) -> Source:
    """Open arrays by usual names: ``x``, ``data``, ``images`` or ``features``, with ``y`` or ``labels``; in groups, and by split.

    ``train/x`` and ``test/x`` give the splits. The arrays are read into memory.

    Raises:
        DataError: h5py is not installed, the file is damaged, or no array or several may be the samples.
    """
    try:
        import h5py
    except ImportError:
        raise DataError(f"{where}: needs the package h5py: pip install 'aekit[arrays]'") from None
    arrays: dict[str, Any] = {}
    try:
        with h5py.File(where, "r") as file:
            file.visititems(lambda name, entry: arrays.update({name: entry}) if hasattr(entry, "dtype") else None)
            return open_contents(read_named_arrays(arrays, lambda name: _load(arrays[name]), where, **options), like)
    except (OSError, RuntimeError, ValueError, KeyError) as error:  # h5py raises any of them for damaged files
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{where}: not a readable HDF5 file ({reason})") from None


def _load(array: Any) -> np.ndarray:
    values = np.asarray(array[()])
    if values.dtype.kind == "O":  # strings of variable length
        values = np.array(
            [entry.decode("utf-8", "replace") if isinstance(entry, bytes) else str(entry) for entry in values]
        )
    return values


def example(folder: Path) -> str:
    """Return what the conformance kit opens."""
    import h5py

    with h5py.File(folder / "samples.h5", "w") as file:
        file["group/x"] = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
        file["group/y"] = np.arange(12) % 3
    return str(folder / "samples.h5")
