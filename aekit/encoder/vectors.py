"""Check, select and compare the vectors of embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from aekit.data.source import Source, read_valid
from aekit.errors import DataError, closest_name

SEARCHED_IDS = 10_000
"""Most ids among which the nearest to an unknown one is looked for."""


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
        raise IndexError(f"a mask of {len(wanted)} values for {count} embeddings: expected one each")
    return np.arange(count)[wanted if wanted.size else np.empty(0, np.int64)]


def cosine_similarity(ours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the cosine similarities (N, M) float32 of vectors (N, D) and (M, D); 0 for vectors of zeros."""
    return (_unit_length(ours) @ _unit_length(others).T).clip(-1, 1).astype(np.float32)


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (N, D) to length 1 in float64; zeros stay zeros."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(lengths > 0, lengths, 1)


def finite_vectors(embeddings: Any) -> np.ndarray:
    """Check vectors and return them as (N, D) float32.

    Raises:
        DataError: they are not numbers, not of shape (N, D), or not finite.
    """
    try:
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, which is refused below
            vectors = np.asarray(embeddings, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"embeddings are not numbers: {error}") from error
    if vectors.ndim != 2 or not vectors.size:
        raise DataError(f"embeddings of shape {vectors.shape}: expected (N, D)")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(f"{len(bad)} of {len(vectors)} embeddings are not finite, the first in row {bad[0]}")
    return vectors


def read_vectors(source: Source) -> np.ndarray:
    """Read all samples of a source, which must be vectors, as (N, D).

    Raises:
        DataError: its samples are not vectors, or one cannot be used.
    """
    if not source.spec.is_vector:
        raise DataError(f"samples are {source.spec}: expected vectors (N, D); embed them with an encoder first")
    rows, ok = read_valid(source, np.arange(len(source)))
    if not ok.all():
        name, reason = next(iter(source.skipped.items()))
        raise DataError(f"{int((~ok).sum())} of {len(ok)} vectors cannot be used, e.g. {name!r}: {reason}")
    return rows


def hash_vectors(vectors: np.ndarray, kind: str) -> str:
    """Return the sha256 of the kind, the shape and the bytes of vectors, in hex."""
    hasher = hashlib.sha256(f"{kind} {vectors.shape}".encode())
    hasher.update(np.ascontiguousarray(vectors).data)
    return hasher.hexdigest()


def row_of_id(name: str, row_by_id: Mapping[str, int]) -> int:
    """Return the row of an id.

    Raises:
        KeyError: no such id.
    """
    try:
        return row_by_id[name]
    except KeyError:
        raise KeyError(f"no embedding has the id {name!r}{closest_id(name, row_by_id)}") from None


def closest_id(name: str, ids: Collection[str]) -> str:
    """Return a hint at the id that is most like an unknown one, for the message; "" among too many to compare with."""
    return closest_name(name, ids) if len(ids) <= SEARCHED_IDS else ""
