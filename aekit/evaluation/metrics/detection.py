"""How well scores tell anomalies from normal samples: AUROC, average precision, false alarms, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aekit.evaluation.metrics.intervals import RESAMPLES
from aekit.evaluation.results import Metric

ANOMALY_NAMES = ("auroc", "average_precision", "fpr_at_95")
FOUND = 0.95
"""Share of the anomalies that must be found where false alarms are counted."""
_AT_ONCE = 2**22
"""Drawn numbers held at a time."""


def detection_metrics(
    scores: np.ndarray, anomalous: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Metric]:
    """Figures with percentile intervals by the bootstrap, which draws among the anomalies and among the rest separately.

    Args:
        scores: (N,) finite, higher for what looks more anomalous.
        anomalous: (N,) bool, with at least one of each.
        seed: of the resampling; equal seeds draw the same samples, whatever the scores.
        resamples: data sets drawn.

    Returns:
        ``auroc``, the chance that an anomaly scores above a normal sample, ties half; ``average_precision``, precision
        averaged over the anomalies found; ``fpr_at_95``, the share of normal samples that score at least as high as
        the threshold that finds 95 % of the anomalies. All in 0..1; the last is better when low.

    Raises:
        ValueError: scores of one kind of sample only.
    """
    anomalous = np.asarray(anomalous, bool)
    if anomalous.all() or not anomalous.any():
        raise ValueError("anomalies and normal samples are both needed to tell how well they are told apart")
    ranking = _Ranking(scores, anomalous)
    drawn = [ranking.figures(weights) for weights in _draws(anomalous, seed, resamples)]
    return _metrics(ranking.figures(None)[:, 0], np.concatenate(drawn, axis=1))


def mean_detection_metrics(
    scores: np.ndarray, y_true: np.ndarray, *, seed: int = 0, groups: np.ndarray | None = None, resamples: int = 200
) -> tuple[dict[str, Metric], np.ndarray]:
    """The figures of `detection` for K questions about the same samples, averaged over the questions.

    Args:
        scores: (K, N) finite, higher for what is more likely.
        truth: (K, N) bool; a question whose answer is the same for all samples is left out.
        seed: of the resampling of samples, which are drawn for all questions at once.
        groups: (N,) samples of one group are drawn together.
        resamples: data sets drawn.

    Returns:
        The figures, and (K, 3) those of each question, NaN for one that is left out.

    Raises:
        ValueError: every question is left out.
    """
    y_true = np.asarray(y_true, bool)
    asked = np.flatnonzero(y_true.any(axis=1) & ~y_true.all(axis=1))
    if not len(asked):
        raise ValueError("every question has the same answer for all samples")
    rankings = [_Ranking(scores[k], y_true[k]) for k in asked]
    single = np.full((len(y_true), 3), np.nan)
    single[asked] = [ranking.figures(None)[:, 0] for ranking in rankings]
    drawn = []
    for weights in _plain_draws(y_true.shape[1], groups, seed, resamples):
        every = np.stack([ranking.figures(weights) for ranking in rankings])  # (K, 3, R)
        known = ~np.isnan(every)  # a data set may hold nothing that a question is true of
        drawn.append(np.where(known, every, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan))
    return _metrics(single[asked].mean(axis=0), np.concatenate(drawn, axis=1)), single


def average_precisions(scores: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """(K, N) scores and (K, N) bool -> (K,), NaN where nothing is true or everything is."""
    found = np.full(len(y_true), np.nan)
    for k, own in enumerate(y_true):
        if own.any() and not own.all():
            found[k] = _Ranking(scores[k], own).figures(None)[1, 0]
    return found


class _Ranking:
    """(N,) samples in the order of their scores, the highest first, with (N,) bool what is true of each."""

    def __init__(self, scores: np.ndarray, y_true: np.ndarray) -> None:
        given = np.asarray(scores, np.float64)
        self.order = np.argsort(-given, kind="stable")
        ranked = given[self.order]
        self.truth = y_true[self.order]
        self.last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of each group of equal scores

    def figures(self, weights: np.ndarray | None) -> np.ndarray:
        """(3, R) for R data sets, given how often each sample is in them: (R, N), or None for once each."""
        if weights is None:
            return _figures(np.ones((1, len(self.order)), np.int32), self.truth, self.last)
        return _figures(weights[:, self.order], self.truth, self.last)


def _metrics(values: np.ndarray, drawn: np.ndarray) -> dict[str, Metric]:
    """(3,) figures, and (3, R) those of data sets that were drawn."""
    drawn = np.concatenate([drawn[:, ~np.isnan(drawn).any(axis=0)], values[:, None]], axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    # With few samples the bootstrap's figures may all lie on one side of the figure itself.
    low, high = np.minimum(low, values), np.maximum(high, values)
    return {name: Metric(float(values[n]), float(low[n]), float(high[n])) for n, name in enumerate(ANOMALY_NAMES)}


def _figures(weights: np.ndarray, y_true: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(3, R) figures for R data sets, given how often each of N samples, best first, is in them: (R, N)."""
    hits = np.cumsum(weights * y_true, axis=1, dtype=np.int32)[:, last].astype(np.float64)
    alarms = np.cumsum(weights, axis=1, dtype=np.int32)[:, last] - hits
    some = np.where(hits[:, -1:] > 0, 1, np.nan), np.where(alarms[:, -1:] > 0, 1, np.nan)
    found, wrong = some[0] * hits / np.maximum(hits[:, -1:], 1), some[1] * alarms / np.maximum(alarms[:, -1:], 1)
    before_found = np.concatenate([np.zeros((len(found), 1)), found[:, :-1]], axis=1)
    before_wrong = np.concatenate([np.zeros((len(found), 1)), wrong[:, :-1]], axis=1)
    auroc = ((wrong - before_wrong) * (found + before_found) / 2).sum(1)
    precision = hits / np.maximum(hits + alarms, 1)
    average = ((found - before_found) * precision).sum(1)
    enough = found >= FOUND - 1e-12
    false = wrong[np.arange(len(wrong)), enough.argmax(1)]
    return np.stack([auroc, average, false])


def _draws(y_true: np.ndarray, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """(R, N) how often each sample is drawn, a few data sets at a time."""
    generator = np.random.default_rng(seed)
    kinds = [np.flatnonzero(y_true), np.flatnonzero(~y_true)]
    step = max(1, _AT_ONCE // len(y_true))
    for start in range(0, resamples, step):
        weights = np.zeros((min(step, resamples - start), len(y_true)), np.int32)
        for row in weights:
            for places in kinds:
                row[places] = np.bincount(generator.integers(len(places), size=len(places)), minlength=len(places))
        yield weights


def _plain_draws(count: int, groups: np.ndarray | None, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """(R, N) how often each sample is drawn, a few data sets at a time."""
    generator = np.random.default_rng(seed)
    member = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(member.max()) + 1
    step = max(1, _AT_ONCE // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        rows = [np.bincount(generator.integers(units, size=units), minlength=units) for _ in range(size)]
        yield np.stack(rows).astype(np.int32)[:, member]
