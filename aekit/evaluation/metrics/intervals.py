"""Compute 95% intervals by the bootstrap over the test samples (Efron & Tibshirani, 1993)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aekit.evaluation.results import Metric

RESAMPLES = 1000
_CHUNK = 1 << 20
"""Drawn scores to hold at once: 8 MB of positions and as many of scores."""
_DISTINCT = 64
"""Distinct scores up to which drawing the count of each is faster than drawing samples."""


def bootstrap(
    scores: np.ndarray,
    *,
    seed: int = 0,
    groups: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Metric:
    """Compute the mean of per-sample scores with its percentile interval.

    Args:
        scores: (N,) score of each test sample, such as 1 for a correct prediction, without NaN.
        seed: seed of the resampling.
        groups: (N,) samples of one group are resampled together, as they are not independent.
        resamples: number of data sets of N samples that are drawn with replacement.
        level: fraction of the resampled means within the interval.

    Raises:
        ValueError: no scores.
    """
    if not len(scores):
        raise ValueError("no scores: expected at least one")
    scores = np.asarray(scores, np.float64)
    if groups is not None:
        return _by_groups(scores, groups, seed, resamples, level)
    values, counts = np.unique(scores, return_counts=True)
    generator = np.random.default_rng(seed)
    if len(values) > _DISTINCT:
        means, chunk = np.empty(resamples), max(1, _CHUNK // len(scores))
        for start in range(0, resamples, chunk):
            shape = (min(chunk, resamples - start), len(scores))
            means[start : start + chunk] = scores[generator.integers(len(scores), size=shape)].mean(1)
        return _percentile_interval(scores, means, level)
    # The counts of the distinct values are multinomial: for 0/1 scores two numbers instead of N.
    drawn_counts = generator.multinomial(len(scores), counts / len(scores), resamples)
    return _percentile_interval(scores, drawn_counts @ values / len(scores), level)


def bootstrap_difference(
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    seed: int = 0,
    groups: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Metric:
    """Compute the mean of `ours - theirs` with its interval, resampling the samples in pairs.

    A hard test sample is hard for both, so this detects smaller differences than two separate intervals do.

    Args:
        ours, theirs: (N,) scores of the same samples in the same order.
        seed, groups, resamples, level: as for `bootstrap`.

    Raises:
        ValueError: different numbers of scores.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} scores against {len(theirs)}: expected those of the same samples")
    differences = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    return bootstrap(differences, seed=seed, groups=groups, resamples=resamples, level=level)


def _by_groups(scores: np.ndarray, groups: np.ndarray, seed: int, resamples: int, level: float) -> Metric:
    """Resample groups of samples: the mean is then a ratio of sums."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.bincount(member, scores)
    generator = np.random.default_rng(seed)
    draws = [generator.integers(len(sizes), size=len(sizes)) for _ in range(resamples)]
    return _percentile_interval(scores, np.array([sums[rows].sum() / sizes[rows].sum() for rows in draws]), level)


def _percentile_interval(scores: np.ndarray, means: np.ndarray, level: float) -> Metric:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Metric(float(scores.mean()), float(low), float(high))


def stratified_weights(positive: np.ndarray, seed: int, resamples: int, at_once: int) -> Iterator[np.ndarray]:
    """Draw data sets in which as many samples are positive, and as many negative, as in the original one.

    Args:
        positive: (N,) bool.
        seed: seed of the resampling.
        resamples: number of data sets.
        at_once: how many are yielded at a time.

    Yields:
        (R, N) int32, how often each of R data sets has each sample.
    """
    generator = np.random.default_rng(seed)
    kinds = [places for places in (np.flatnonzero(positive), np.flatnonzero(~positive)) if len(places)]
    for start in range(0, resamples, at_once):
        weights = np.zeros((min(at_once, resamples - start), len(positive)), np.int32)
        for row in weights:
            for places in kinds:
                row[places] = np.bincount(generator.integers(len(places), size=len(places)), minlength=len(places))
        yield weights
