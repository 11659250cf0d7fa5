"""Measure the recall of approximate search against exact search of the same vectors."""

from __future__ import annotations

from typing import Literal

import numpy as np

SPARE = 40
"""Neighbors kept beyond the k nearest, to recognize ties with the last."""
_SCORES = 2**22
"""Scores in memory at a time: 32 MiB."""


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
        self.vectors = queries
        self.tolerance = 1e-6 * float(np.square(self.queries).sum(1).mean())
        self.scores = np.empty((len(queries), 0))
        self.rows = np.empty((len(queries), 0), np.int64)

    def update(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        """Update the neighbors with vectors (B, D) of rows (B,)."""
        step = max(1, _SCORES // len(self.queries))
        for start in range(0, len(rows), step):
            self._update(vectors[start : start + step], rows[start : start + step])

    def _update(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        kept, wide = self.k + SPARE, vectors.astype(np.float64)
        scores = self.queries @ wide.T
        if self.metric == "l2":
            scores = 2 * scores - np.square(wide).sum(1) - np.square(self.queries).sum(1, keepdims=True)
        scores[rows == self.query_rows] = -np.inf
        if self.scores.shape[1] == kept:
            scores, numbers = self._closer(scores, rows)
        elif len(rows) > kept:
            nearest = np.argpartition(scores, len(rows) - kept, axis=1)[:, len(rows) - kept :]
            scores, numbers = np.take_along_axis(scores, nearest, 1), rows[nearest]
        else:
            numbers = np.broadcast_to(rows, scores.shape)
        scores = np.concatenate([self.scores, scores], 1)
        numbers = np.concatenate([self.rows, numbers], 1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :kept]
        self.scores, self.rows = np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)

    def _closer(self, scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores (Q, M) and rows of what is nearer to a query than all that is kept, with -inf as padding."""
        query, column = np.nonzero(scores > self.scores[:, -1:])
        counts = np.bincount(query, minlength=len(scores))
        place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
        closer = np.full((len(scores), counts.max()), -np.inf)
        numbers = np.zeros(closer.shape, np.int64)
        closer[query, place], numbers[query, place] = scores[query, column], rows[column]
        return closer, numbers

    def recall(self, results: np.ndarray) -> float:
        """Return the fraction of the k nearest neighbors that a search found, in 0..1; a tie with the last one counts as a hit.

        Args:
            results: (Q, k + 1) rows, best first; the query's own row, or else the last, does not count.
        """
        near = self.scores >= self.scores[:, self.k - 1 : self.k] - self.tolerance
        hits = 0
        for query, result, exact, is_near in zip(self.query_rows[:, 0], results, self.rows, near):
            hits += min(self.k, len(set(result[result != query][: self.k].tolist()) & set(exact[is_near].tolist())))
        return hits / (self.k * len(results))
