"""How well scores tell anomalies from normal samples: AUROC, average precision, false alarms, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aekit.evaluation.intervals import RESAMPLES
from aekit.evaluation.results import Metric

FOUND = 0.95
"""Share of the anomalies that must be found where false alarms are counted."""
_AT_ONCE = 2**22
"""Drawn numbers held at a time."""


def detection(
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
    given = np.asarray(scores, np.float64)
    order = np.argsort(-given, kind="stable")
    ranked, truth = given[order], anomalous[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of each group of equal scores
    values = _figures(np.ones((1, len(truth)), np.int32), truth, last)[:, 0]
    draws = _draws(anomalous, seed, resamples)
    drawn = np.concatenate([_figures(weights[:, order], truth, last) for weights in draws], axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    names = ("auroc", "average_precision", "fpr_at_95")
    return {name: Metric(float(values[n]), float(low[n]), float(high[n])) for n, name in enumerate(names)}


def _figures(weights: np.ndarray, truth: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(3, R) figures for R data sets, given how often each of N samples, best first, is in them: (R, N)."""
    hits = np.cumsum(weights * truth, axis=1, dtype=np.int32)[:, last].astype(np.float64)
    alarms = np.cumsum(weights, axis=1, dtype=np.int32)[:, last] - hits
    found, wrong = hits / hits[:, -1:], alarms / alarms[:, -1:]
    before_found = np.concatenate([np.zeros((len(found), 1)), found[:, :-1]], axis=1)
    before_wrong = np.concatenate([np.zeros((len(found), 1)), wrong[:, :-1]], axis=1)
    auroc = ((wrong - before_wrong) * (found + before_found) / 2).sum(1)
    precision = hits / np.maximum(hits + alarms, 1)
    average = ((found - before_found) * precision).sum(1)
    enough = found >= FOUND - 1e-12
    false = wrong[np.arange(len(wrong)), enough.argmax(1)]
    return np.stack([auroc, average, false])


def _draws(truth: np.ndarray, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """(R, N) how often each sample is drawn, a few data sets at a time."""
    generator = np.random.default_rng(seed)
    kinds = [np.flatnonzero(truth), np.flatnonzero(~truth)]
    step = max(1, _AT_ONCE // len(truth))
    for start in range(0, resamples, step):
        weights = np.zeros((min(step, resamples - start), len(truth)), np.int32)
        for row in weights:
            for places in kinds:
                row[places] = np.bincount(generator.integers(len(places), size=len(places)), minlength=len(places))
        yield weights
