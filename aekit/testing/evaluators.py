"""Check evaluators on embeddings of known quality."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aekit.evaluation.results import Result, Split, as_result
from aekit.registry.discovery import Plugin
from aekit.registry.options import validate_options
from aekit.testing.kit import Case, NotApplicableError, check, leaves_global_state_alone
from aekit.testing.samples import blobs

COUNT, CLASSES = 150, 3


class EvaluatorCase(Case):
    """An evaluator, with embeddings of three classes and a split of them."""

    def __init__(self, plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path) -> None:
        super().__init__(plugin, name, options, folder)
        self.embeddings, self.labels = blobs(COUNT, CLASSES)
        order = np.random.default_rng(0).permutation(COUNT)
        self.split = Split(order[:80], order[80:110], order[110:], "made by the kit")

    @property
    def needs_labels(self) -> bool:
        return "labels" in self.plugin.entry.tags

    def evaluate(self, embeddings: np.ndarray | None = None, labels: np.ndarray | None = None) -> Result:
        """Call it as `aekit evaluate` does."""
        inputs = self.embeddings if embeddings is None else embeddings
        named = self.labels if labels is None else labels
        returned = self.code(inputs, named, self.split, **validate_options(self.plugin, self.options))
        assert isinstance(returned, Result), f"gives a {type(returned).__name__}: expected an aekit.plugin.Result"
        return as_result(returned, str(self.plugin), self.split)


def evaluator_cases(plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path) -> list[EvaluatorCase]:
    return [EvaluatorCase(plugin, name, options, folder)]


@check("evaluator")
def result(case: EvaluatorCase) -> None:
    """it returns a Result whose metrics are finite and within their intervals; the mean of its scores is the first metric"""
    result = case.evaluate()
    for name, metric in result.metrics.items():
        low, high = (metric.value if end is None else end for end in (metric.low, metric.high))
        assert low <= metric.value <= high, (
            f"{name} is {metric.value:.4g}, outside its interval {low:.4g} to {high:.4g}"
        )
    assert result.chance is None or math.isfinite(result.chance), (
        f"chance is {result.chance!r}: expected a number or None"
    )
    assert all(isinstance(note, str) and "\n" not in note for note in result.notes), f"notes are {result.notes!r}"
    if result.scores is not None:
        (name, first), *_ = result.metrics.items()
        mean = float(np.mean(result.scores))
        assert math.isclose(mean, first.value, abs_tol=1e-6), (
            f"the mean of the scores is {mean:.6g}, {name} is {first.value:.6g}"
        )


@check("evaluator")
def result_same_every_time(case: EvaluatorCase) -> None:
    """it computes the same twice, whatever the global random states, and does not change those"""
    results = []
    for seed in (1, 2):
        np.random.seed(seed)
        with leaves_global_state_alone("evaluating"):
            results.append(case.evaluate())
    first, second = ({name: (m.value, m.low, m.high) for name, m in one.metrics.items()} for one in results)
    changed = [name for name in first if first[name] != second.get(name)]
    assert not changed, (
        f"{changed[0]} is {results[0].metrics[changed[0]]} the first time, then {results[1].metrics[changed[0]]}"
    )
    assert dict(results[0].chosen) == dict(results[1].chosen), f"chooses {results[0].chosen}, then {results[1].chosen}"


@check("evaluator")
def inputs_untouched(case: EvaluatorCase) -> None:
    """it changes neither the embeddings nor the labels, and accepts read-only arrays"""
    embeddings, labels = case.embeddings.copy(), case.labels.copy()
    case.evaluate(embeddings, labels)
    assert np.array_equal(embeddings, case.embeddings), "changes the embeddings"
    assert np.array_equal(labels, case.labels), "changes the labels"
    embeddings.flags.writeable = labels.flags.writeable = False
    case.evaluate(embeddings, labels)


@check("evaluator")
def chosen_without_test_labels(case: EvaluatorCase) -> None:
    """its selected settings stay the same when the test labels are shuffled"""
    before = dict(case.evaluate().chosen)
    for seed in range(3):
        shuffled = case.labels.copy()
        shuffled[case.split.test] = np.random.default_rng(seed).permutation(shuffled[case.split.test])
        after = dict(case.evaluate(labels=shuffled).chosen)
        assert before == after, f"chooses {before}, and {after} with other test labels; choose with split.validation"


@check("evaluator", optional=True)
def fits_without_test_labels(case: EvaluatorCase) -> None:
    """wide noise, which predicts the labels that it is fitted on and no others, is no better than half-way to the labels"""
    if not case.needs_labels:
        raise NotApplicableError("it needs no labels: the entry has no tag 'labels'")
    noise = np.random.default_rng(3).standard_normal((COUNT, 4 * COUNT)).astype(np.float32)
    oracle = 0.1 * noise
    oracle[np.arange(COUNT), np.unique(case.labels, return_inverse=True)[1]] += 25
    (name, good), *_ = case.evaluate(oracle).metrics.items()
    result = case.evaluate(noise)
    chance = result.chance or 0.0
    assert result.metrics[name].value <= (good.value + max(chance, 1 / CLASSES)) / 2 or good.value <= chance, (
        f"{name} is {result.metrics[name].value:.3g} for noise; fit on split.train alone"
    )


@check("evaluator", optional=True)
def oracle_beats_noise(case: EvaluatorCase) -> None:
    """its first metric is higher for embeddings that are the labels than for noise"""
    if not case.needs_labels:
        raise NotApplicableError("it needs no labels: the entry has no tag 'labels'")
    source = np.random.default_rng(2)
    noise = source.standard_normal(case.embeddings.shape).astype(np.float32)
    oracle = 0.1 * noise
    oracle[np.arange(COUNT), np.unique(case.labels, return_inverse=True)[1]] += 5
    (name, good), *_ = case.evaluate(oracle).metrics.items()
    bad = case.evaluate(noise).metrics[name]
    assert good.value > bad.value, f"{name} is {good} for the labels themselves, and {bad} for noise"


@check("evaluator", optional=True)
def without_labels(case: EvaluatorCase) -> None:
    """it works without labels, unless its tags say that it needs them"""
    if case.needs_labels:
        raise NotApplicableError("the entry's tags say that it needs labels")
    result = case.code(case.embeddings, None, case.split, **validate_options(case.plugin, case.options))
    assert isinstance(result, Result), f"gives a {type(result).__name__} where there are no labels"


@check("evaluator", optional=True)
def labels_of_its_tags(case: EvaluatorCase) -> None:
    """it accepts numeric targets, and several labels per sample, if its tags say so"""
    numbers = case.embeddings[:, 0].astype(np.float64) + 0.1
    several = np.unique(case.labels, return_inverse=True)[1][:, None] <= np.arange(CLASSES - 1)
    labels_by_tag = {"numbers": numbers, "multi-label": several}
    told = [tag for tag in labels_by_tag if tag in case.plugin.entry.tags]
    if not told:
        raise NotApplicableError("the entry's tags say that it accepts classes alone")
    for tag in told:
        result = case.evaluate(labels=labels_by_tag[tag])
        assert isinstance(result, Result), f"gives a {type(result).__name__} for {tag}"
        (name, first), *_ = result.metrics.items()
        assert math.isfinite(first.value), f"{name} of {tag} is {first}"
