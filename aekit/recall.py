"""Recall of approximate search, against exact search of the same vectors."""

from __future__ import annotations

from typing import Literal

import numpy as np

SPARE = 40
"""Neighbours kept beyond the k nearest, to tell those that are exactly as near as the last from those that are not."""


class Exact:
    """The true nearest neighbours of a few queries, found while the vectors stream by.

    Args:
        queries: (Q, D).
        k: neighbours that count.
        metric: ``ip``, or ``l2``.
    """

    def __init__(self, queries: np.ndarray, k: int, metric: Literal["ip", "l2"]) -> None:
        # In double precision: what is compared with it differs by float32's rounding, and no more.
        self.queries, self.k, self.metric = queries.astype(np.float64), k, metric
        self.tolerance = 1e-6 * float(np.square(self.queries).sum(1).mean()) if len(queries) else 0.0
        self.scores = np.empty((len(queries), 0))
        self.rows = np.empty((len(queries), 0), np.int64)

    def see(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        """Takes in (B, D) vectors and their (B,) numbers in the index."""
        scores = self.queries @ vectors.T.astype(np.float64)
        if self.metric == "l2":
            scores = 2 * scores - np.square(vectors.astype(np.float64)).sum(1) - np.square(self.queries).sum(1)[:, None]
        if self.scores.shape[1] >= self.k + SPARE:
            # Soon hardly any vector is nearer to any query than what has been seen: the rest need no sorting.
            nearer = (scores > self.scores.min(1, keepdims=True)).any(0)
            scores, rows = scores[:, nearer], rows[nearer]
        scores = np.concatenate([self.scores, scores], 1)
        numbers = np.concatenate([self.rows, np.broadcast_to(rows, (len(scores), len(rows)))], 1)
        keep = np.argsort(-scores, axis=1, kind="stable")[:, : self.k + SPARE]
        self.scores, self.rows = np.take_along_axis(scores, keep, 1), np.take_along_axis(numbers, keep, 1)

    def recall(self, found: np.ndarray, which: slice = slice(None)) -> float:
        """Share of the k nearest that were found, in 0..1; another vector that is as near counts as much.

        Args:
            found: (Q, k) numbers in the index.
            which: the queries that they are for.
        """
        k = min(self.k, self.scores.shape[1])
        good = self.scores[which] >= self.scores[which, k - 1 : k] - self.tolerance
        hits = [len(set(mine) & set(true[near])) for mine, true, near in zip(found.tolist(), self.rows[which], good)]
        return float(np.minimum(hits, k).mean() / k)
