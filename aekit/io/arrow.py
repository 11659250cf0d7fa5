"""Hand numbers and texts to Arrow and back: its own conversions import pandas where it is installed, which takes 0.2 s or so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def arrow_numbers(values: np.ndarray) -> pa.Array:
    """Return (N,) integers or floats as an array of Arrow, which shares their memory if they are contiguous.

    Raises:
        TypeError: other values, such as truth values, which Arrow stores in another way.
    """
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not values.dtype.isnative:
        raise TypeError(f"{values.ndim} axes of {values.dtype}: expected one axis of integers or floats")
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def arrow_texts(values: Sequence[str] | np.ndarray) -> pa.Array:
    """Return texts as an array of Arrow; those of a NumPy array whose items may be anything go through its own conversion."""
    if isinstance(values, np.ndarray) and values.dtype.kind != "U":
        return pa.array(values.tolist(), pa.string())
    encoded = [text.encode() for text in (values.tolist() if isinstance(values, np.ndarray) else values)]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if ends[-1] > np.iinfo(np.int32).max:
        return pa.array(list(values), pa.string())
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


@lru_cache(maxsize=64)
def arrow_words(*words: str) -> pa.Array:
    """Return some fixed texts as an array of Arrow, made once: tables of thousands of columns ask for them in each."""
    return arrow_texts(words)


def filled(column: pa.Array | pa.ChunkedArray, value: float | str) -> Any:
    """Return a column of numbers or texts in which `value` stands where one is missing."""
    kind = column.type
    one = arrow_texts([value]) if isinstance(value, str) else arrow_numbers(np.array([value], kind.to_pandas_dtype()))
    return pc.fill_null(column, one.cast(kind)[0])


def arrow_values(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return the (N,) values of a column: numbers with NaN where one is missing, strings as objects, others as Arrow has them.

    Those of an array that lacks none share its memory and are read-only; those of a chunked array are a copy.
    """
    kind = column.type
    is_chunked = isinstance(column, pa.ChunkedArray)
    if pa.types.is_floating(kind) and column.null_count and not pa.types.is_float16(kind):
        column = filled(column, np.nan)
    if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not column.null_count:
        values = np.from_dlpack(column.combine_chunks() if is_chunked else column)
        return values.copy() if is_chunked else values
    if pa.types.is_string(kind):
        return np.array(column.to_pylist(), object)
    return column.to_numpy() if is_chunked else column.to_numpy(zero_copy_only=False)
