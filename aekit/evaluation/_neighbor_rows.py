"""Prepare rows for the search of exact neighbors, so that products of float32 are precise."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Metric = Literal["cosine", "l2"]

_SHORTEST = 1e-12
"""Least length that rows are divided by."""
_PREPARED = 8192
"""Rows in float64 at a time."""
_CLOSE = 0.9
"""Mean cosine of all pairs of vectors from which they count as pointing nearly the same way."""


class Prepared(NamedTuple):
    """Queries and vectors, where their products are precise.

    The similarity of a query and a vector is ``rows @ base + bias + offset``, at most `largest`; the offset of a query changes no
    order.

    Attributes:
        rows: (Q, D) float32 queries.
        base: (N, D) float32 vectors.
        bias: (N,) float32, or None for zeros.
        offset: (Q,) float32.
        largest: 1 for cosines, 0 for negative squared distances.
    """

    rows: np.ndarray
    base: np.ndarray
    bias: np.ndarray | None
    offset: np.ndarray
    largest: float


def prepare(queries: np.ndarray, base: np.ndarray, metric: Metric) -> Prepared:
    """Prepare the comparison of (Q, D) queries with (N, D) vectors.

    Distances do not change around another center, nor do cosines with what that adds to them, but float32 is more precise near
    the origin: the cosines of vectors that point nearly the same way, such as those of a network with random weights, differ by
    less than it rounds.
    """
    with beyond_float32():
        if metric == "l2":
            center = np.asarray(base).mean(axis=0, dtype=np.float64)
            vectors = np.ascontiguousarray(base - center, np.float32)
            rows = vectors if queries is base else np.ascontiguousarray(queries - center, np.float32)
            return Prepared(2 * rows, vectors, -_squares(vectors), -_squares(rows), 0.0)
        vectors = _directions(base)
        center = vectors.mean(axis=0, dtype=np.float64) if len(vectors) else np.zeros(vectors.shape[1])
        if center @ center < _CLOSE:
            rows = vectors if queries is base else _directions(queries)
            return Prepared(rows, vectors, None, np.zeros(len(rows), np.float32), 1.0)
        vectors, bias = _centered_directions(base, center)
        rows, along = (vectors, bias) if queries is base else _centered_directions(queries, center)
        return Prepared(rows, vectors, bias, (along + center @ center).astype(np.float32), 1.0)


def _directions(rows: np.ndarray) -> np.ndarray:
    """Return (N, D) rows of length 1, or 0, contiguous float32."""
    vectors = np.ascontiguousarray(rows, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(_SHORTEST))


def _centered_directions(rows: np.ndarray, center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, D) rows of length 1, less a center, and their products with it (N,), both float32."""
    centered, along = np.empty(rows.shape, np.float32), np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _PREPARED):
        block = slice(start, start + _PREPARED)
        exact = np.asarray(rows[block], np.float64)
        directions = exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), _SHORTEST) - center
        centered[block], along[block] = directions, directions @ center
    return centered, along


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.square(rows).sum(axis=1)


def beyond_float32() -> np.errstate:
    """Return a context in which distances too large for float32 become infinite: such neighbors are ordered by position.

    It is made anew each time, as threads must not share one.
    """
    return np.errstate(over="ignore", invalid="ignore")
