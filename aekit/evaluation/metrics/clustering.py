"""Groups that were found without labels: how far they are the classes, how far they are groups at all, and how many there are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aekit.evaluation.clusterers import CLUSTER_COUNTS, silhouettes
from aekit.evaluation.metrics.intervals import bootstrap
from aekit.evaluation.results import Metric, Result, Split

MAX_CHOOSING_ROWS = 5000
"""Samples that the number of groups is chosen with."""


def evaluate_clusters(
    found: np.ndarray, embeddings: np.ndarray, labels: np.ndarray | None, rows: np.ndarray, split: Split, seed: int
) -> Result:
    """With labels: accuracy under the best one-to-one matching of groups and classes, NMI and ARI. Always: the silhouette.

    Args:
        found: (M,) the group of each judged sample; -1 for one that is in none, which is never right.
        embeddings: (N, D).
        labels: (N,) classes, or None.
        rows: (M,) positions of the judged samples.
        split: whose groups are drawn together.
        seed: of the bootstrap and of the silhouette's sample.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    inside = found >= 0
    apart = silhouettes(embeddings[rows[inside]], found[inside], seed) if inside.any() else np.zeros(1)
    metrics: dict[str, Metric] = {}
    scores = apart if inside.all() else None  # else those of another encoder would be of other samples
    if labels is not None:
        scores = hungarian_matches(found, labels[rows])
        groups = None if split.groups is None else split.groups[rows]
        metrics["clustering_accuracy"] = bootstrap(scores, seed=seed, groups=groups)
        metrics["nmi"] = Metric(float(normalized_mutual_info_score(labels[rows], found)))
        metrics["ari"] = Metric(float(adjusted_rand_score(labels[rows], found)))
    metrics["silhouette"] = bootstrap(apart, seed=seed)
    sampled = f"silhouette: of {len(apart):,} of the {int(inside.sum()):,} samples that are in a group"
    return Result(metrics, scores=scores, notes=[sampled] if len(apart) < inside.sum() else [])


def hungarian_matches(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) 1 where a sample's cluster stands for its class, under the matching that makes these the most (Kuhn, 1955).

    Cluster -1 holds what is in none, and stands for no class.
    """
    from scipy.optimize import linear_sum_assignment

    inside = clusters >= 0
    right = np.zeros(len(clusters))
    names, found = np.unique(clusters[inside], return_inverse=True)
    if not len(names):
        return right
    classes, y_true = np.unique(labels, return_inverse=True)
    counts = np.bincount(found * len(classes) + y_true[inside], minlength=len(names) * len(classes))
    stands_for = np.full(len(names), -1)
    which, what = linear_sum_assignment(counts.reshape(len(names), len(classes)), maximize=True)
    stands_for[which] = what
    right[inside] = stands_for[found] == y_true[inside]
    return right


def choose_cluster_count(
    score: Callable[[np.ndarray, np.ndarray, int], float],
    embeddings: np.ndarray,
    split: Split,
    seed: int,
    max_samples: int = MAX_CHOOSING_ROWS,
) -> tuple[int, dict[int, float]]:
    """How many groups there are, found without labels: that of the highest score among 2, 3, 5, 8, 10, 15, 20 and 30.

    Args:
        score: of training samples (N1, D) for fitting, validation samples (N2, D) for judging, and a number of groups;
            higher for better ones.
        embeddings: (N, D).
        split: of whose parts at most `most` samples each are used.
        seed: of which.

    Returns:
        The number, and number -> score.
    """
    generator = np.random.default_rng(seed)
    train, held = (
        embeddings[part if len(part) <= max_samples else np.sort(generator.choice(part, max_samples, replace=False))]
        for part in (split.train, split.validation)
    )
    scores = {k: score(train, held, k) for k in CLUSTER_COUNTS if k < len(train)}
    return max(scores, key=lambda k: scores[k]), scores
