"""Select rows of embeddings, and compare vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def selected_rows(which: Any, count: int, row_of: Callable[[str], int]) -> np.ndarray:
    """Return the rows (M,) that an index selects.

    Args:
        which: a slice, a mask, or a list of rows or ids.
        count: number of rows.
        row_of: returns the row of an id.

    Raises:
        IndexError: no such row, a mask of another length, or another type.
        KeyError: no such id.
    """
    if isinstance(which, slice):
        return np.arange(count)[which]
    wanted = np.asarray(which)
    if wanted.ndim != 1 or not (wanted.size == 0 or wanted.dtype.kind in "biuUO"):
        kind = f"{type(which).__name__} of shape {wanted.shape} and type {wanted.dtype}"
        raise IndexError(f"embeddings[{kind}]: expected a row, an id, a slice, a mask, or a list of rows or ids")
    if wanted.dtype.kind in "UO":
        return np.asarray([row_of(str(name)) for name in wanted], np.int64)
    if wanted.dtype == bool and len(wanted) != count:
        raise IndexError(f"a mask of {len(wanted)} values for {count} embeddings: expected as many")
    return np.arange(count)[wanted if wanted.size else np.empty(0, np.int64)]


def cosine_similarity(ours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the cosine similarities (N, M) float32 of vectors (N, D) and (M, D); 0 for vectors of zeros."""
    return (_unit_length(ours) @ _unit_length(others).T).clip(-1, 1).astype(np.float32)


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (N, D) to length 1 in float64; zeros stay zeros."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(lengths > 0, lengths, 1)
