"""Convert labels as people pass them to arrays in which a missing label is NaN or an empty text."""

from __future__ import annotations

from typing import Any

import numpy as np

from aekit.errors import DataError

_EXACT = 2**53
"""Whole numbers up to which float64 holds each."""


def to_label_array(values: Any) -> np.ndarray:
    """Convert labels to numbers, with NaN where one is missing, or to text, with "" there.

    Args:
        values: (N,) or (N, L), in a list, an array, a tensor, or a column of pandas, polars or Arrow. None, NaN, "", and
            pandas' NA and NaT are missing labels.

    Returns:
        an array of the same shape. Dates and times become text, and so do numbers among texts.
    """
    if hasattr(values, "detach"):
        from aekit.data._arrays import without_tensor  # imports torch, which has been imported by whoever has a tensor

        values = without_tensor(values)
    if isinstance(values, np.ma.MaskedArray):
        mask, values = np.ma.getmaskarray(values), values.data.astype(object)
        values[mask] = None
    array = np.asarray(values)
    if isinstance(values, (list, tuple)) and array.dtype.kind == "U":  # NaN has become text
        array = np.asarray(values, object)
    if array.dtype.kind in "Mm":
        return np.where(np.isnat(array), "", array.astype(str))
    if array.dtype.kind != "O":
        return array
    flat = array.ravel().tolist()
    missing = np.array([is_missing(label) for label in flat], bool)
    known = [label for label, lacks in zip(flat, missing) if not lacks]
    if known and all(_is_exact_number(label) for label in known):
        numbers = (
            np.array(known) if not missing.any() else np.array([np.nan if m else v for v, m in zip(flat, missing)])
        )
        return numbers.reshape(array.shape)
    return np.array(["" if lacks else str(label) for label, lacks in zip(flat, missing)], str).reshape(array.shape)


def label_texts(labels: Any) -> np.ndarray:
    """Return labels as text of the same shape, "" where one is missing; whole numbers have no decimal point."""
    array = to_label_array(labels)
    if array.dtype.kind != "f":
        return array.astype(str)
    known = ~np.isnan(array)
    is_whole = bool((np.isfinite(array[known]) & (array[known] == np.round(array[known]))).all())
    return np.where(known, (np.where(known, array, 0).astype(np.int64) if is_whole else array).astype(str), "")


def is_missing(label: Any) -> bool:
    """Return whether a label stands for none: None, NaN, "", or pandas' NA or NaT."""
    if label is None or (isinstance(label, str) and not label):
        return True
    try:
        return bool(label != label)  # of NaN and NaT
    except TypeError:  # of NA
        return True
    except ValueError:  # of an array
        return False


def _is_exact_number(label: Any) -> bool:
    is_number = isinstance(label, (int, float, np.number)) and not isinstance(label, bool)
    return is_number and (isinstance(label, (float, np.floating)) or abs(int(label)) <= _EXACT)


def check_label_count(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """Return labels (N,) or (N, L) if there are `count` of them.

    Raises:
        DataError: there are not; `what` names them.
    """
    if len(labels) != count:
        raise DataError(f"{what}: {len(labels)} labels for {count} samples; expected as many")
    return labels
