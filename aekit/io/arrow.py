"""Hand numbers and texts to Arrow without its own conversion, which imports pandas where it is installed and so takes 0.16 s."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


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
