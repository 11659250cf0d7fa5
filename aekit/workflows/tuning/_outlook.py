"""Estimate the optimism about the winner of a search, and the gain from more time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aekit.evaluation.results import Metric

RESAMPLES = 500
LEVEL = 0.95
FRACTION = 0.632
"""Fraction of the samples that a bootstrap sample holds."""


def selection_optimism(scores: np.ndarray, *, seed: int = 0) -> float:
    """Return how much the best of several candidates looks better on the samples that it was chosen by than on others.

    In each bootstrap sample of the validation samples the best candidate is chosen; 0.632 of the difference between its score
    there and on the samples that were not drawn is the optimism (Efron, Estimating the error rate of a prediction rule, 1983).

    Args:
        scores: (K, N) scores of N validation samples by K candidates.
        seed: seed of the resampling.

    Returns:
        the mean; 0 for a single candidate.
    """
    count = scores.shape[1]
    if len(scores) < 2 or count < 2:
        return 0.0
    generator = np.random.default_rng(seed)
    differences = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(count, size=count)
        others = np.bincount(drawn, minlength=count) == 0
        if others.any():
            means = scores[:, drawn].mean(axis=1)
            best = int(means.argmax())
            differences.append(means[best] - scores[best, others].mean())
    return float(FRACTION * np.mean(differences)) if differences else 0.0


@dataclass(frozen=True)
class LearningCurve:
    """The score of one candidate after parts of its training.

    Attributes:
        seconds: (R,) seconds of training.
        values: (R,) scores.
        samples: (R, N) scores of the validation samples, or None.
    """

    seconds: Sequence[float]
    values: Sequence[float]
    samples: np.ndarray | None

    def gain_of_doubling(self, *, bounded: bool, seed: int = 0) -> Metric | None:
        """Return the change of the score that twice the training time is expected to bring.

        Errors (1 minus the score) follow a power law of the time, where scores are at most 1 (Hestness et al., Deep learning
        scaling is predictable, empirically, 2017); other scores a line over the logarithm of the time. The interval is over
        bootstrap samples of the validation samples, so it leaves out whether the law holds.

        Args:
            bounded: whether scores are at most 1.
            seed: seed of the resampling.

        Returns:
            the change and its 95% interval, without one where there are no scores of samples; None below two points.
        """
        if len(self.values) < 2:
            return None
        value = _doubling(np.asarray(self.seconds), np.asarray(self.values), bounded)
        if self.samples is None or self.samples.shape[1] < 2:
            return Metric(value)
        generator = np.random.default_rng(seed)
        count = self.samples.shape[1]
        draws = [self.samples[:, generator.integers(count, size=count)].mean(axis=1) for _ in range(RESAMPLES)]
        gains = [_doubling(np.asarray(self.seconds), drawn, bounded) for drawn in draws]
        low, high = np.quantile(gains, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Metric(value, float(low), float(high))


def gain_of_more_candidates(values: Sequence[float], *, seed: int = 0) -> Metric | None:
    """Return what the second half of the candidates brought: the best of all less the best of a random half.

    Args:
        values: (K,) scores of the candidates.
        seed: seed of the halves.

    Returns:
        the mean gain and its 95% interval over random halves, about an upper bound of what as many candidates more would bring;
        None below four candidates.
    """
    if len(values) < 4:
        return None
    scores = np.asarray(values)
    generator = np.random.default_rng(seed)
    half = len(scores) // 2
    gains = [scores.max() - scores[generator.permutation(len(scores))[:half]].max() for _ in range(RESAMPLES)]
    low, high = np.quantile(gains, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Metric(float(np.mean(gains)), float(low), float(high))


def _doubling(seconds: np.ndarray, values: np.ndarray, bounded: bool) -> float:
    """Return the change of the score from the last point to twice its time."""
    x = np.log2(np.maximum(seconds, 1e-9))
    if bounded:
        errors = np.maximum(1 - values, 1e-6)
        slope = np.polyfit(x, np.log2(errors), 1)[0]
        return float(errors[-1] * (1 - 2.0 ** np.clip(slope, -1, 1)))
    return float(np.polyfit(x, values, 1)[0])
