"""Score how far embeddings lie from the normal ones, in three ways."""

from __future__ import annotations

import numpy as np

from aekit.evaluation.neighbors import nearest_neighbors

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
    scores = {"neighbors": np.sqrt(-squares.astype(np.float64)).mean(axis=1)}
    mean = normal.mean(axis=0, dtype=np.float64)
    centered = normal - mean
    covariance = centered.T @ centered / len(normal)
    variance = max(float(np.trace(covariance)) / len(covariance), 1e-30)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * variance * np.eye(len(covariance))
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    blocks = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]
    scores["mahalanobis"] = np.concatenate([np.linalg.norm((block - mean) @ whitening, axis=1) for block in blocks])
    forest = IsolationForest(random_state=seed).fit(normal)
    scores["forest"] = -np.concatenate([forest.score_samples(block) for block in blocks])
    return scores
