"""Evaluate clusters against classes and by their silhouettes, and choose the number of clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aekit.errors import DataError
from aekit.evaluation.clusterers import CLUSTER_COUNTS, silhouettes
from aekit.evaluation.metrics.intervals import bootstrap
from aekit.evaluation.results import Metric, Result, Split

MAX_CHOOSING_ROWS = 5000
"""Samples that the number of clusters is chosen with."""


def evaluate_clusters(
    clusters: np.ndarray, embeddings: np.ndarray, labels: np.ndarray | None, rows: np.ndarray, split: Split, seed: int
) -> Result:
    """Compute the silhouette and, with labels, the clustering accuracy, NMI and ARI.

    The clustering accuracy is that of the best one-to-one matching of clusters and classes (Kuhn, 1955).

    Args:
        clusters: (M,) cluster of each evaluated sample; -1 for a sample in no cluster, which always counts as wrong.
        embeddings: (N, D).
        labels: (N,) classes, or None.
        rows: (M,) positions of the evaluated samples.
        split: split whose groups are resampled together.
        seed: seed of the bootstrap and of the sample of the silhouette.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    inside = clusters >= 0
    per_sample = silhouettes(embeddings[rows[inside]], clusters[inside], seed) if inside.any() else np.zeros(1)
    metrics: dict[str, Metric] = {}
    scores = per_sample if inside.all() else None  # otherwise another encoder's scores would be of other samples
    if labels is not None:
        scores = hungarian_matches(clusters, labels[rows])
        groups = None if split.groups is None else split.groups[rows]
        metrics["clustering_accuracy"] = bootstrap(scores, seed=seed, groups=groups)
        metrics["nmi"] = Metric(float(normalized_mutual_info_score(labels[rows], clusters)))
        metrics["ari"] = Metric(float(adjusted_rand_score(labels[rows], clusters)))
    metrics["silhouette"] = bootstrap(per_sample, seed=seed)
    note = f"silhouette of {len(per_sample):,} of the {int(inside.sum()):,} samples in clusters"
    return Result(metrics, scores=scores, notes=[note] if len(per_sample) < inside.sum() else [])


def hungarian_matches(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return (N,) 1 where a sample's cluster matches its class, under the best one-to-one matching (Kuhn, 1955).

    Cluster -1 holds the samples in no cluster, and matches no class.
    """
    from scipy.optimize import linear_sum_assignment

    inside = clusters >= 0
    matches = np.zeros(len(clusters))
    names, codes = np.unique(clusters[inside], return_inverse=True)
    if not len(names):
        return matches
    classes, y_true = np.unique(labels, return_inverse=True)
    counts = np.bincount(codes * len(classes) + y_true[inside], minlength=len(names) * len(classes))
    matched_class = np.full(len(names), -1)
    matched, target = linear_sum_assignment(counts.reshape(len(names), len(classes)), maximize=True)
    matched_class[matched] = target
    matches[inside] = matched_class[codes] == y_true[inside]
    return matches


def choose_cluster_count(
    score: Callable[[np.ndarray, np.ndarray, int], float],
    embeddings: np.ndarray,
    split: Split,
    seed: int,
    max_samples: int = MAX_CHOOSING_ROWS,
) -> tuple[int, dict[int, float]]:
    """Choose the number of clusters without labels: the one with the highest score among 2, 3, 5, 8, 10, 15, 20 and 30.

    Args:
        score: function of training samples (N1, D) to fit on, validation samples (N2, D) to score on and a number of clusters;
            higher is better.
        embeddings: (N, D).
        split: split of the embeddings.
        seed: seed of the samples that are used.
        max_samples: number of samples that are used of each part.

    Returns:
        The number of clusters, and number -> score.
    """
    generator = np.random.default_rng(seed)
    train, validation = (
        embeddings[part if len(part) <= max_samples else np.sort(generator.choice(part, max_samples, replace=False))]
        for part in (split.train, split.validation)
    )
    if len(train) <= min(CLUSTER_COUNTS):
        raise DataError(f"{len(train)} training samples: expected more than {min(CLUSTER_COUNTS)} to find clusters in")
    scores = {k: score(train, validation, k) for k in CLUSTER_COUNTS if k < len(train)}
    return max(scores, key=lambda k: scores[k]), scores


def resolve_cluster_count(clusters: int, classes: np.ndarray | None, unsupervised: int) -> tuple[int, str]:
    """Return the number of clusters to fit, and what it follows from.

    Args:
        clusters: the option; 0: as many as there are classes, or else `unsupervised`.
        classes: (M,) of the samples to fit on, or None where labels are missing or to be ignored.
        unsupervised: the number that `choose_cluster_count` chose.
    """
    if clusters:
        return clusters, "the option clusters"
    if classes is not None:
        return len(np.unique(classes)), "the number of classes"
    return unsupervised, "validation"
