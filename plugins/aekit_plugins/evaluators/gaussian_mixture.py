"""Gaussian mixture: clusters of any size and orientation (Dempster, Laird and Rubin, 1977)."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from aekit.nn.low_rank import principal_axes
from aekit.plugin import Field, Result, Split, choose_cluster_count, evaluate_clusters, fit_kmeans

MAX_CHOOSING_SAMPLES = 2500
"""Most samples to choose the number of clusters with: 30 clusters with full covariance take long."""

MAX_QUADRATIC_BYTES = 2**28
"""Memory of the pairwise products of the entries up to which full covariances are fitted by `FullMixture`."""
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
    n_init: Annotated[int, Field(ge=1, description="initializations, of which the best is kept")] = 3,
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

    def score(train: np.ndarray, validation: np.ndarray, k: int) -> float:
        return float(_fit(train, k, covariance, n_init, seed).score(validation))

    unsupervised_count, scores = choose_cluster_count(score, x, split, seed, MAX_CHOOSING_SAMPLES)
    count, chosen_on = clusters, "the option clusters"
    if not count and labels is not None and not ignore_labels:
        count, chosen_on = len(np.unique(labels[training])), "the number of classes"
    elif not count:
        count, chosen_on = unsupervised_count, "validation"
    model = _fit(x[rows], min(count, len(rows)), covariance, n_init, seed)
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


def _fit(rows: np.ndarray, count: int, covariance: str, n_init: int, seed: int) -> Any:
    """Fit a mixture to (N, D) rows; the model has the methods `predict` and `score` of scikit-learn's."""
    if covariance == "full" and len(rows) * _quadratic_width(rows.shape[1]) * 8 <= MAX_QUADRATIC_BYTES:
        return FullMixture(rows, count, n_init, seed)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        count, covariance_type=covariance, reg_covar=REGULARIZATION, n_init=n_init, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: the metrics show it
        return model.fit(rows)


class FullMixture:
    """Gaussian mixture with full covariances: scikit-learn's initialization, steps and stopping rule, in two products a step.

    Log-densities are linear in the entries of a sample and their pairwise products, and so are the sums that new parameters
    are made of. One product of these features for all clusters replaces several for each cluster.

    Args:
        rows: (N, D) samples to fit to.
        count: number of clusters.
        n_init: initializations by k-means, of which the fit with the highest likelihood is kept.
        seed: seed of the initializations.
    """

    def __init__(self, rows: np.ndarray, count: int, n_init: int, seed: int) -> None:
        self.width = rows.shape[1]
        self.upper = torch.triu_indices(self.width, self.width)
        features, generator = self._features(rows), np.random.RandomState(seed)
        fits = [self._maximized(rows, features, count, generator) for _ in range(n_init)]
        _, self.coefficients = max(fits, key=lambda fit: fit[0])

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return (N,) the most probable cluster of each of (N, D) rows."""
        parts = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
        return np.concatenate([(self._features(part) @ self.coefficients).argmax(1).numpy() for part in parts])

    def score(self, rows: np.ndarray) -> float:
        """Return the mean log-likelihood of (N, D) rows."""
        return float((self._features(rows) @ self.coefficients).logsumexp(1).mean())

    def _features(self, rows: np.ndarray) -> Tensor:
        """Return (N, F) float64: 1, the entries and their pairwise products."""
        x = torch.from_numpy(rows.astype(np.float64))
        first, second = self.upper
        return torch.cat([torch.ones(len(x), 1, dtype=x.dtype), x, x[:, first] * x[:, second]], 1)

    def _maximized(
        self, rows: np.ndarray, features: Tensor, count: int, generator: np.random.RandomState
    ) -> tuple[float, Tensor]:
        """Return the last lower bound of the mean log-likelihood, and (F, K) coefficients, from one initialization."""
        labels = torch.from_numpy(fit_kmeans(rows, count, 1, generator).labels_).long()
        coefficients = self._coefficients(one_hot(labels, count).double().T @ features)
        bound = -math.inf
        for _ in range(MAX_ITERATIONS):
            joint = features @ coefficients
            previous, bound = bound, float(joint.logsumexp(1).mean())
            coefficients = self._coefficients(joint.softmax(1).T @ features)
            if abs(bound - previous) < TOLERANCE:
                break
        return bound, coefficients

    def _coefficients(self, sums: Tensor) -> Tensor:
        """Return the (F, K) coefficients of the joint log-densities, given the (K, F) sums of the features in each cluster."""
        width, (first, second) = self.width, self.upper
        sizes = sums[:, 0] + 10 * torch.finfo(sums.dtype).eps
        means = sums[:, 1 : width + 1] / sizes[:, None]  # (K, D)
        moments = sums.new_empty(len(sums), width, width)
        moments[:, first, second] = moments[:, second, first] = sums[:, width + 1 :] / sizes[:, None]
        covariances = moments - means[:, :, None] * means[:, None] + REGULARIZATION * torch.eye(width, dtype=sums.dtype)
        factors = torch.linalg.cholesky(covariances)  # (K, D, D) lower triangular
        precisions = torch.cholesky_inverse(factors)
        linear = (precisions @ means[:, :, None])[..., 0]
        constant = -(linear * means).sum(1) / 2 - width / 2 * math.log(2 * math.pi)
        constant -= factors.diagonal(dim1=1, dim2=2).log().sum(1)
        # Products off the diagonal stand for two entries of the precision.
        quadratic = precisions[:, first, second] * torch.where(first == second, -0.5, -1.0)
        return torch.cat([(constant + (sizes / sizes.sum()).log())[:, None], linear, quadratic], 1).T.contiguous()


def _quadratic_width(width: int) -> int:
    """Return F, the number of a constant, the entries and their pairwise products."""
    return 1 + width + width * (width + 1) // 2
