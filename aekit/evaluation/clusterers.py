"""Cluster vectors by k-means or HDBSCAN, and measure silhouettes."""

from __future__ import annotations

from typing import Any

import numpy as np

from aekit.errors import DataError
from aekit.io.memory import require_free
from aekit.shared_settings import warning_rules

MAX_FULL_BATCH = 100_000
"""Samples above which the centers are fitted by mini-batches."""
DENSE = 20_000
"""Samples that densities are estimated from."""
MAX_ALL_PAIRS = 5000
"""Samples whose pairwise distances may be in memory at once."""
MIN_CLUSTER = 5
"""Samples of the smallest cluster that HDBSCAN finds."""
CLUSTER_COUNTS = (2, 3, 5, 8, 10, 15, 20, 30)
"""Numbers of clusters that are tried by default."""
BLAS_BYTES = 2**26
"""What OpenBLAS may take where its number of threads is set, as in k-means."""
SILHOUETTES = 2000
"""Samples whose silhouettes are computed."""


def fit_kmeans(rows: np.ndarray, clusters: int, n_init: int, seed: int | np.random.RandomState) -> Any:
    """Fit scikit-learn's k-means to (N, D), the best of `n_init` initializations; by mini-batches if there are many rows."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    require_free(BLAS_BYTES, "k-means")
    if len(rows) > MAX_FULL_BATCH:
        model: Any = MiniBatchKMeans(clusters, n_init=n_init, random_state=seed, batch_size=8192)
    else:
        model = KMeans(clusters, n_init=n_init, random_state=seed)
    with warning_rules(("ignore", "", ConvergenceWarning)):  # fewer distinct points than clusters: the metrics show it
        return model.fit(rows)


def silhouettes(rows: np.ndarray, clusters: np.ndarray, seed: int) -> np.ndarray:
    """Return the silhouettes of at most 2,000 of (N, D) rows in (N,) clusters; zeros if all are in one, or each in its own."""
    from sklearn.metrics import silhouette_samples

    sample = np.random.default_rng(seed).permutation(len(rows))[:SILHOUETTES]
    if not 1 < len(np.unique(clusters[sample])) < len(sample):
        return np.zeros(len(sample))
    return silhouette_samples(rows[sample], clusters[sample])


def choose_kmeans(vectors: np.ndarray, clusters: int, seed: int) -> tuple[np.ndarray, dict[int, float]]:
    """Return (N,) clusters by k-means, and number -> silhouette of the numbers that were tried if `clusters` is 0."""
    if clusters:
        return fit_kmeans(vectors, clusters, 3, seed).predict(vectors), {}
    candidates = {k: fit_kmeans(vectors, k, 3, seed).predict(vectors) for k in CLUSTER_COUNTS if k < len(vectors)}
    scores = {k: float(silhouettes(vectors, assigned, seed).mean()) for k, assigned in candidates.items()}
    return candidates[max(scores, key=lambda k: scores[k])], scores


def fit_hdbscan(rows: np.ndarray, others: np.ndarray, max_samples: int) -> np.ndarray:
    """Cluster (M, D) others by the density of (N, D) rows; return (M,) clusters, -1 for rows in no cluster.

    Densities are estimated from at most `max_samples` rows, evenly spaced; each of the others joins the cluster of the nearest.
    """
    from sklearn.cluster import HDBSCAN

    from aekit.evaluation.neighbors import nearest_neighbors
    from aekit.evaluation.splits import evenly_spaced

    sample = evenly_spaced(rows, max_samples)
    # Trees save nothing in many dimensions; all pairs of few samples are faster and fit in memory.
    algorithm = "brute" if sample.shape[1] >= 64 and len(sample) <= MAX_ALL_PAIRS else "auto"
    if len(sample) < MIN_CLUSTER:
        raise DataError(
            f"{len(sample)} samples: HDBSCAN needs at least {MIN_CLUSTER}, the size of its smallest cluster"
        )
    smallest = max(MIN_CLUSTER, len(sample) // 100)
    clusters = HDBSCAN(min_cluster_size=smallest, algorithm=algorithm, copy=True).fit_predict(sample)
    if sample.shape == others.shape and np.array_equal(sample, others):
        return clusters
    _, positions = nearest_neighbors(others, sample, 1, metric="l2")
    return clusters[positions[:, 0]]


def order_by_size(vectors: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number clusters by size, and return them (N,) with their means (K, D) float32."""
    names, counts = np.unique(clusters[clusters >= 0], return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    if not len(order):
        raise DataError(f"no clusters: no dense region among {len(clusters)} samples; try kmeans")
    numbered = np.full(len(clusters), -1)
    for number, name in enumerate(order):
        numbered[clusters == name] = number
    return numbered, np.stack([vectors[numbered == n].mean(0, dtype=np.float64) for n in range(len(order))]).astype(
        np.float32
    )


def center_distances(vectors: np.ndarray, centers: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return (N,) distances to the center of the sample's cluster, or to the nearest center for a sample in no cluster."""
    distances = np.empty(len(vectors))
    for start in range(0, len(vectors), 4096):
        part, cluster = vectors[start : start + 4096], clusters[start : start + 4096]
        to_all = np.stack([np.linalg.norm(part - center, axis=1) for center in centers], 1)
        to_own = to_all[np.arange(len(cluster)), cluster]
        distances[start : start + 4096] = np.where(cluster >= 0, to_own, to_all.min(1))
    return distances
