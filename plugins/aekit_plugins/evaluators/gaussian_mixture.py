"""Gaussian mixture: clusters of any size and orientation (Dempster, Laird and Rubin, 1977)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

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

MAX_QUADRATIC_BYTES = 2**28
"""Memory of the pairwise products of the entries up to which full covariances are fitted by `fit_mixtures`."""
MAX_RESPONSIBILITIES = 2**22
"""Samples x clusters of the mixtures that are fitted side by side; at least one is."""
MAX_ITERATIONS, TOLERANCE, REGULARIZATION = 100, 1e-3, 1e-3
"""Most steps, the least gain of the mean log-likelihood in one, and what is added to the variances."""
BLOCK = 8192
"""Samples whose clusters are predicted at a time."""


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
    """Fit a mixture of each of `counts` clusters to (N, D) rows; they have `predict` and `score`, as those of scikit-learn."""
    if covariance == "full" and len(rows) * _quadratic_width(rows.shape[1]) * 8 <= MAX_QUADRATIC_BYTES:
        return fit_mixtures(rows, counts, n_init, seed, kmeans_runs)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    settings = {"covariance_type": covariance, "reg_covar": REGULARIZATION, "random_state": seed}
    settings["n_init"] = n_init * kmeans_runs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: the metrics show it
        return [GaussianMixture(count, **settings).fit(rows) for count in counts]


class FullMixture:
    """Gaussian mixture with full covariances; its joint log-densities are linear in the entries of a sample and their products.

    Args:
        coefficients: (F, K) of the log-densities, in the order of `_quadratic_features`.
    """

    def __init__(self, coefficients: Tensor) -> None:
        self.coefficients = coefficients

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return (N,) the most probable cluster of each of (N, D) rows."""
        parts = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
        return np.concatenate([(_quadratic_features(part) @ self.coefficients).argmax(1).numpy() for part in parts])

    def score(self, rows: np.ndarray) -> float:
        """Return the mean log-likelihood of (N, D) rows."""
        return float((_quadratic_features(rows) @ self.coefficients).logsumexp(1).mean())


def fit_mixtures(
    rows: np.ndarray, counts: Sequence[int], n_init: int, seed: int, kmeans_runs: int = 1
) -> list[FullMixture]:
    """Fit mixtures with scikit-learn's initialization, steps and stopping rule, all of them in two products a step.

    The sums that new parameters are made of are linear in the entries and their products too. Products for the clusters of
    all mixtures and initializations together take a third of the time of many narrow ones.

    Args:
        rows: (N, D) samples to fit to.
        counts: number of clusters of each mixture.
        n_init: initializations by k-means, of which the fit with the highest likelihood is kept.
        seed: seed of the initializations.
        kmeans_runs: runs of k-means for an initialization, of which the one with the nearest centers is taken.
    """
    features = _quadratic_features(rows)
    starts = []
    for count in counts:
        generator = np.random.RandomState(seed)
        for _ in range(n_init):
            clusters = torch.from_numpy(fit_kmeans(rows, count, kmeans_runs, generator).labels_).long()
            starts.append(one_hot(clusters, count).to(features.dtype).T @ features)
    fits: list[tuple[float, Tensor]] = []
    most = max(1, MAX_RESPONSIBILITIES // len(rows))
    while len(fits) < len(starts):
        begin, end = len(fits), len(fits) + 1
        while end < len(starts) and sum(map(len, starts[begin : end + 1])) <= most:
            end += 1
        fits += _maximized(features, starts[begin:end], rows.shape[1])
    by_count = [fits[number * n_init : (number + 1) * n_init] for number in range(len(counts))]
    return [FullMixture(max(attempts, key=lambda fit: fit[0])[1]) for attempts in by_count]


def _maximized(features: Tensor, starts: Sequence[Tensor], width: int) -> list[tuple[float, Tensor]]:
    """Maximize the likelihoods of mixtures side by side; each leaves the products when it has converged.

    Args:
        features: (N, F) of the samples.
        starts: for each mixture the (K, F) sums of the features in its clusters.
        width: D.

    Returns:
        For each mixture the last lower bound of its mean log-likelihood and its (F, K) coefficients.
    """
    fits: list[tuple[float, Tensor]] = [(-math.inf, features.new_empty(0))] * len(starts)
    running, sizes = list(range(len(starts))), list(map(len, starts))
    coefficients = _coefficients(torch.cat(list(starts)), sizes, width)
    for iteration in range(MAX_ITERATIONS):
        joint = _product(features, coefficients)
        bounds = []
        for part in joint.split(sizes, 1):  # the responsibilities take the place of the joint log-densities
            highest = part.amax(1, keepdim=True)
            total = part.sub_(highest).exp_().sum(1, keepdim=True)
            part /= total
            bounds.append(float((highest + total.log_()).mean()))
        coefficients = _coefficients(_product(joint.T, features), sizes, width)
        remaining = []
        for number, bound, result in zip(running, bounds, coefficients.split(sizes, 1)):
            converged = abs(bound - fits[number][0]) < TOLERANCE or iteration == MAX_ITERATIONS - 1
            remaining += [] if converged else [(number, result)]
            fits[number] = bound, result
        if not remaining:
            break
        if len(remaining) < len(running):
            running, parts = (list(each) for each in zip(*remaining))
            sizes, coefficients = [part.shape[1] for part in parts], torch.cat(parts, 1)
    return fits


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply (N, F) by (F, K) float64: NumPy's OpenBLAS takes half of the time of the MKL of torch on processors of AMD."""
    return torch.from_numpy(a.numpy() @ b.numpy())


def _quadratic_features(rows: np.ndarray) -> Tensor:
    """Return (N, F) float64: 1, the entries of (N, D) rows and their pairwise products."""
    x = torch.from_numpy(rows.astype(np.float64))
    first, second = torch.triu_indices(rows.shape[1], rows.shape[1])
    return torch.cat([torch.ones(len(x), 1, dtype=x.dtype), x, x[:, first] * x[:, second]], 1)


def _coefficients(sums: Tensor, sizes: Sequence[int], width: int) -> Tensor:
    """Return the (F, K) coefficients of the joint log-densities.

    Args:
        sums: (K, F) sums of the features in the clusters of several mixtures.
        sizes: number of clusters of each mixture.
        width: D.
    """
    first, second = torch.triu_indices(width, width)
    counts = sums[:, 0] + 10 * torch.finfo(sums.dtype).eps
    weights = torch.cat([part / part.sum() for part in counts.split(list(sizes))])
    means = sums[:, 1 : width + 1] / counts[:, None]  # (K, D)
    moments = sums.new_empty(len(sums), width, width)
    moments[:, first, second] = moments[:, second, first] = sums[:, width + 1 :] / counts[:, None]
    covariances = moments - means[:, :, None] * means[:, None] + REGULARIZATION * torch.eye(width, dtype=sums.dtype)
    factors = torch.linalg.cholesky(covariances)  # (K, D, D) lower triangular
    precisions = torch.cholesky_inverse(factors)
    linear = (precisions @ means[:, :, None])[..., 0]
    constant = -(linear * means).sum(1) / 2 - width / 2 * math.log(2 * math.pi)
    constant -= factors.diagonal(dim1=1, dim2=2).log().sum(1)
    # Products off the diagonal stand for two entries of the precision.
    quadratic = precisions[:, first, second] * torch.where(first == second, -0.5, -1.0)
    return torch.cat([(constant + weights.log())[:, None], linear, quadratic], 1).T.contiguous()


def _quadratic_width(width: int) -> int:
    """Return F, the number of a constant, the entries and their pairwise products."""
    return 1 + width + width * (width + 1) // 2
