"""Recall of approximate search, against exact search of the same vectors."""

from __future__ import annotations

from typing import Literal

import numpy as np

SPARE = 40
"""Neighbors kept beyond the k nearest, to know those that are exactly as near as the last."""


class ExactSearch:
    """The true nearest neighbors of a few queries, found while the vectors stream by.

    Args:
        queries: (Q, D), members of what is searched.
        own: (Q,) their numbers; no query is its own neighbor.
        k: neighbors that count.
        metric: ``cosine`` and ``ip`` compare by inner product, ``l2`` by distance.
    """

    def __init__(self, queries: np.ndarray, own: np.ndarray, k: int, metric: Literal["cosine", "ip", "l2"]) -> None:
        # In double precision: what is compared with it differs by float32's rounding, and no more.
        self.queries, self.own, self.k, self.metric = queries.astype(np.float64), own[:, None], k, metric
        self.tolerance = 1e-6 * float(np.square(self.queries).sum(1).mean())
        self.scores = np.empty((len(queries), 0))
        self.rows = np.empty((len(queries), 0), np.int64)

    def update(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        """Takes in (B, D) vectors and their (B,) numbers."""
        wide = vectors.astype(np.float64)
        scores = self.queries @ wide.T
        if self.metric == "l2":
            scores = 2 * scores - np.square(wide).sum(1) - np.square(self.queries).sum(1, keepdims=True)
        scores[rows == self.own] = -np.inf
        if self.scores.shape[1] == self.k + SPARE:
            # Soon hardly any vector is nearer to any query than what has been seen: the rest need no sorting.
            nearer = (scores > self.scores[:, -1:]).any(0)
            scores, rows = scores[:, nearer], rows[nearer]
        scores = np.concatenate([self.scores, scores], 1)
        numbers = np.concatenate([self.rows, np.broadcast_to(rows, (len(scores), len(rows)))], 1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.k + SPARE]
        self.scores, self.rows = np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)

    def recall(self, found: np.ndarray, which: slice = slice(None)) -> float:
        """Share of the k nearest that were found, in 0..1; another vector that is exactly as near counts as much.

        Args:
            found: (Q, k + 1) numbers, best first; of each row, the query's own or else the last does not count.
            which: the queries that they are for.
        """
        good = self.scores[which] >= self.scores[which, self.k - 1 : self.k] - self.tolerance
        hits = 0
        for own, mine, true, near in zip(self.own[which, 0], found, self.rows[which], good):
            hits += min(self.k, len(set(mine[mine != own][: self.k].tolist()) & set(true[near].tolist())))
        return hits / (self.k * len(found))
