"""Arrays in Zarr stores."""

from __future__ import annotations

import json
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
    """Open a store with a single array, or a group of arrays by usual names, as ``hdf5`` does.

    Raises:
        DataError: zarr is not installed, the store is damaged, or no array or several may be the samples.
    """
    with importing(f"{where}: needs the package zarr", "pip install 'aekit[arrays]'"):
        import zarr
    with reading(where, "not a readable Zarr store"):
        store: Any = zarr.open(where, mode="r")
        arrays = {"data": store} if isinstance(store, zarr.Array) else dict(_arrays_of(store))
        return open_named_arrays(arrays, lambda name: _load(arrays[name], f"{where}: {name}"), where, like, options)


def _load(array: Any, place: str) -> np.ndarray:
    codecs = json.dumps(array.metadata.to_dict(), default=str)
    if "pickle" in codecs.lower():
        raise DataError(f"{place}: it holds pickled Python objects, which are never loaded")
    check_memory(math.prod(array.shape) * array.dtype.itemsize, f"{place}: an array of shape {array.shape}")
    chunk = math.prod(getattr(array, "chunks", ())) * array.dtype.itemsize
    check_memory(chunk, f"{place}: a chunk of shape {array.chunks}")
    return np.asarray(array[...])


def _arrays_of(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    pairs = [(prefix + name, array) for name, array in group.arrays()]
    return pairs + [pair for name, inner in group.groups() for pair in _arrays_of(inner, f"{prefix}{name}/")]


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    import zarr

    group = zarr.open_group(str(folder / "samples.zarr"), mode="w")
    for name, values in (("x", np.random.default_rng(0).normal(size=(12, 4)).astype("f4")), ("y", np.arange(12) % 3)):
        group.create_array(name, data=values)
    return str(folder / "samples.zarr")
