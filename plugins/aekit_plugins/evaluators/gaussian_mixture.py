"""Gaussian mixture: groups of any extent and direction, which k-means cannot see (Dempster, Laird and Rubin, 1977)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from aekit.plugin import Field, Result, Split, choose_cluster_count, evaluate_clusters

CHOOSING = 2500
"""Samples that the number of groups is chosen with: 30 groups of full covariance take long."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    split: Split,
    *,
    clusters: Annotated[int, Field(ge=0, description="0: as many as classes, or chosen by the likelihood")] = 0,
    unaided: Annotated[bool, Field(description="chosen by the likelihood even where there are classes")] = False,
    covariance: Annotated[
        Literal["full", "tied", "diag", "spherical"], Field(description="of each group, as scikit-learn names them")
    ] = "full",
    components: Annotated[
        int, Field(ge=1, description="principal components that wider embeddings are reduced to")
    ] = 32,
    most: Annotated[int, Field(ge=10, description="samples above which it is fitted on some")] = 10_000,
    starts: Annotated[int, Field(ge=1, description="runs from other centers, of which the best counts")] = 3,
    seed: Annotated[int, Field(ge=0, description="of those samples, the centers and the bootstrap")] = 0,
) -> Result:
    """scikit-learn's GaussianMixture on whitened principal components, fitted on train and validation; the test samples go to
    the group that most probably made them.

    With labels: accuracy under the best one-to-one matching of groups and classes, NMI and ARI. Always the silhouette, and
    how many groups the likelihood of the validation part would choose.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes, or None.
        split: positions into both.
    """
    seen = np.concatenate([split.train, split.validation])
    some = seen if len(seen) <= most else np.sort(np.random.default_rng(seed).choice(seen, most, replace=False))
    x = _reduced(embeddings, some, components)

    def score(train: np.ndarray, held: np.ndarray, k: int) -> float:
        return float(_fitted(train, k, covariance, starts, seed).score(held))

    alone, scores = choose_cluster_count(score, x, split, seed, CHOOSING)
    count, on = clusters, "the option"
    if not count and labels is not None and not unaided:
        count, on = len(np.unique(labels[seen])), "the number of classes"
    elif not count:
        count, on = alone, "validation"
    model = _fitted(x[some], min(count, len(some)), covariance, starts, seed)
    result = evaluate_clusters(model.predict(x[split.test]), embeddings, labels, split.test, split, seed)
    notes = []
    if x.shape[1] < embeddings.shape[1]:
        notes.append(f"on {x.shape[1]} principal components of {embeddings.shape[1]} numbers")
    if len(some) < len(seen):
        notes.append(f"fitted on {len(some):,} of {len(seen):,} samples, its number of groups chosen by {CHOOSING:,}")
    return replace(
        result,
        chosen={"clusters": count, "clusters_without_labels": alone},
        chosen_on=on,
        table=[{"clusters": k, "validation log-likelihood": value} for k, value in scores.items()],
        notes=[*result.notes, *notes],
    )


def _reduced(embeddings: np.ndarray, rows: np.ndarray, components: int) -> np.ndarray:
    """(N, min(D, K)) float32 principal components as far as the rows have any, each with variance 1, so that long groups are
    not cut before the mixture has seen them."""
    mean = embeddings[rows].mean(axis=0, dtype=np.float64)
    centerd = embeddings[rows] - mean
    values, axes = np.linalg.eigh(centerd.T @ centerd / len(rows))
    kept = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-30))[::-1][:components]
    if not len(kept):
        return np.zeros((len(embeddings), 1), np.float32)
    whitening = axes[:, kept] / np.sqrt(values[kept])
    blocks = (embeddings[at : at + 8192] - mean for at in range(0, len(embeddings), 8192))
    return np.concatenate([(block @ whitening).astype(np.float32) for block in blocks])


def _fitted(rows: np.ndarray, count: int, covariance: str, starts: int, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(count, covariance_type=covariance, reg_covar=1e-3, n_init=starts, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than groups: the figures say it
        return model.fit(rows)
