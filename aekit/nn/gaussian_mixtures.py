"""Mixtures of Gaussians with full covariances, of which several are fitted in the same matrix products.

The log-density of a Gaussian is linear in the entries of a sample and their pairwise products. So the densities of all clusters
of all mixtures are one product of these features with coefficients, and the sums that make new coefficients are another. Two
wide products a step take a third of the time of many narrow ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

MAX_FEATURE_BYTES = 2**28
"""Most memory of the features of all samples for which `fits_in_memory` is true."""
MAX_RESPONSIBILITIES = 2**22
"""Samples x clusters of the mixtures that are fitted side by side; at least one is."""
MAX_ITERATIONS = 100
"""Most steps of a fit."""
TOLERANCE = 1e-3
"""Gain of the mean log-likelihood in a step below which a fit ends."""
REGULARIZATION = 1e-3
"""What is added to the variances."""
BLOCK = 8192
"""Samples whose clusters are predicted at a time."""


class FullMixture:
    """Mixture of K Gaussians with full covariances.

    Args:
        coefficients: (F, K) of the joint log-densities, in the order of the features.
    """

    def __init__(self, coefficients: Tensor) -> None:
        self.coefficients = coefficients

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return (N,) the most probable cluster of each of (N, D) rows."""
        parts = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
        return np.concatenate([(_features(part) @ self.coefficients).argmax(1).numpy() for part in parts])

    def score(self, rows: np.ndarray) -> float:
        """Return the mean log-likelihood of (N, D) rows."""
        return float((_features(rows) @ self.coefficients).logsumexp(1).mean())


def fits_in_memory(rows: np.ndarray) -> bool:
    """Return whether the features of (N, D) rows take little enough memory for `fit_mixtures`."""
    width = rows.shape[1]
    feature_count = 1 + width + width * (width + 1) // 2
    return len(rows) * feature_count * 8 <= MAX_FEATURE_BYTES


def fit_mixtures(rows: np.ndarray, counts: Sequence[int], initial: Sequence[Sequence[np.ndarray]]) -> list[FullMixture]:
    """Fit mixtures by expectation maximization, with the steps and the stopping rule of scikit-learn's GaussianMixture.

    Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM algorithm, 1977.

    Args:
        rows: (N, D) samples to fit to.
        counts: number of clusters K of each mixture.
        initial: for each mixture the (N,) cluster numbers, below K, that its fits start from. The fit with the highest
            likelihood is kept.
    """
    features = _features(rows)
    starts = [
        one_hot(torch.from_numpy(clusters).long(), count).to(features.dtype).T @ features
        for count, clusterings in zip(counts, initial)
        for clusters in clusterings
    ]
    side_by_side = _groups(starts, max(1, MAX_RESPONSIBILITIES // len(rows)))
    fits = iter([fit for group in side_by_side for fit in _maximize(features, group, rows.shape[1])])
    best = [max((next(fits) for _ in clusterings), key=lambda fit: fit.bound) for clusterings in initial]
    return [FullMixture(fit.coefficients) for fit in best]


class _Fit(NamedTuple):
    """State of a fit: the lower bound of its mean log-likelihood, and its (F, K) coefficients."""

    bound: float
    coefficients: Tensor


def _groups(starts: Sequence[Tensor], max_clusters: int) -> Iterator[list[Tensor]]:
    """Yield successive starts (K, F) with at most `max_clusters` clusters together, or one with more."""
    group: list[Tensor] = []
    for start in starts:
        if group and sum(map(len, group)) + len(start) > max_clusters:
            yield group
            group = []
        group.append(start)
    if group:
        yield group


def _maximize(features: Tensor, starts: Sequence[Tensor], width: int) -> list[_Fit]:
    """Maximize the likelihoods of mixtures side by side; each leaves the products when it has converged.

    Args:
        features: (N, F) of the samples.
        starts: for each mixture the (K, F) sums of the features in its clusters.
        width: D.
    """
    fits = [_Fit(-math.inf, features.new_empty(0)) for _ in starts]
    running, sizes = list(range(len(starts))), list(map(len, starts))
    coefficients = _coefficients(torch.cat(list(starts)), sizes, width)
    for iteration in range(MAX_ITERATIONS):
        joint = _product(features, coefficients)
        bounds = [_turn_into_responsibilities(part) for part in joint.split(sizes, 1)]
        coefficients = _coefficients(_product(joint.T, features), sizes, width)
        remaining = []
        for number, bound, result in zip(running, bounds, coefficients.split(sizes, 1)):
            converged = abs(bound - fits[number].bound) < TOLERANCE or iteration == MAX_ITERATIONS - 1
            remaining += [] if converged else [(number, result)]
            fits[number] = _Fit(bound, result)
        if not remaining:
            break
        if len(remaining) < len(running):
            running, parts = (list(each) for each in zip(*remaining))
            sizes, coefficients = [part.shape[1] for part in parts], torch.cat(parts, 1)
    return fits


def _turn_into_responsibilities(joint: Tensor) -> float:
    """Turn (N, K) joint log-densities in place into responsibilities, and return the mean log-likelihood."""
    highest = joint.amax(1, keepdim=True)
    total = joint.sub_(highest).exp_().sum(1, keepdim=True)
    joint /= total
    return float((highest + total.log_()).mean())


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply (N, F) by (F, K) float64: NumPy's OpenBLAS takes half of the time of the MKL of torch on processors of AMD."""
    return torch.from_numpy(a.numpy() @ b.numpy())


def _features(rows: np.ndarray) -> Tensor:
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
