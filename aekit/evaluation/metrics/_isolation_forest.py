"""An isolation forest (Liu, Ting and Zhou, Isolation forest, 2008) whose trees grow together, level by level.

scikit-learn builds each of the small trees by some ten Python objects, which takes four fifths of its time; a forest for each
class was the slowest part of an evaluation.
"""

from __future__ import annotations

import math

import numpy as np

TREES = 100
SAMPLES = 256
"""Samples that each tree is grown on, without replacement."""
_AT_ONCE = 256
"""Samples that go through all trees at a time: their places stay in the cache."""
_TRIES = 8
"""Features that are drawn for a node until one varies within it; then those that vary are looked for."""


class IsolationForest:
    """Random trees that each isolate 256 samples: at each node, of a feature that varies, a threshold between its extremes.

    The nodes of all trees at level L are numbered through, 2^L for each tree, so that node n has the children 2 n and 2 n + 1.
    All samples go left at a leaf, down to the last level.

    Args:
        rows: (M, D) samples, at least one.
        seed: seed of the samples, the features and the thresholds.

    Attributes:
        features, thresholds: for each level but the last, of each node; samples above the threshold go right; infinite for leaves
        lengths: of each node of the last level, the length of the path to its leaf.
    """

    def __init__(self, rows: np.ndarray, seed: int) -> None:
        x, generator = np.ascontiguousarray(rows, np.float32), np.random.default_rng(seed)
        count = min(SAMPLES, len(x))
        depth = math.ceil(math.log2(max(count, 2)))
        self.usual_length = float(_unfinished(np.array([count]))[0])
        self.features = [np.zeros(TREES << level, np.int32) for level in range(depth)]
        self.thresholds = [np.full(TREES << level, np.inf, np.float32) for level in range(depth)]
        self.lengths = np.zeros(TREES << depth)
        members = np.concatenate([generator.choice(len(x), count, replace=False) for _ in range(TREES)])
        places = np.repeat(np.arange(TREES), count)  # the node of each member
        for level in range(depth):
            members, places = self._split(x, members, places, level, generator)
        nodes, sizes = np.unique(places, return_counts=True)
        self.lengths[nodes] = depth + _unfinished(sizes)

    def _split(
        self, x: np.ndarray, members: np.ndarray, places: np.ndarray, level: int, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Split the nodes of a level; return the members (N,) of the next level and their nodes (N,)."""
        order = np.argsort(places, kind="stable")
        members = members[order]
        nodes, firsts, sizes = np.unique(places[order], return_index=True, return_counts=True)
        features, low, high = _varying_features(x, members, firsts, sizes, generator)
        splits = high > low
        self.lengths[nodes[~splits] << (len(self.features) - level)] = level + _unfinished(sizes[~splits])
        thresholds = (low + (high - low) * generator.random(len(nodes), np.float32)).astype(np.float32)
        thresholds = np.where(thresholds < high, thresholds, low)  # rounding must not leave a child without samples
        self.features[level][nodes[splits]] = features[splits]
        self.thresholds[level][nodes[splits]] = thresholds[splits]
        kept = np.repeat(splits, sizes)
        members, places = members[kept], places[order][kept]
        above = x[members, self.features[level][places]] > self.thresholds[level][places]
        return members, 2 * places + above

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return (N,) float64 scores of (N, D) samples, in 0..1: the sooner trees isolate a sample, the higher."""
        x = np.ascontiguousarray(rows, np.float32)
        if not self.usual_length:
            return np.full(len(x), 0.5)
        lengths = [self._mean_lengths(x[start : start + _AT_ONCE]) for start in range(0, len(x), _AT_ONCE)]
        return np.exp2(-np.concatenate(lengths) / self.usual_length) if lengths else np.empty(0)

    def _mean_lengths(self, x: np.ndarray) -> np.ndarray:
        """Return the mean lengths (N,) of the paths of (N, D) samples."""
        values, firsts = x.reshape(-1), np.tile(np.arange(0, x.size, x.shape[1]), TREES)
        nodes = np.repeat(np.arange(TREES), len(x))
        for features, thresholds in zip(self.features, self.thresholds):
            above = values[firsts + features[nodes]] > thresholds[nodes]
            nodes *= 2
            nodes += above
        return self.lengths[nodes].reshape(TREES, len(x)).mean(axis=0)


def _varying_features(
    x: np.ndarray, members: np.ndarray, firsts: np.ndarray, sizes: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw for each of K nodes a feature that varies in it; return (K,) features and their extremes, equal where none does.

    Args:
        x: (M, D) samples.
        members: (N,) rows, in the order of their nodes.
        firsts, sizes: (K,) place of the first member of each node, and number of its members.
        generator: draws.
    """
    features = np.zeros(len(firsts), np.int64)
    low, high = np.zeros(len(firsts), np.float32), np.zeros(len(firsts), np.float32)
    missing = np.flatnonzero(sizes > 1)
    for _ in range(_TRIES):
        if not len(missing):
            return features, low, high
        drawn = generator.integers(x.shape[1], size=len(missing))
        ends = np.cumsum(sizes[missing])
        begins = ends - sizes[missing]
        places = np.arange(ends[-1]) + np.repeat(firsts[missing] - begins, sizes[missing])
        values = x[members[places], np.repeat(drawn, sizes[missing])]
        features[missing] = drawn
        low[missing], high[missing] = np.minimum.reduceat(values, begins), np.maximum.reduceat(values, begins)
        missing = missing[high[missing] <= low[missing]]
    for node in missing.tolist():
        rows = x[members[firsts[node] : firsts[node] + sizes[node]]]
        least, most = rows.min(axis=0), rows.max(axis=0)
        if len(varying := np.flatnonzero(most > least)):
            features[node] = generator.choice(varying)
            low[node], high[node] = least[features[node]], most[features[node]]
    return features, low, high


def _unfinished(sizes: np.ndarray) -> np.ndarray:
    """Return the mean length (K,) of further paths that would isolate each of (K,) numbers of samples."""
    n = np.maximum(sizes, 2).astype(np.float64)
    several = 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
    return np.where(sizes > 2, several, (sizes == 2).astype(np.float64))
