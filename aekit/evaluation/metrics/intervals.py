"""How sure a figure is: 95 % intervals by the bootstrap over the test samples (Efron & Tibshirani, 1993)."""

from __future__ import annotations

import numpy as np

from aekit.evaluation.results import Metric

RESAMPLES = 1000
_DISTINCT = 64
"""Different scores up to which it is quicker to draw how often each is there than to draw samples."""


def bootstrap(
    scores: np.ndarray,
    *,
    seed: int = 0,
    groups: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Metric:
    """The mean of per-sample scores with its percentile interval.

    Args:
        scores: (N,) one a test sample, such as 1 where the answer was right; NaN-free.
        seed: of the resampling.
        groups: (N,) samples of one group are drawn together, as they do not vary by themselves.
        resamples: data sets drawn, with replacement, each of N samples.
        level: share of the resampled means that lie within the interval.

    Raises:
        ValueError: no scores.
    """
    if not len(scores):
        raise ValueError("no scores to take the mean of")
    scores = np.asarray(scores, np.float64)
    if groups is not None:
        return _by_groups(scores, groups, seed, resamples, level)
    values, counts = np.unique(scores, return_counts=True)
    generator = np.random.default_rng(seed)
    if len(values) > _DISTINCT:
        drawn = (generator.integers(len(scores), size=len(scores)) for _ in range(resamples))
        return _between(scores, np.array([scores[own].mean() for own in drawn]), level)
    # How often each distinct value is drawn is multinomial: for 0/1 scores that is two numbers instead of N.
    often = generator.multinomial(len(scores), counts / len(scores), resamples)
    return _between(scores, often @ values / len(scores), level)


def bootstrap_difference(
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    seed: int = 0,
    groups: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Metric:
    """The mean of `ours - theirs` with its interval, resampling the samples in pairs.

    What makes a test sample hard makes it hard for both, so this tells closer encoders apart than two intervals can.

    Args:
        ours, theirs: (N,) scores of the same samples in the same order.

    Raises:
        ValueError: they are not equally many.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} scores against {len(theirs)}: expected those of the same samples")
    gaps = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    return bootstrap(gaps, seed=seed, groups=groups, resamples=resamples, level=level)


def _by_groups(scores: np.ndarray, groups: np.ndarray, seed: int, resamples: int, level: float) -> Metric:
    """The same where groups of samples are drawn: the mean is a ratio of sums."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.bincount(member, scores)
    generator = np.random.default_rng(seed)
    drawn = [generator.integers(len(sizes), size=len(sizes)) for _ in range(resamples)]
    return _between(scores, np.array([sums[own].sum() / sizes[own].sum() for own in drawn]), level)


def _between(scores: np.ndarray, means: np.ndarray, level: float) -> Metric:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Metric(float(scores.mean()), float(low), float(high))
