"""Test which differences between an encoder and other subjects are significant, corrected for the number of tests."""

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
    """Comparison of an encoder with another subject on the primary metric of one evaluator.

    Attributes:
        difference: mean of the encoder's scores minus the other's, with its 95% interval; None without such scores.
        p_value: probability of a difference as large under the null hypothesis, corrected for all tests (Holm, 1979); None
            without scores of the same samples.
        outcome: of the encoder. Without scores it depends on whether the intervals overlap; without intervals nothing is
            significant.
    """

    difference: Metric | None
    p_value: float | None
    outcome: ComparisonOutcome


def paired_comparisons(
    results: Mapping[str, Mapping[str, Result]], subject: str, groups: np.ndarray | None = None
) -> dict[tuple[str, str], PairedComparison]:
    """Compare one subject with all others on the primary metric of each evaluator.

    Args:
        results: subject -> evaluator -> result.
        subject: the subject that is compared with the others.
        groups: (N3,) groups of the test samples, or None.

    Returns:
        (evaluator, other subject) -> comparison.
    """
    pairs = [
        (evaluator, other)
        for evaluator in results.get(subject, {})
        for other, by_name in results.items()
        if other != subject and evaluator in by_name
    ]
    scores = {}
    for evaluator, other in pairs:
        ours, theirs = results[subject][evaluator].scores, results[other][evaluator].scores
        if ours is not None and theirs is not None and len(ours) == len(theirs):
            members = groups if groups is not None and len(groups) == len(ours) else None
            scores[evaluator, other] = ours, theirs, members
    p_values = dict(zip(scores, holm_correction([paired_p_value(*pair) for pair in scores.values()])))
    comparisons = {}
    for pair in pairs:
        value, reference = (next(iter(results[name][pair[0]].metrics.values())) for name in (subject, pair[1]))
        if pair in scores:
            difference = bootstrap_difference(*scores[pair][:2], groups=scores[pair][2])
            significant = p_values[pair] < LEVEL
        else:
            difference, significant = None, intervals_disjoint(value, reference)
        outcome: ComparisonOutcome = "not significantly different"
        if significant:
            outcome = "better" if value.value > reference.value else "worse"
        comparisons[pair] = PairedComparison(difference, p_values.get(pair), outcome)
    return comparisons


def at_chance(results: Mapping[str, Mapping[str, Result]], groups: np.ndarray | None = None) -> set[tuple[str, str]]:
    """Return each (evaluator, subject) whose primary metric is not significantly better than guessing.

    The p-values of a subject are corrected for the number of its evaluators (Holm, 1979). A metric without scores of the test
    samples is compared by its interval.

    Args:
        results: subject -> evaluator -> result.
        groups: (N3,) groups of the test samples, or None.
    """
    none_better = set()
    for subject, by_name in results.items():
        tested = {name: result for name, result in by_name.items() if result.chance is not None}
        p_values = {name: p for name, result in tested.items() if (p := chance_p_value(result, groups)) is not None}
        corrected = dict(zip(p_values, holm_correction(list(p_values.values()))))
        for name, result in tested.items():
            value = next(iter(result.metrics.values()))
            lower = value.value if value.low is None else value.low
            guessing = corrected[name] >= LEVEL if name in corrected else lower <= (result.chance or 0.0)
            none_better |= {(name, subject)} if guessing else set()
    return none_better


def chance_p_value(result: Result, groups: np.ndarray | None = None) -> float | None:
    """Return the two-sided p-value of a metric that is better than guessing, 1 for one that is worse; None without scores.

    Uses the exact binomial test for scores of 0 and 1, and otherwise the t-test, over groups where there are any.

    Args:
        result: its primary metric must be the mean of its scores.
        groups: (N3,) group of each test sample; samples of one group are not independent.
    """
    from scipy.special import bdtrc  # the functions of scipy.stats, whose import takes a second

    scores, chance = result.scores, result.chance
    value = next(iter(result.metrics.values())).value
    if scores is None or chance is None or not len(scores) or abs(float(np.mean(scores)) - value) > 1e-6:
        return None
    members = groups if groups is not None and len(groups) == len(scores) else None
    if members is None and np.isin(scores, (0, 1)).all():
        return min(1.0, 2 * float(bdtrc(scores.sum() - 1, len(scores), chance)))
    return paired_p_value(scores, np.full(len(scores), chance), members) if value > chance else 1.0


def paired_p_value(ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Return the p-value of the difference between the means of two sets of scores.

    Uses McNemar's exact test (1947) for scores of 0 and 1, and otherwise the paired t-test, over groups where there are any.

    Args:
        ours, theirs: (N,) scores of the same samples.
        groups: (N,) group of each sample; samples of one group are not independent.
    """
    from scipy.special import bdtr, stdtr

    differences = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    if groups is None and np.isin(differences, (-1, 0, 1)).all():
        differing = int(np.count_nonzero(differences))
        fewer = min(np.count_nonzero(differences > 0), np.count_nonzero(differences < 0))
        return min(1.0, 2 * float(bdtr(fewer, differing, 0.5))) if differing else 1.0
    member = np.arange(len(differences)) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(member.max()) + 1
    mean = differences.mean()
    residues = np.bincount(member, differences - mean)  # by group; the difference is a ratio of sums
    deviation = np.sqrt(np.square(residues).sum() * units / max(1, units - 1)) / len(differences)
    if deviation <= 1e-15 or units < 2:
        return 1.0 if abs(mean) <= 1e-15 or units < 2 else 0.0
    return float(2 * stdtr(units - 1, -abs(mean) / deviation))


def holm_correction(p: list[float]) -> list[float]:
    """Correct p-values for their number, so that the chance of rejecting any true null stays below the level (Holm, 1979)."""
    order = np.argsort(p, kind="stable")
    corrected, highest = [1.0] * len(p), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, p[place] * (len(p) - rank)))
        corrected[place] = highest
    return corrected


def intervals_disjoint(a: Metric, b: Metric) -> bool:
    """Return whether two intervals do not overlap; False if one of them is missing."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low > b.high or b.low > a.high
