"""Select samples of embeddings: to be labeled next, or to represent all of them."""

from __future__ import annotations

import numpy as np

from aekit.evaluation.clusterers import fit_kmeans
from aekit.evaluation.neighbors import nearest_neighbors, nearest_other_neighbors, to_distances
from aekit.nn.low_rank import project_to_span

MAX_CLUSTERS, TYPICAL_NEIGHBORS, MIN_CLUSTER = 500, 20, 5
"""Clusters, neighbors and smallest cluster of typical samples, as in their paper."""
CANDIDATES = 5
"""Uncertain samples for each one that is selected, among which the selected ones are spread."""


def cover(vectors: np.ndarray, covered: np.ndarray, free: np.ndarray, count: int) -> np.ndarray:
    """Select the sample that is farthest from all covered and selected ones, again and again (Gonzalez, 1985).

    As a way to select samples to label it is the core set of Sener and Savarese (2018).

    Args:
        vectors: (N, D).
        covered: rows that count as selected already.
        free: rows that may be selected.
        count: number of samples.

    Returns:
        (count,) rows, in order.
    """
    chosen: list[int] = []
    if len(covered):
        squares, _ = nearest_neighbors(vectors[free], vectors[covered], 1, metric="l2")
        distances = to_distances(squares[:, 0])
    else:
        center = vectors.mean(0, dtype=np.float64)
        start = int(np.linalg.norm(vectors[free] - center, axis=1).argmin())
        chosen, distances = [start], np.linalg.norm(vectors[free] - vectors[free[start]], axis=1)
    while len(chosen) < count:
        distances[chosen] = -1  # equal samples are selected before none are left
        farthest = int(distances.argmax())
        chosen.append(farthest)
        distances = np.minimum(distances, np.linalg.norm(vectors[free] - vectors[free[farthest]], axis=1))
    return free[chosen[:count]]


def select_typical(vectors: np.ndarray, covered: np.ndarray, free: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Select typical samples of clusters without labels (TypiClust: Hacohen, Dekel and Weinshall, 2022).

    The clusters with the fewest labels come first, of these the largest; the most typical sample has the nearest neighbors.

    Args:
        vectors, covered, free, count: as in `cover`.
        seed: seed of k-means.
    """
    number = min(len(covered) + count, MAX_CLUSTERS, len(vectors))
    clusters = fit_kmeans(project_to_span(vectors), number, 1, seed).labels_
    labeled = np.bincount(clusters[covered], minlength=number)
    sizes = np.bincount(clusters, minlength=number)
    is_free = np.zeros(len(vectors), bool)
    is_free[free] = True
    queues: list[list[int]] = []
    for cluster in range(number):
        members = np.flatnonzero(clusters == cluster)
        typicality = np.zeros(len(members))
        if len(members) > 1:
            squares, _ = nearest_other_neighbors(vectors[members], TYPICAL_NEIGHBORS, metric="l2")
            typicality = -to_distances(squares).mean(1)
        order = members[np.argsort(-typicality, kind="stable")]
        queues.append(order[is_free[order]].tolist())
    chosen: list[int] = []
    while len(chosen) < count:
        cluster = min(
            (one for one in range(number) if queues[one]),
            key=lambda one: (sizes[one] < MIN_CLUSTER, labeled[one], -sizes[one]),
        )
        chosen.append(queues[cluster].pop(0))
        labeled[cluster] += 1
    return np.array(chosen)


def select_uncertain(
    vectors: np.ndarray, codes: np.ndarray, covered: np.ndarray, free: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Select samples of which a linear probe is least sure, spread over the clusters of the least sure ones (Zhdanov, 2019).

    Args:
        vectors, covered, free, count, seed: as in `select_typical`.
        codes: (N,) class numbers of the covered rows.

    Returns:
        (count,) rows, the least sure first, and (N,) the difference between the two largest probabilities; NaN for covered rows.
    """
    from aekit.evaluation.linear.probe import fit_logistic  # imports torch

    path = fit_logistic(vectors[covered], codes[covered], [1.0])
    ordered = np.sort(path.probabilities(vectors[free]), axis=1)
    margins = np.full(len(vectors), np.nan)
    margins[free] = ordered[:, -1] - ordered[:, -2]
    least_sure = free[np.argsort(margins[free], kind="stable")][: CANDIDATES * count]
    if len(least_sure) == count:
        return least_sure, margins
    clusters = fit_kmeans(project_to_span(vectors[least_sure]), count, 1, seed).labels_
    first = np.unique(clusters, return_index=True)[1]  # the least sure of each cluster
    chosen = np.sort(first)
    remaining = np.setdiff1d(np.arange(len(least_sure)), chosen)[: count - len(chosen)]
    return least_sure[np.sort(np.concatenate([chosen, remaining]))], margins


def represent(vectors: np.ndarray, free: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Select the samples nearest to the centers of as many clusters, the largest cluster first.

    Args:
        vectors, free, count, seed: as in `select_typical`.
    """
    points = project_to_span(vectors[free])
    model = fit_kmeans(points, count, 1, seed)
    distances = np.linalg.norm(points - model.cluster_centers_[model.labels_], axis=1)
    order = np.lexsort((distances, model.labels_))
    names, first = np.unique(model.labels_[order], return_index=True)
    sizes = np.bincount(model.labels_, minlength=count)[names]
    chosen = order[first][np.argsort(-sizes, kind="stable")]
    remaining = np.setdiff1d(np.arange(len(free)), chosen)[
        : count - len(chosen)
    ]  # fewer distinct samples than clusters
    return free[np.concatenate([chosen, remaining])]


def densities(vectors: np.ndarray, neighbors: int) -> np.ndarray:
    """Return (N,) the median mean distance to the nearest samples, divided by that of each sample: below 1 where few are near."""
    squares, _ = nearest_other_neighbors(vectors, neighbors, metric="l2")
    distances = to_distances(squares).mean(1)
    typical = np.median(distances)
    return (
        np.minimum(typical / np.maximum(distances, 1e-12 + 0.01 * typical), 100.0)
        if typical > 0
        else np.ones(len(vectors))
    )


def covering_distance(vectors: np.ndarray, chosen: np.ndarray) -> float:
    """Return the mean distance of (N, D) samples to the nearest chosen one."""
    squares, _ = nearest_neighbors(vectors, vectors[chosen], 1, metric="l2")
    return float(to_distances(squares).mean())
