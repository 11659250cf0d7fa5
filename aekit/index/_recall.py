"""Measure the recall of approximate search against exact search of the same vectors."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

SPARE = 40
"""Neighbors kept beyond the k nearest, to recognize ties with the last."""


class ExactSearch:
    """Exact nearest neighbors of a few queries, found in a stream of vectors.

    Args:
        queries: (Q, D), which are among the vectors.
        query_rows: (Q,) their rows; no query is its own neighbor.
        k: number of neighbors.
        metric: ``cosine`` and ``ip`` compare by inner product, ``l2`` by distance.
    """

    def __init__(
        self, queries: np.ndarray, query_rows: np.ndarray, k: int, metric: Literal["cosine", "ip", "l2"]
    ) -> None:
        # In double precision, so that the engine's scores differ by float32's rounding alone.
        self.queries, self.query_rows, self.k, self.metric = queries.astype(np.float64), query_rows[:, None], k, metric
        self.tolerance = 1e-6 * float(np.square(self.queries).sum(1).mean())
        self.scores = np.empty((len(queries), 0))
        self.rows = np.empty((len(queries), 0), np.int64)

    def update(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        """Update the neighbors with vectors (B, D) of rows (B,)."""
        wide = vectors.astype(np.float64)
        scores = self.queries @ wide.T
        if self.metric == "l2":
            scores = 2 * scores - np.square(wide).sum(1) - np.square(self.queries).sum(1, keepdims=True)
        scores[rows == self.query_rows] = -np.inf
        nearest = torch.from_numpy(scores).topk(min(self.k + SPARE, len(rows)), dim=1)  # sorts no others
        scores = np.concatenate([self.scores, nearest.values.numpy()], 1)
        numbers = np.concatenate([self.rows, rows[nearest.indices.numpy()]], 1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.k + SPARE]
        self.scores, self.rows = np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)

    def recall(self, results: np.ndarray, which: slice = slice(None)) -> float:
        """Return the fraction of the k nearest neighbors that a search found, in 0..1; a tie with the last one counts as a hit.

        Args:
            results: (Q, k + 1) rows, best first; the query's own row, or else the last, does not count.
            which: the queries that they belong to.
        """
        near = self.scores[which] >= self.scores[which, self.k - 1 : self.k] - self.tolerance
        hits = 0
        for query, result, exact, is_near in zip(self.query_rows[which, 0], results, self.rows[which], near):
            hits += min(self.k, len(set(result[result != query][: self.k].tolist()) & set(exact[is_near].tolist())))
        return hits / (self.k * len(results))
