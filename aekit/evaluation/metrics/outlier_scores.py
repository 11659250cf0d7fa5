"""Score how far embeddings lie from the normal ones, in three ways."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from aekit.evaluation.neighbors import nearest_neighbors, to_distances
from aekit.nn.low_rank import principal_axes

OUTLIER_SCORES = ("neighbors", "mahalanobis", "forest")
NEIGHBORS = 5
SHRINKAGE = 0.1
"""Weight of the mean variance in the covariance, which is singular with few samples."""
BLOCK = 8192
TREES, TREE_SAMPLES = 100, 256
"""Trees of an isolation forest, and samples that each is fitted to, as by Liu, Ting and Zhou."""


def outlier_scores(normal: np.ndarray, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Compute scores that are higher for samples less like the normal ones.

    - ``neighbors``: mean distance to the 5 nearest normal samples;
    - ``mahalanobis``: Mahalanobis distance from their mean, with a covariance shrunk by a tenth toward its mean variance;
    - ``forest``: how few random splits isolate a sample (Liu, Ting and Zhou, Isolation forest, 2008).

    Args:
        normal: (M, D) normal embeddings, at least one.
        rows: (N, D) other embeddings.
        seed: seed of the forest.

    Returns:
        Name -> (N,) float64.
    """
    squares, _ = nearest_neighbors(rows, normal, NEIGHBORS, metric="l2")
    scores = {"neighbors": to_distances(squares).mean(axis=1)}
    mean = normal.mean(axis=0, dtype=np.float64)
    values, axes = principal_axes(normal - mean)
    variance = max(float(values.sum()) / normal.shape[1], 1e-30)
    blocks = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]
    distances = [_shrunk_distances(block - mean, values, axes, variance) for block in blocks]
    scores["mahalanobis"] = np.concatenate(distances)
    trees = _random_trees(normal, seed)
    scores["forest"] = np.concatenate([_isolation(trees, block, len(normal)) for block in blocks])
    return scores


def _random_trees(normal: np.ndarray, seed: int) -> list[Any]:
    """Fit the trees of an isolation forest: random splits of random entries of (M, D) samples.

    Where each tree has all samples, they are those of scikit-learn's forest of random trees with a random target, which it fits
    in a third of the time that its isolation forest takes to make a hundred trees one by one.
    """
    from sklearn.ensemble import ExtraTreesRegressor, IsolationForest

    if len(normal) > TREE_SAMPLES:
        return list(IsolationForest(n_estimators=TREES, max_samples=TREE_SAMPLES, random_state=seed).fit(normal))
    depth = max(1, math.ceil(math.log2(len(normal))))
    forest = ExtraTreesRegressor(TREES, max_features=1, max_depth=depth, random_state=seed)
    return list(forest.fit(normal, np.random.default_rng(seed).uniform(size=len(normal))))


def _isolation(trees: list[Any], rows: np.ndarray, count: int) -> np.ndarray:
    """Return the scores (N,) of rows (N, D) by trees that were fitted to `count` samples each, or to `TREE_SAMPLES` of more.

    They are 2 to the power of less the mean path length, in units of that of an unsuccessful search in a binary tree.
    """
    lengths, rows = np.zeros(len(rows)), np.ascontiguousarray(rows, np.float32)
    for tree in trees:
        path = tree.tree_.compute_node_depths() - 1 + _usual_path(tree.tree_.n_node_samples)
        lengths += path[tree.apply(rows, check_input=False)]
    usual = float(_usual_path(np.array([min(count, TREE_SAMPLES)]))[0])
    return 2.0 ** (-lengths / (len(trees) * max(usual, 1e-30)))


def _usual_path(counts: np.ndarray) -> np.ndarray:
    """Return the mean path lengths of unsuccessful searches in binary trees of (K,) nodes: 0 for one, 1 for two."""
    many = np.maximum(counts, 3)
    paths = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(counts > 2, paths, counts - 1.0)


def _shrunk_distances(centered: np.ndarray, values: np.ndarray, axes: np.ndarray, variance: float) -> np.ndarray:
    """Return the Mahalanobis distances (N,) of rows (N, D) by the covariance with these eigenvalues (K,) and axes (D, K), shrunk.

    All directions besides the axes have the variance that shrinking gives them, so that no (D, D) matrix is needed.
    """
    least = SHRINKAGE * variance
    along = np.square(centered @ axes)
    residual = np.maximum(np.square(centered).sum(axis=1) - along.sum(axis=1), 0)
    return np.sqrt(along @ (1 / ((1 - SHRINKAGE) * values + least)) + residual / least)
