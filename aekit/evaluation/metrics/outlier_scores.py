"""Score how far embeddings lie from the normal ones, in three ways."""

from __future__ import annotations

import numpy as np

from aekit.evaluation.neighbors import nearest_neighbors, to_distances
from aekit.nn.low_rank import principal_axes

OUTLIER_SCORES = ("neighbors", "mahalanobis", "forest")
NEIGHBORS = 5
SHRINKAGE = 0.1
"""Weight of the mean variance in the covariance, which is singular with few samples."""
BLOCK = 8192


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
    from sklearn.ensemble import IsolationForest

    squares, _ = nearest_neighbors(rows, normal, NEIGHBORS, metric="l2")
    scores = {"neighbors": to_distances(squares).mean(axis=1)}
    mean = normal.mean(axis=0, dtype=np.float64)
    values, axes = principal_axes(normal - mean)
    variance = max(float(values.sum()) / normal.shape[1], 1e-30)
    blocks = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]
    distances = [_shrunk_distances(block - mean, values, axes, variance) for block in blocks]
    scores["mahalanobis"] = np.concatenate(distances)
    forest = IsolationForest(random_state=seed).fit(normal)
    scores["forest"] = -np.concatenate([forest.score_samples(block) for block in blocks])
    return scores


def _shrunk_distances(centered: np.ndarray, values: np.ndarray, axes: np.ndarray, variance: float) -> np.ndarray:
    """Return the Mahalanobis distances (N,) of rows (N, D) by the covariance with these eigenvalues (K,) and axes (D, K), shrunk.

    All directions besides the axes have the variance that shrinking gives them, so that no (D, D) matrix is needed.
    """
    least = SHRINKAGE * variance
    along = np.square(centered @ axes)
    residual = np.maximum(np.square(centered).sum(axis=1) - along.sum(axis=1), 0)
    return np.sqrt(along @ (1 / ((1 - SHRINKAGE) * values + least)) + residual / least)
