"""Convert queries, and the vectors of an index, for an engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from aekit.errors import DataError
from aekit.index._index_manifest import Similarity

if TYPE_CHECKING:
    from aekit.encoder.embeddings import Embeddings


def scale_for_metric(vectors: np.ndarray, metric: Similarity) -> np.ndarray:
    """Convert vectors (N, D) for an engine: float32, and for the cosine of length 1; zero vectors stay zero.

    Raises:
        DataError: a value is not finite.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    # For one query, NumPy's reductions and changes of its error state take a third as long as the search; `vdot` does not.
    squares = float(np.vdot(vectors, vectors))
    if not math.isfinite(squares) and not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"vector {row}: has values that are not finite")
    if metric != "cosine":
        return vectors
    if len(vectors) == 1 and math.isfinite(squares):
        return vectors / max(math.sqrt(squares), 1e-12)
    wide = vectors if math.isfinite(squares) else vectors.astype(np.float64)  # where squares overflow float32
    return (wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)).astype(np.float32, copy=False)


def as_embeddings(queries: Any) -> Embeddings | None:
    """Return queries that are embeddings, None if they are something else."""
    if isinstance(queries, np.ndarray):
        return None
    from aekit.encoder.embeddings import Embeddings

    return queries if isinstance(queries, Embeddings) else None
