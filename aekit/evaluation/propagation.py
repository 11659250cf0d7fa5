"""Propagate labels from a few samples to all others, along a graph of nearest neighbors.

Zhou et al., Learning with local and global consistency, 2004.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aekit.evaluation.neighbors import nearest_other_neighbors, to_distances

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEIGHBORS = 10
ALPHA = 0.95
"""Part of the weight that a sample takes from its neighbors in each step; the remainder comes from its own label."""
_LEAST_AFFINITY = 1e-6
"""Affinity of any two linked samples, so that samples with many equal ones are still linked to others."""
_PRECISION = 1e-12
"""Relative error of the solution: the weight of a label that comes from far away is small."""


def neighbor_graph(vectors: np.ndarray, neighbors: int = NEIGHBORS) -> csr_array:
    """Link each sample to its nearest neighbors and return the normalized affinities, ``D^-1/2 W D^-1/2``.

    The affinity of two samples is ``exp(-d(a, b)^2 / (s(a) s(b)))``, where d is the Euclidean distance and s the distance from a
    sample to the last of its neighbors (Zelnik-Manor and Perona, Self-tuning spectral clustering, 2004). Samples are linked if
    one is among the neighbors of the other.

    Args:
        vectors: (N, D), N at least 2.
        neighbors: number of neighbors of each sample, at most N - 1.

    Returns:
        (N, N) symmetric float64.
    """
    from scipy.sparse import csr_array, diags_array

    # The affinities do not depend on the scale, but squares of very large and very small numbers are no longer finite, or 0.
    largest = float(np.abs(vectors).max())
    scaled = np.asarray(vectors / largest if largest > 0 else vectors, np.float32)
    similarities, nearest = nearest_other_neighbors(scaled, neighbors, metric="l2")
    distances = to_distances(similarities)
    scale = distances[:, -1]
    products = np.maximum(scale[:, None] * scale[nearest], np.finfo(np.float64).tiny)
    affinities = np.exp(-(distances**2) / products).clip(_LEAST_AFFINITY)
    starts = np.arange(len(vectors) + 1) * nearest.shape[1]
    directed = csr_array((affinities.ravel(), nearest.ravel(), starts), shape=(len(vectors), len(vectors)))
    weights = directed.maximum(directed.T)
    factors = diags_array(1 / np.sqrt(weights.sum(axis=1)))
    return csr_array(factors @ weights @ factors)


def propagate(graph: csr_array, sources: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Return where the weights of the sources end: ``(1 - alpha) (1 - alpha S)^-1 Y`` for the graph S and the sources Y.

    It is the limit of ``F <- alpha S F + (1 - alpha) Y``.

    Args:
        graph: (N, N) of `neighbor_graph`.
        sources: (N, C) weights, 0 or more, such as 1 for the class of each labeled sample.
        alpha: above 0 and below 1.

    Returns:
        (N, C) float64 weights; 0 for samples that no path leads to from a source.
    """
    from scipy.sparse import eye_array
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import cg

    system = eye_array(len(sources), format="csr") - alpha * graph
    component = connected_components(graph, directed=False)[1]
    weights = np.empty(sources.shape)
    for column, source in enumerate(np.asarray(sources, np.float64).T):
        solution, unfinished = cg(system, source, rtol=_PRECISION, atol=0)
        assert not unfinished, "the system is well conditioned: its eigenvalues lie between 1 - alpha and 1 + alpha"
        reached = np.isin(component, component[source > 0])
        weights[:, column] = np.where(reached, (1 - alpha) * solution, 0).clip(0)
    return weights
