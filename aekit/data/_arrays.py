"""Prepare arrays in memory: stack rows, and make masked values missing ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aekit.errors import DataError
from aekit.io.tensors import without_tensor

DENSE_BYTES = 2**30
"""Most bytes that a sparse matrix may take as an array."""


def stack_rows(rows: Sequence[Any], what: str = "row {} of the list") -> np.ndarray:
    """Stack a list of arrays of one shape to (N, ...).

    Raises:
        DataError: it is empty, or the arrays differ in shape or are none; `what` names a row in the message.
    """
    if not len(rows):
        raise DataError("an empty list: expected arrays")
    shapes = []
    for number, row in enumerate(rows):
        try:
            shapes.append(np.shape(row))
        except ValueError:  # numpy's own message does not name the row
            raise DataError(f"{what.format(number)} is ragged; expected arrays of one shape") from None
        if shapes[number] != shapes[0]:
            raise DataError(
                f"{what.format(number)} has shape {shapes[number]}, row 0 has {shapes[0]}: expected one shape"
            )
    if any(isinstance(row, np.ma.MaskedArray) for row in rows):
        return np.ma.stack(rows)
    stacked = np.stack([np.asarray(without_tensor(row)) for row in rows])
    if stacked.dtype == object and stacked.ndim > 1:  # decimals and fractions, and whole numbers beyond 64 bits
        return to_numbers(stacked)[0]
    if stacked.dtype == object:
        raise DataError(f"{what.format(0)} is of type {type(rows[0]).__name__}; expected arrays of numbers")
    return stacked


def unmask(array: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return an array whose masked values are missing, NaN, and a line on them."""
    if not isinstance(array, np.ma.MaskedArray):
        return array, []
    masked = int(np.ma.count_masked(array))
    if not masked:
        return array.data, []
    if array.dtype.kind not in "uifb":
        raise DataError(f"a masked array of dtype {array.dtype}: expected numbers")
    if array.ndim > 2 and array.dtype.kind != "f":
        raise DataError(f"{masked:,} masked values in an array of {array.dtype}: fill them first, with array.filled(0)")
    dtype = array.dtype if array.dtype.kind == "f" else np.float64
    rows = np.ma.getmaskarray(array).reshape(len(array), -1).any(axis=1).sum()
    line = f"{masked:,} masked values are missing values: {rows:,} of {len(array):,} rows cannot be used"
    return np.ma.filled(array.astype(dtype), np.nan), [line]


def to_numbers(array: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return an array of Python objects or of text, all of which are numbers or missing, as float64, and a line on text.

    Raises:
        DataError: one is not a number.
    """
    values, texts = np.empty(array.shape, np.float64), 0
    for position, value in np.ndenumerate(array):
        is_text = isinstance(value, (str, bytes))
        texts += is_text
        lacks = value is None or type(value).__name__ == "NAType" or (is_text and not value.strip())
        try:
            values[position] = np.nan if lacks else float(value)
        except (TypeError, ValueError):
            of, entry = ("objects", value) if array.dtype == object else ("text", array[position].item())
            advice = "a DataFrame keeps columns of words"
            raise DataError(f"array of {of}: {entry!r} at {position}: expected numbers; {advice}") from None
    return values, [f"numbers written as text are read as numbers, {texts:,} of {array.size:,}"] if texts else []


def densify(matrix: Any, place: str) -> tuple[np.ndarray, str]:
    """Return a sparse matrix of SciPy, or a sparse tensor, as an array, and a line that says so.

    Raises:
        DataError: the array would take more than `DENSE_BYTES`.
    """
    size = int(np.prod(matrix.shape, dtype=np.float64)) * matrix.dtype.itemsize
    shape = " x ".join(map(str, matrix.shape))
    if size > DENSE_BYTES:
        raise DataError(
            f"{place}: a sparse matrix of {shape} would take {size / 2**30:.1f} GiB as an array; reduce it first, e.g. with "
            "sklearn.decomposition.TruncatedSVD"
        )
    array = matrix.toarray() if hasattr(matrix, "toarray") else matrix.detach().cpu().to_dense().numpy()
    return array, f"a sparse matrix of {shape} was made dense"
