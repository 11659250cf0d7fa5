"""State in sentences how an encoder compares with its baselines, and claim no more than the tests show."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from aekit.evaluation.metrics._paired_tests import (
    ComparisonOutcome,
    PairedComparison,
    at_chance,
    intervals_disjoint,
    paired_comparisons,
)
from aekit.evaluation.results import Metric, Result

ENCODER = "encoder"
Severity = Literal["good", "notice", "bad"]
MIN_TEST_SAMPLES = 100
"""Test samples below which an interval is itself a guess."""
CLEAR_MARGIN = 0.1
"""Fraction of the way from guessing to a perfect score: within it a metric is near guessing, beyond it clearly better."""
Results = Mapping[str, Mapping[str, Result]]
Comparisons = Mapping[tuple[str, str], PairedComparison]
OUTCOMES: tuple[ComparisonOutcome, ...] = ("better", "not significantly different", "worse")
_ON_METRICS = {
    "better": "significantly better on",
    "not significantly different": "no significant difference on",
    "worse": "significantly worse on",
}
_THAN_SUBJECTS = {
    "better": "better than",
    "not significantly different": "not significantly different from",
    "worse": "worse than",
}


def primary_metric(result: Result) -> tuple[str, Metric]:
    """Return the name and the value of the metric that tables show."""
    return next(iter(result.metrics.items()))


def comparison_lines(results: Results, comparisons: Comparisons) -> list[str]:
    """Count, for each subject, the metrics on which the encoder is better, not significantly different and worse.

    Args:
        results: subject -> evaluator -> result.
        comparisons: (evaluator, subject) -> comparison of the encoder with that subject.

    Returns:
        Lines such as ``encoder vs raw: significantly better on 2 of 4 metrics, no significant difference on 2 (95%, Holm)``.
    """
    lines = []
    for subject in results:
        pairs = [pair for (_, other), pair in comparisons.items() if other == subject]
        outcomes = [pair.outcome for pair in pairs]
        counts = [f"{_ON_METRICS[outcome]} {outcomes.count(outcome)}" for outcome in OUTCOMES if outcome in outcomes]
        if counts:
            counts[0] += f" of {len(pairs)} metric{'s' if len(pairs) > 1 else ''}"
            method = "Holm" if any(pair.p_value is not None for pair in pairs) else "by intervals"
            lines.append(f"{ENCODER} vs {subject}: {', '.join(counts)} (95%, {method})")
    return lines


def graded_summary(
    results: Results,
    compared_with: Collection[str] = (),
    comparisons: Comparisons | None = None,
    groups: np.ndarray | None = None,
) -> list[tuple[Severity, str]]:
    """Describe each primary metric of the encoder in a sentence or two, each with a severity.

    Args:
        results: subject -> evaluator -> result; the subjects are ``encoder``, other encoders and the baselines.
        compared_with: the subjects that are other encoders.
        comparisons: (evaluator, subject) -> comparison of the encoder with that subject; default: computed from `results`.
        groups: (N3,) groups of the test samples, or None.

    Returns:
        Severity and sentence: ``good``, better than every baseline; ``bad``, no better than random weights by the value itself,
        or no better than guessing; ``notice``, everything in between. The last sentence on an evaluator is its conclusion.
    """
    compared = paired_comparisons(results, ENCODER) if comparisons is None else comparisons
    guessing = at_chance(results, groups)
    related = any(_clearly_above_chance(result) for by_name in results.values() for result in by_name.values())
    sentences: list[tuple[Severity, str]] = []
    for name, result in results.get(ENCODER, {}).items():
        others = {
            subject: by_name[name] for subject, by_name in results.items() if subject != ENCODER and name in by_name
        }
        if unfinished := unconverged(results, name):
            subjects = join_words(unfinished)
            sentences.append(("notice", f"{name}: did not converge for {subjects}, so it allows no conclusion"))
            continue
        outcomes = {subject: compared[name, subject].outcome for subject in others}
        chance = _chance_sentences(name, result, others, guessing, labels_related=related)
        sentences += _sentences(name, result, others, outcomes, compared_with, chance)
    return sentences


def unconverged(results: Results, evaluator: str) -> list[str]:
    """Return the subjects for which an evaluator reports that its fit did not converge."""
    return [
        subject
        for subject, by_name in results.items()
        if evaluator in by_name and by_name[evaluator].chosen.get("converged") is False
    ]


def _sentences(
    name: str,
    result: Result,
    others: Mapping[str, Result],
    outcomes: Mapping[str, ComparisonOutcome],
    compared_with: Collection[str],
    chance: list[tuple[Severity, str]],
) -> list[tuple[Severity, str]]:
    metric, value = primary_metric(result)
    title = f"{name}: {metric.replace('_', ' ')} {value}"
    if not others:
        return [("notice", f"{title}, no baseline to compare with"), *chance]
    parts = []
    for outcome in OUTCOMES:
        subjects = [f"{s} ({primary_metric(others[s])[1].value:.3f})" for s in others if outcomes[s] == outcome]
        if subjects:
            parts.append(f"{_THAN_SUBJECTS[outcome]} {join_words(subjects)}")
    baselines = {subject: outcome for subject, outcome in outcomes.items() if subject not in compared_with}
    best = bool(baselines) and all(outcome == "better" for outcome in baselines.values())
    sentence = f"{title}, {', '.join(parts)}{_overlap(value, others)}"
    sentences: list[tuple[Severity, str]] = [("good" if best else "notice", sentence)]
    if chance:
        return [*sentences, *chance]
    if "random" not in baselines:
        return sentences
    if baselines["random"] != "better":
        sentences.append(_no_better_than_random(name, result, others["random"]))
    elif len(baselines) > 1 and all(outcome != "better" for s, outcome in baselines.items() if s != "random"):
        sentences.append(
            ("notice", f"{name}: better than random weights, but no better than features that need no training")
        )
    return sentences


def _overlap(value: Metric, others: Mapping[str, Result]) -> str:
    """Return which intervals overlap with the encoder's."""
    overlapping = [
        subject for subject, other in others.items() if not intervals_disjoint(value, primary_metric(other)[1])
    ]
    if value.low is None:
        return ""
    if overlapping:
        return f"; the intervals of {join_words([ENCODER, *overlapping])} overlap"
    return "; the intervals do not overlap" if len(others) == 1 else "; no interval overlaps with the encoder's"


def _no_better_than_random(name: str, result: Result, random: Result) -> tuple[Severity, str]:
    """Return a bad finding if the value itself is no higher, and a notice if only the test cannot confirm that it is."""
    sentence = f"{name}: no better than the same encoder with random weights"
    if primary_metric(result)[1].value <= primary_metric(random)[1].value:
        return "bad", f"{sentence}: no sign that training taught it anything"
    return "notice", f"{sentence}, {_as_far_as(result)}"


def _as_far_as(result: Result) -> str:
    count = "these" if result.scores is None else f"{len(result.scores):,}"
    return f"as far as {count} test samples can tell"


def _chance_sentences(
    name: str,
    result: Result,
    others: Mapping[str, Result],
    guessing: Collection[tuple[str, str]],
    *,
    labels_related: bool,
) -> list[tuple[Severity, str]]:
    """Return a sentence if the encoder is no better than guessing.

    Args:
        guessing: each (evaluator, subject) that is not significantly better than guessing.
        labels_related: whether some result, of any subject, shows that the labels are related to the samples.
    """
    if result.chance is None or (name, ENCODER) not in guessing:
        return []
    sentence = f"{name}: no better than guessing ({result.chance:.3f})"
    above = [subject for subject in others if (name, subject) not in guessing]
    if above:
        sentence += f", unlike {join_words(above)}"
    elif others:
        sentence += f", nor is {' or '.join(others)}"
    if not all(_near_chance(tested) for tested in ([result] if above else [result, *others.values()])):
        return [("notice", f"{sentence}, {_as_far_as(result)}")]
    if above:
        return [("bad", sentence)]
    if labels_related:
        return [("notice", sentence)]
    return [("bad", f"{sentence}: the labels seem unrelated to the samples")]


def _near_chance(result: Result) -> bool:
    """Return whether the test samples suffice to tell, and the upper end of the interval is near guessing."""
    value, chance = primary_metric(result)[1], result.chance or 0.0
    return has_enough_samples(result) and (
        value.value if value.high is None else value.high
    ) <= chance + CLEAR_MARGIN * (1 - chance)


def has_enough_samples(result: Result) -> bool:
    """Return whether there are enough test samples to say that something is no better than guessing."""
    return result.scores is None or len(result.scores) >= MIN_TEST_SAMPLES


def _clearly_above_chance(result: Result) -> bool:
    if result.chance is None:
        return False
    value = primary_metric(result)[1]
    lower = value.value if value.low is None else value.low
    return lower > result.chance + CLEAR_MARGIN * (1 - result.chance)


def join_words(words: Sequence[str]) -> str:
    """Join words as in ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
