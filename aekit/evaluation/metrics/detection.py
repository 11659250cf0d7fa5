"""Metrics of anomaly detection with intervals: AUROC, average precision and false positive rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from aekit.evaluation.metrics.intervals import RESAMPLES, stratified_weights
from aekit.evaluation.results import Metric

ANOMALY_NAMES = ("auroc", "average_precision", "fpr_at_95")
RECALL = 0.95
"""Recall at which the false positive rate is measured."""
_AT_ONCE = 2**22
"""Entries of resampling weights in memory at a time."""


def detection_metrics(
    scores: np.ndarray, anomalous: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Metric]:
    """Compute metrics with percentile intervals by the bootstrap, which resamples anomalies and normal samples separately.

    Args:
        scores: (N,) finite scores, higher for more anomalous samples.
        anomalous: (N,) bool, with at least one of each.
        seed: seed of the resampling; equal seeds draw the same samples, whatever the scores.
        resamples: number of resampled data sets.

    Returns:
        ``auroc``, the probability that an anomaly scores above a normal sample, ties counting half; ``average_precision``, the
        precision averaged over the anomalies; ``fpr_at_95``, the fraction of normal samples that score at least as high as the
        threshold with a recall of 95%. All in 0..1; for the last, lower is better.

    Raises:
        ValueError: only anomalies, or only normal samples.
    """
    return detection_metrics_by_score({"": scores}, anomalous, seed=seed, resamples=resamples)[""]


def detection_metrics_by_score(
    scores: Mapping[str, np.ndarray], anomalous: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict[str, Metric]]:
    """Compute `detection_metrics` of several scores of the same samples, by name; the resampled data sets are drawn once."""
    anomalous = np.asarray(anomalous, bool)
    if anomalous.all() or not anomalous.any():
        raise ValueError("expected both anomalies and normal samples")
    rankings = {name: _Ranking(values, anomalous) for name, values in scores.items()}
    resampled: dict[str, list[np.ndarray]] = {name: [] for name in scores}
    at_once = max(1, _AT_ONCE // len(anomalous))
    for weights in stratified_weights(anomalous, seed, resamples, at_once):
        by_sample = np.ascontiguousarray(weights.T)
        for name, ranking in rankings.items():
            resampled[name].append(ranking.metrics(by_sample))
    return {
        name: _with_intervals(ranking.metrics(None)[:, 0], np.concatenate(resampled[name], axis=1))
        for name, ranking in rankings.items()
    }


def mean_detection_metrics(
    scores: np.ndarray, y_true: np.ndarray, *, seed: int = 0, groups: np.ndarray | None = None, resamples: int = 200
) -> tuple[dict[str, Metric], np.ndarray]:
    """Average the metrics of `detection_metrics` over K binary targets of the same samples.

    Args:
        scores: (K, N) finite scores, higher for a likelier target.
        y_true: (K, N) bool; targets that are equal for all samples are skipped.
        seed: seed of the resampling; samples are drawn for all targets at once.
        groups: (N,) samples of one group are resampled together.
        resamples: number of resampled data sets.

    Returns:
        The metrics, and (K, 3) those of each target, NaN for one that is skipped.

    Raises:
        ValueError: every target is skipped.
    """
    y_true = np.asarray(y_true, bool)
    used = np.flatnonzero(y_true.any(axis=1) & ~y_true.all(axis=1))
    if not len(used):
        raise ValueError("every target is equal for all samples")
    rankings = [_Ranking(scores[k], y_true[k]) for k in used]
    by_target = np.full((len(y_true), 3), np.nan)
    by_target[used] = [ranking.metrics(None)[:, 0] for ranking in rankings]
    resampled = []
    for weights in _sample_weights(y_true.shape[1], groups, seed, resamples):
        by_sample = np.ascontiguousarray(weights.T)
        values = np.stack([ranking.metrics(by_sample) for ranking in rankings])  # (K, 3, R)
        known = ~np.isnan(values)  # a resampled data set may hold no positive sample of a target
        resampled.append(
            np.where(known, values, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        )
    return _with_intervals(by_target[used].mean(axis=0), np.concatenate(resampled, axis=1)), by_target


def average_precisions(scores: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Return (K,) average precisions of (K, N) scores for (K, N) bool, NaN if all of a row are equal."""
    precisions = np.full(len(y_true), np.nan)
    for k, positives in enumerate(y_true):
        if positives.any() and not positives.all():
            precisions[k] = _Ranking(scores[k], positives).metrics(None)[1, 0]
    return precisions


class _Ranking:
    """Samples in the order of their scores, the highest first.

    Metrics change at positive samples alone: of the negative ones, their number between neighboring positive samples suffices.
    """

    def __init__(self, scores: np.ndarray, y_true: np.ndarray) -> None:
        falling = -np.asarray(scores, np.float64)
        order = np.argsort(falling, kind="stable")
        self.positives, self.negatives = order[y_true[order]], order[~y_true[order]]
        values, self.firsts = np.unique(falling[self.positives], return_index=True)  # of groups of equal scores
        above = np.searchsorted(falling[self.negatives], values, "left")
        through = np.searchsorted(falling[self.negatives], values, "right")
        self.edges = np.unique(np.concatenate([[0], above, through, [len(self.negatives)]]))
        self.above, self.through = np.searchsorted(self.edges, above), np.searchsorted(self.edges, through)

    def metrics(self, weights: np.ndarray | None) -> np.ndarray:
        """Return (3, R) metrics of R data sets, given (N, R) how often each sample is in them, or None for once each.

        They are NaN where a data set has no positive sample, and those that need a negative one where it has none.
        """
        if weights is None:
            weights = np.ones((len(self.positives) + len(self.negatives), 1), np.int32)
        hits = np.add.reduceat(weights[self.positives], self.firsts, axis=0)
        between = np.add.reduceat(weights[self.negatives], self.edges[:-1], axis=0)
        alarms = np.concatenate([np.zeros_like(between[:1]), np.cumsum(between, axis=0, dtype=np.int32)])
        recalled = np.cumsum(hits, axis=0, dtype=np.int32)
        positives, negatives = (np.where(count[-1] > 0, count[-1], np.nan) for count in (recalled, alarms))
        above, through = alarms[self.above], alarms[self.through]
        auroc = 1 - (hits * ((above + through) / 2)).sum(axis=0) / (positives * negatives)
        precision = recalled / np.maximum(recalled + through, 1)
        average_precision = (hits * precision).sum(axis=0) / positives
        reached = recalled >= (RECALL - 1e-12) * recalled[-1]
        fpr = through[reached.argmax(axis=0), np.arange(through.shape[1])] / negatives
        return np.stack([auroc, average_precision, np.where(np.isnan(positives), np.nan, fpr)])


def _with_intervals(values: np.ndarray, resampled: np.ndarray) -> dict[str, Metric]:
    """Combine (3,) metrics and (3, R) those of resampled data sets."""
    resampled = np.concatenate([resampled[:, ~np.isnan(resampled).any(axis=0)], values[:, None]], axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    # With few samples all resampled values may lie on one side of the value itself.
    low, high = np.minimum(low, values), np.maximum(high, values)
    return {name: Metric(float(values[n]), float(low[n]), float(high[n])) for n, name in enumerate(ANOMALY_NAMES)}


def _sample_weights(count: int, groups: np.ndarray | None, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield (R, N) how often each sample is drawn, a few data sets at a time."""
    generator = np.random.default_rng(seed)
    member = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(member.max()) + 1
    step = max(1, _AT_ONCE // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        rows = [np.bincount(generator.integers(units, size=units), minlength=units) for _ in range(size)]
        yield np.stack(rows).astype(np.int32)[:, member]
