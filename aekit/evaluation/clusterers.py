"""Cluster vectors by k-means or HDBSCAN, and measure silhouettes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from aekit.errors import DataError

MANY = 100_000
"""Samples above which the centers are fitted by mini-batches."""


DENSE = 20_000
"""Samples that densities are estimated from."""


ALL_PAIRS = 5000
"""Samples whose distances may be held at once."""


CLUSTER_COUNTS = (2, 3, 5, 8, 10, 15, 20, 30)
"""Numbers of clusters that are tried where none is given."""


SILHOUETTES = 2000


def fit_kmeans(rows: np.ndarray, clusters: int, starts: int, seed: int) -> Any:
    """scikit-learn's k-means over (N, D), the best of several starts; by mini-batches where there are many rows."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    if len(rows) > MANY:
        model: Any = MiniBatchKMeans(clusters, n_init=starts, random_state=seed, batch_size=8192)
    else:
        model = KMeans(clusters, n_init=starts, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: the figures say it
        return model.fit(rows)


def silhouettes(rows: np.ndarray, found: np.ndarray, seed: int) -> np.ndarray:
    """(min(N, 2000),) of a sample of (N, D) rows in (N,) clusters; zeros where all are in one, or each in its own."""
    from sklearn.metrics import silhouette_samples

    some = np.random.default_rng(seed).permutation(len(rows))[:SILHOUETTES]
    if not 1 < len(np.unique(found[some])) < len(some):
        return np.zeros(len(some))
    return silhouette_samples(rows[some], found[some])


def choose_kmeans(vectors: np.ndarray, clusters: int, seed: int) -> tuple[np.ndarray, dict[int, float]]:
    """(N,) groups by k-means, and the silhouettes of the numbers that were tried."""
    if clusters:
        return fit_kmeans(vectors, clusters, 3, seed).predict(vectors), {}
    every = {k: fit_kmeans(vectors, k, 3, seed).predict(vectors) for k in CLUSTER_COUNTS if k < len(vectors)}
    scores = {k: float(silhouettes(vectors, found, seed).mean()) for k, found in every.items()}
    return every[max(scores, key=lambda k: scores[k])], scores


def fit_hdbscan(rows: np.ndarray, others: np.ndarray, max_samples: int) -> np.ndarray:
    """(M,) groups of (M, D) others, by the density of (N, D) rows, -1 for what lies in none.

    Densities are estimated from `most` of the rows at most, evenly spaced; each of the others joins the nearest of these.
    """
    from sklearn.cluster import HDBSCAN

    from aekit.evaluation.neighbors import nearest_neighbors
    from aekit.evaluation.splits import evenly_spaced

    some = evenly_spaced(rows, max_samples)
    # Trees find no shorter way in many dimensions; all pairs of few samples are quicker, and still small.
    algorithm = "brute" if some.shape[1] >= 64 and len(some) <= ALL_PAIRS else "auto"
    own = HDBSCAN(min_cluster_size=max(5, len(some) // 100), algorithm=algorithm, copy=True).fit_predict(some)
    if some.shape == others.shape and np.array_equal(some, others):
        return own
    _, places = nearest_neighbors(others, some, 1, metric="l2")
    return own[places[:, 0]]


def order_by_size(vectors: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups numbered by size, and their means (K, D) float32."""
    names, counts = np.unique(found[found >= 0], return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    if not len(order):
        raise DataError(f"no clusters: none of {len(found)} samples lies in a dense group; try kmeans")
    numbered = np.full(len(found), -1)
    for number, name in enumerate(order):
        numbered[found == name] = number
    return numbered, np.stack([vectors[numbered == n].mean(0, dtype=np.float64) for n in range(len(order))]).astype(
        np.float32
    )


def center_distances(vectors: np.ndarray, centers: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(N,) to the own center, or to the nearest where a sample has none."""
    distances = np.empty(len(vectors))
    for start in range(0, len(vectors), 4096):
        part, own = vectors[start : start + 4096], found[start : start + 4096]
        every = np.stack([np.linalg.norm(part - center, axis=1) for center in centers], 1)
        distances[start : start + 4096] = np.where(own >= 0, every[np.arange(len(own)), own], every.min(1))
    return distances
