"""How sure a figure is: 95 % intervals by the bootstrap over the test samples (Efron & Tibshirani, 1993)."""

from __future__ import annotations

import numpy as np

from aekit.evaluation.results import Metric

RESAMPLES = 1000
_AT_ONCE = 2**22
"""Drawn numbers held at a time."""


def bootstrap(scores: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95) -> Metric:
    """The mean of per-sample scores with its percentile interval.

    Args:
        scores: (N,) one a test sample, such as 1 where the answer was right; NaN-free.
        seed: of the resampling.
        resamples: data sets drawn, with replacement, each of N samples.
        level: share of the resampled means that lie within the interval.

    Raises:
        ValueError: no scores.
    """
    if not len(scores):
        raise ValueError("no scores to take the mean of")
    scores = np.asarray(scores, np.float64)
    # How often each distinct value is drawn is multinomial: for 0/1 scores that is two numbers instead of N.
    values, counts = np.unique(scores, return_counts=True)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _AT_ONCE // len(values))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.multinomial(len(scores), counts / len(scores), size)
        means[start : start + size] = drawn @ values / len(scores)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Metric(float(scores.mean()), float(low), float(high))


def difference(
    ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = 0.95
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
    return bootstrap(gaps, seed=seed, resamples=resamples, level=level)
