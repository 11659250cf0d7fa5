"""Which differences between an encoder and what stands beside it are real: paired tests, corrected for how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aekit.evaluation.metrics.intervals import bootstrap_difference
from aekit.evaluation.results import Metric, Result

LEVEL = 0.05
ComparisonOutcome = Literal["better", "not significantly different", "worse"]


@dataclass(frozen=True)
class PairedComparison:
    """An encoder beside another subject, by the first metric of one evaluator.

    Attributes:
        gap: mean of the encoder's scores minus the other's, with its 95 % interval; None where there are no such scores.
        p: chance of a gap as large if there were none, corrected for all pairs that were tested (Holm, 1979); None where
            there are no scores of the same samples.
        word: where the encoder stands. Without scores, by whether the intervals overlap.
    """

    difference: Metric | None
    p_value: float | None
    outcome: ComparisonOutcome


def paired_comparisons(
    results: Mapping[str, Mapping[str, Result]], own: str, groups: np.ndarray | None = None
) -> dict[tuple[str, str], PairedComparison]:
    """Evaluator and subject -> how the encoder stands beside it.

    Args:
        results: subject -> evaluator -> what it found.
        own: the subject that is compared with the others.
        groups: (N3,) of the test samples, or None.
    """
    places = [
        (evaluator, subject)
        for evaluator in results.get(own, {})
        for subject, found in results.items()
        if subject != own and evaluator in found
    ]
    scores = {}
    for evaluator, subject in places:
        ours, theirs = results[own][evaluator].scores, results[subject][evaluator].scores
        if ours is not None and theirs is not None and len(ours) == len(theirs):
            together = groups if groups is not None and len(groups) == len(ours) else None
            scores[evaluator, subject] = ours, theirs, together
    corrected = dict(zip(scores, holm_correction([paired_p_value(*both) for both in scores.values()])))
    found = {}
    for place in places:
        figure, other = (next(iter(results[who][place[0]].metrics.values())) for who in (own, place[1]))
        if place in scores:
            gap = bootstrap_difference(*scores[place][:2], groups=scores[place][2])
            real = corrected[place] < LEVEL
        else:
            gap, real = None, _apart(figure, other)
        word: ComparisonOutcome = (
            ("better" if figure.value > other.value else "worse") if real else "not significantly different"
        )
        found[place] = PairedComparison(gap, corrected.get(place), word)
    return found


def paired_p_value(ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Chance of a mean difference as large between two sets of scores, if they differed by luck alone.

    For right and wrong answers McNemar's exact test (1947); otherwise the paired t-test, over groups where there are any.

    Args:
        ours, theirs: (N,) scores of the same samples.
        groups: (N,) samples of one group do not vary by themselves.
    """
    from scipy.stats import binomtest, t

    gaps = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    if groups is None and np.isin(gaps, (-1, 0, 1)).all():
        differing = int(np.count_nonzero(gaps))
        return float(binomtest(int((gaps > 0).sum()), differing).pvalue) if differing else 1.0
    member = np.arange(len(gaps)) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(member.max()) + 1
    mean = gaps.mean()
    residues = np.bincount(member, gaps - mean)  # by group; the gap is a ratio of sums
    deviation = np.sqrt(np.square(residues).sum() * units / max(1, units - 1)) / len(gaps)
    if deviation <= 1e-15 or units < 2:
        return 1.0 if abs(mean) <= 1e-15 or units < 2 else 0.0
    return float(2 * t.sf(abs(mean) / deviation, units - 1))


def holm_correction(p: list[float]) -> list[float]:
    """P-values corrected for how many there are: the chance that any true null is rejected stays below the level."""
    order = np.argsort(p, kind="stable")
    corrected, highest = [1.0] * len(p), 0.0
    for place, number in enumerate(order):
        highest = max(highest, min(1.0, p[number] * (len(p) - place)))
        corrected[number] = highest
    return corrected


def _apart(a: Metric, b: Metric) -> bool:
    """Return whether two intervals are disjoint; without both intervals nothing is significant."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low > b.high or b.low > a.high
