"""Gaussian mixture: clusters of any size and orientation (Dempster, Laird and Rubin, 1977)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from aekit.nn.gaussian_mixtures import REGULARIZATION, FullMixture, fit_mixtures, fits_in_memory
from aekit.nn.low_rank import principal_axes
from aekit.plugin import (
    CLUSTER_COUNTS,
    Field,
    Result,
    Split,
    choose_cluster_count,
    evaluate_clusters,
    fit_kmeans,
    resolve_cluster_count,
)

MAX_CHOOSING_SAMPLES = 2500
"""Most samples to choose the number of clusters with: 30 clusters with full covariance take long."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    split: Split,
    *,
    clusters: Annotated[
        int, Field(ge=0, description="number of clusters; 0: that of the classes, or chosen by likelihood")
    ] = 0,
    ignore_labels: Annotated[bool, Field(description="choose the number by likelihood even with labels")] = False,
    covariance: Annotated[
        Literal["full", "tied", "diag", "spherical"], Field(description="covariance type of scikit-learn")
    ] = "full",
    components: Annotated[int, Field(ge=1, description="principal components of wider embeddings")] = 32,
    max_samples: Annotated[int, Field(ge=10, description="maximum number of samples to fit on")] = 10_000,
    n_init: Annotated[
        int,
        Field(
            ge=1, description="fits from k-means, of which the best is kept; to choose a number: k-means before one fit"
        ),
    ] = 3,
    seed: Annotated[int, Field(ge=0, description="seed of the drawn samples, the centers and the bootstrap")] = 0,
) -> Result:
    """Fit a Gaussian mixture to whitened principal components of train and validation, and cluster the test split.

    Each test sample joins its most probable cluster. With labels: accuracy under the best one-to-one matching of clusters and
    classes (Hungarian), NMI and ARI. Always: the silhouette, and the number of clusters that the likelihood of the validation
    split would choose.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes, or None.
        split: positions into both.
    """
    training = np.concatenate([split.train, split.validation])
    rows = training
    if len(training) > max_samples:
        rows = np.sort(np.random.default_rng(seed).choice(training, max_samples, replace=False))
    x = _whiten(embeddings, rows, components)

    fitted: dict[int, Any] = {}

    def score(train: np.ndarray, validation: np.ndarray, k: int) -> float:
        if not fitted:  # all numbers are fitted together, to the same samples
            tried = [count for count in CLUSTER_COUNTS if count < len(train)]
            fitted.update(zip(tried, _fit(train, tried, covariance, 1, seed, n_init)))
        return float(fitted[k].score(validation))

    unsupervised_count, scores = choose_cluster_count(score, x, split, seed, MAX_CHOOSING_SAMPLES)
    classes = None if labels is None or ignore_labels else labels[training]
    count, chosen_on = resolve_cluster_count(clusters, classes, unsupervised_count)
    (model,) = _fit(x[rows], [min(count, len(rows))], covariance, n_init, seed)
    result = evaluate_clusters(model.predict(x[split.test]), embeddings, labels, split.test, split, seed)
    notes = []
    if x.shape[1] < embeddings.shape[1]:
        notes.append(f"on {x.shape[1]} principal components of {embeddings.shape[1]} dimensions")
    if len(rows) < len(training):
        choosing = f"their number chosen with {MAX_CHOOSING_SAMPLES:,}"
        notes.append(f"clusters fitted to {len(rows):,} of {len(training):,} samples, {choosing}")
    return replace(
        result,
        chosen={"clusters": count, "clusters_without_labels": unsupervised_count},
        chosen_on=chosen_on,
        table=[{"clusters": k, "validation log-likelihood": value} for k, value in scores.items()],
        notes=[*result.notes, *notes],
    )


def _whiten(embeddings: np.ndarray, rows: np.ndarray, components: int) -> np.ndarray:
    """Return the (N, K) leading principal components of the rows as float32, each with variance 1.

    The equal variances keep the initial k-means from cutting elongated clusters. K is at most `components`, D and the rank of
    the rows.
    """
    mean = embeddings[rows].mean(axis=0, dtype=np.float64)
    values, axes = principal_axes(embeddings[rows] - mean)
    leading = np.flatnonzero(values > 1e-9 * max(values.max(initial=0), 1e-30))[::-1][:components]
    if not len(leading):
        return np.zeros((len(embeddings), 1), np.float32)
    whitening = axes[:, leading] / np.sqrt(values[leading])
    blocks = (embeddings[start : start + 8192] - mean for start in range(0, len(embeddings), 8192))
    return np.concatenate([(block @ whitening).astype(np.float32) for block in blocks])


def _fit(
    rows: np.ndarray, counts: Sequence[int], covariance: str, n_init: int, seed: int, kmeans_runs: int = 1
) -> list[Any]:
    """Fit a mixture of each of `counts` clusters to (N, D) rows.

    Args:
        rows: (N, D) samples.
        counts: numbers of clusters.
        covariance: covariance type of scikit-learn.
        n_init: initializations by k-means, of which the fit with the highest likelihood is kept.
        seed: seed of the initializations.
        kmeans_runs: runs of k-means for an initialization, of which the one with the nearest centers is taken.

    Returns:
        For each number a model with `predict` and `score`, as those of scikit-learn.
    """
    if covariance == "full" and fits_in_memory(rows):
        return _fit_full(rows, counts, n_init, seed, kmeans_runs)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    settings = {"covariance_type": covariance, "reg_covar": REGULARIZATION, "random_state": seed}
    settings["n_init"] = n_init * kmeans_runs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: the metrics show it
        return [GaussianMixture(count, **settings).fit(rows) for count in counts]


def _fit_full(
    rows: np.ndarray, counts: Sequence[int], n_init: int, seed: int, kmeans_runs: int = 1
) -> list[FullMixture]:
    """Fit mixtures of `counts` clusters with full covariances, each from the clusters that k-means finds, as `_fit` does."""
    initial = []
    for count in counts:
        generator = np.random.RandomState(seed)  # shared by the initializations, as in scikit-learn
        initial.append([fit_kmeans(rows, count, kmeans_runs, generator).labels_ for _ in range(n_init)])
    return fit_mixtures(rows, counts, initial)
