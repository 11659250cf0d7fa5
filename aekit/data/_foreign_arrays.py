"""Read arrays of other libraries, which look like a table or a sequence and are none: xarray, polars and dask."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from aekit.data.contents import Contents
from aekit.data.readers.records import to_array
from aekit.errors import DataError
from aekit.io.tensors import is_tensor


def is_of_module(data: Any, module: str, name: str = "") -> bool:
    """Return whether an object is of a package, which is not imported for the question, and of a class of this name."""
    of_module = module in sys.modules and any(
        base.__module__.partition(".")[0] == module for base in type(data).__mro__
    )
    return of_module and name in ("", type(data).__name__)


def unwrap_foreign(data: Any) -> Contents | None:
    """Return the samples of an array of xarray, a column of polars or a matrix of NumPy; None for other data.

    Args:
        data: a `xarray.DataArray`, whose first dimension is that of the samples and whose coordinates there are their ids; a
            `polars.Series` of lists or arrays; or a `numpy.matrix`.

    Raises:
        DataError: a value of dask that is not computed, a nested tensor, or a column of single values.
    """
    if is_of_module(data, "xarray", "DataArray"):
        return Contents(np.asarray(data.values), ids=_ids_along(data), place="the DataArray")
    if is_of_module(data, "polars", "Series"):
        if not (hasattr(data.dtype, "inner") and data.len()):
            raise DataError("a Series of single values; pass a DataFrame, data.to_frame(), whose rows are the samples")
        return Contents(to_array(data.to_frame().to_arrow().column(0), "the Series"), place="the Series")
    if is_of_module(data, "dask") and not hasattr(data, "__array__"):
        raise DataError(f"data of type {type(data).__name__}: pass its value, data.compute()")
    if is_tensor(data) and data.is_nested:
        raise DataError("a nested tensor: its rows differ in shape; pass data.to_padded_tensor(0.0)")
    return Contents(np.asarray(data), place="the matrix") if isinstance(data, np.matrix) else None


def _ids_along(array: Any) -> list[str] | None:
    """Return the coordinates of the first dimension, if there are any and they differ."""
    if not array.dims or array.dims[0] not in array.coords:
        return None
    names = [str(name) for name in array.indexes[array.dims[0]].tolist()]
    return names if len(set(names)) == len(names) else None
