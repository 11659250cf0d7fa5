"""Answer in one sentence whether an encoder is better than its baselines."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from aekit.evaluation.metrics._paired_tests import PairedComparison, at_chance
from aekit.evaluation.summary import ENCODER, Results, has_enough_samples, join_words, unconverged

EVALUATOR_TITLES = {
    "probe": "the linear probe",
    "knn": "k-nearest neighbors",
    "few-labels": "few-label classification",
    "anomaly": "anomaly detection",
    "kmeans": "k-means clustering",
    "gaussian-mixture": "Gaussian mixtures",
    "hdbscan": "HDBSCAN clustering",
    "svm": "the SVM",
    "mlp-head": "the MLP head",
}
"""Evaluator -> its name within a sentence; others go by their own names."""
MAX_CLAUSES = 3
TOO_FEW = "too few test samples to tell from guessing"
"""Clause on a result that is not significantly better than guessing, where that says nothing."""


def headline(
    results: Results,
    compared_with: Collection[str],
    comparisons: Mapping[tuple[str, str], PairedComparison],
    test_samples: int,
    titles: Mapping[str, str] | None = None,
    groups: np.ndarray | None = None,
) -> str:
    """Say in one sentence on which evaluators the encoder is better than its baselines, and on which it is not.

    Args:
        results: subject -> evaluator -> result.
        compared_with: the subjects that are other encoders; besides baselines, only those with a title are considered.
        comparisons: (evaluator, subject) -> comparison of the encoder with that subject.
        test_samples: number of test samples.
        titles: subject -> its name within the sentence; default: the subject.
        groups: (N3,) groups of the test samples, or None.
    """
    guessing = at_chance(results, groups)
    evaluators = results.get(ENCODER, {})
    if not evaluators:
        return "Nothing was evaluated."
    baselines = [subject for subject in results if subject != ENCODER and subject not in compared_with]
    others = baselines or list(compared_with)
    names = {subject: (titles or {}).get(subject, subject) for subject in others}
    sentences = _sentences(results, names, comparisons, guessing)
    if baselines:  # a pretrained network answers another question: whether to train at all
        pretrained = {subject: titles[subject] for subject in compared_with if titles and subject in titles}
        sentences += _sentences(results, pretrained, comparisons, frozenset()) if pretrained else []
    if not others:
        sentences.append("no baseline to compare with, so the values alone do not show how good the embeddings are")
    sentence = "; ".join(sentences) or "no evaluator has a baseline to compare with"
    return f"{sentence[0].upper()}{sentence[1:]} ({test_samples:,} test samples)."


def _sentences(
    results: Results,
    names: Mapping[str, str],
    comparisons: Mapping[tuple[str, str], PairedComparison],
    guessing: Collection[tuple[str, str]],
) -> list[str]:
    """Return clauses on how the encoder compares with some subjects, each with the evaluators that it holds for.

    Args:
        results: subject -> evaluator -> result.
        names: subject -> its name within a sentence.
        comparisons: (evaluator, subject) -> comparison of the encoder with that subject.
        guessing: each (evaluator, subject) that is not significantly better than guessing.
    """
    clauses: dict[str, list[str]] = {}
    outcomes_by_group = {"better": 0, "not significantly different": 0, "worse": 0, "chance": 0, "unknown": 0}
    for evaluator, result in results[ENCODER].items():
        if unconverged(results, evaluator):
            continue
        outcomes = {s: comparisons[evaluator, s].outcome for s in names if (evaluator, s) in comparisons}
        group, clause = _clause(outcomes, names, chance=(evaluator, ENCODER) in guessing)
        if group == "chance" and not has_enough_samples(result):
            group, clause = "unknown", TOO_FEW
        if clause:
            clauses.setdefault(clause, []).append(EVALUATOR_TITLES.get(evaluator, evaluator))
            outcomes_by_group[group] += 1
    order = ("better than", "no significant difference", "worse than", "no better than guessing", TOO_FEW)
    sentences = [
        f"{clause} on {join_words(clauses[clause])}"
        for start in order
        for clause in clauses
        if clause.startswith(start)
    ]
    if len(sentences) > MAX_CLAUSES:
        return _counted(outcomes_by_group, sum(outcomes_by_group.values()))
    return sentences


def _clause(outcomes: Mapping[str, str], names: Mapping[str, str], *, chance: bool) -> tuple[str, str]:
    """Return the group that one evaluator's outcomes fall into, and how a clause about it begins; "" for nothing to say."""
    if chance:
        return "chance", "no better than guessing"
    if not outcomes:
        return "", ""
    worse = [names[subject] for subject, outcome in outcomes.items() if outcome == "worse"]
    equal = [names[subject] for subject, outcome in outcomes.items() if outcome == "not significantly different"]
    if worse:
        return "worse", f"worse than {join_words(worse)}"
    if equal:
        return "not significantly different", f"no significant difference from {join_words(equal)}"
    return "better", f"better than {join_words([names[subject] for subject in outcomes])}"


def _counted(counts: Mapping[str, int], total: int) -> list[str]:
    """Return the clauses where there are too many to name every evaluator."""
    clauses = {
        "better": "better than every baseline",
        "not significantly different": "no significant difference from at least one baseline",
        "worse": "worse than at least one baseline",
        "chance": "no better than guessing",
        "unknown": TOO_FEW,
    }
    parts = [f"{clauses[group]} on {count}" for group, count in counts.items() if count]
    return [f"{parts[0]} of {total} metrics", *parts[1:]]
