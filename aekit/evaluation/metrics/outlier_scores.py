"""How far samples lie from what is normal, by three scores over embeddings."""

from __future__ import annotations

import numpy as np

from aekit.evaluation.neighbors import nearest_neighbors

OUTLIER_SCORES = ("neighbors", "mahalanobis", "forest")
NEIGHBORS = 5
SHRUNK = 0.1
"""Share of the mean variance in the covariance: with few samples it would have no inverse."""
BLOCK = 8192


def outlier_scores(normal: np.ndarray, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Scores that are higher for what is less like the normal samples.

    - ``neighbors``: mean distance to the 5 nearest normal samples;
    - ``mahalanobis``: distance from their mean, in deviations, by a covariance a tenth of which is its mean variance;
    - ``forest``: how few random cuts set a sample apart (Liu, Ting and Zhou, Isolation forest, 2008).

    Args:
        normal: (M, D) embeddings, at least one.
        rows: (N, D), none of them among the normal ones.
        seed: of the forest.

    Returns:
        Name -> (N,) float64.
    """
    from sklearn.ensemble import IsolationForest

    squares, _ = nearest_neighbors(rows, normal, NEIGHBORS, metric="l2")
    found = {"neighbors": np.sqrt(-squares.astype(np.float64)).mean(axis=1)}
    mean = normal.mean(axis=0, dtype=np.float64)
    centerd = normal - mean
    covariance = centerd.T @ centerd / len(normal)
    variance = max(float(np.trace(covariance)) / len(covariance), 1e-30)
    covariance = (1 - SHRUNK) * covariance + SHRUNK * variance * np.eye(len(covariance))
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    blocks = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]
    found["mahalanobis"] = np.concatenate([np.linalg.norm((own - mean) @ whitening, axis=1) for own in blocks])
    forest = IsolationForest(random_state=seed).fit(normal)
    found["forest"] = -np.concatenate([forest.score_samples(own) for own in blocks])
    return found
