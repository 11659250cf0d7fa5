"""The contract of evaluators: functions over arrays that return a `Result`."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aekit.errors import PluginError, printable
from aekit.io.summaries import html_summary


@dataclass(frozen=True)
class Metric:
    """The value of a metric, with its 95% interval where there is one. Ratios lie in 0..1."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if self.low is not None and self.high is not None else ""
        return f"{self.value:.3f}{interval}"


@dataclass(frozen=True, eq=False)
class Split:
    """Samples to fit on, to choose hyperparameters with, and to test on, as positions in the embeddings.

    Attributes:
        train: (N1,) samples to fit on.
        validation: (N2,) samples to choose hyperparameters with.
        test: (N3,) samples that are read once, for the metrics that are reported.
        origin: where the split came from, in words, for the report.
        groups: (N,) group numbers of all embeddings: samples of one group are in one part, stay in one fold of a
            cross-validation, and are resampled together. None: every sample is a group of its own.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    origin: str
    groups: np.ndarray | None = None

    @property
    def test_groups(self) -> np.ndarray | None:
        """(N3,) groups of the test samples."""
        return None if self.groups is None else self.groups[self.test]


@dataclass(frozen=True, eq=False)
class Result:
    """The result of an evaluator.

    Attributes:
        metrics: name -> value; the first is the primary metric, which tables show and for which higher is better.
        chosen: hyperparameters that were chosen, never with the test part.
        table: rows of further values, such as one per class.
        plot_data: name -> array to draw from, such as a confusion matrix.
        scores: (N3,) scores of the test samples whose mean is the primary metric, so that two encoders can be compared in
            pairs; the same split must give scores of the same samples. None if the metric is no such mean.
        predictions: (N3,) class that was predicted for each test sample, or None if no classes are predicted.
        confidence: (N3,) probability of each prediction in 0..1, or None. With the predictions, reports show the worst mistakes
            and how well the confidence is calibrated.
        chosen_on: the data that hyperparameters were chosen on, in words.
        chance: value of the primary metric for a guess that ignores the embeddings, or None if unknown.
        notes: remarks on the metrics, such as that they were computed on a sample.
    """

    metrics: Mapping[str, Metric]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
    plot_data: Mapping[str, np.ndarray] = field(default_factory=dict)
    scores: np.ndarray | None = None
    predictions: np.ndarray | None = None
    confidence: np.ndarray | None = None
    chosen_on: str = "validation"
    chance: float | None = None
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"<Result: {', '.join(self._metric_texts())}>"

    def _repr_html_(self) -> str:
        first, *others = self._metric_texts()
        return html_summary(first, [*others, *self.notes], self.table)

    def _metric_texts(self) -> list[str]:
        return [f"{name.replace('_', ' ')} {metric}" for name, metric in self.metrics.items()]


def as_result(returned: Any, evaluator: str, split: Split | None = None) -> Result:
    """Return the `Result` of an evaluator, which may also return a number, or a mapping from names to numbers.

    Args:
        returned: what the evaluator returned.
        evaluator: describes it, for messages.
        split: the parts of the samples, of which arrays hold those that were tested, or all; None: lengths are not checked.

    Raises:
        PluginError: it returned something else, a metric is no finite number, or an array has another length.
    """
    if not isinstance(returned, Result):
        values = returned if isinstance(returned, Mapping) else {"value": returned}
        if not values or not all(isinstance(value, (Metric, *_NUMBERS)) for value in values.values()):
            kind = type(returned).__name__
            raise PluginError(f"{evaluator} returned {kind}: expected a Result, a number, or numbers by name")
        returned = Result({str(n): v if isinstance(v, Metric) else Metric(float(v)) for n, v in values.items()})
    if problem := _problem(returned, split):
        raise PluginError(f"{evaluator} returned {problem}")
    return returned


_NUMBERS = (numbers.Real, np.number)


def _problem(result: Result, split: Split | None) -> str:
    """Return what is wrong with a result, or ""."""
    if not isinstance(result.metrics, Mapping) or not result.metrics:
        return f"metrics as {type(result.metrics).__name__}: expected one metric or more by name"
    for name, metric in result.metrics.items():
        if not isinstance(metric, Metric):
            return f"{name} as {type(metric).__name__}: expected a Metric"
        for number in (metric.value, metric.low, metric.high):
            if number is not None and not (isinstance(number, _NUMBERS) and math.isfinite(number)):
                return f"{name} = {printable(repr(number))}: expected a finite number"
    for name in ("scores", "predictions", "confidence"):
        values = getattr(result, name)
        if values is None or split is None:
            continue
        tested, every = len(split.test), sum(map(len, (split.train, split.validation, split.test)))
        # Clusters may be scored on the samples that they were fitted to.
        if np.shape(values)[:1] not in {(tested,), (every if name == "scores" else tested,)}:
            return f"{name} of shape {np.shape(values)}: expected ({tested},), one of each test sample"
    if isinstance(result.notes, str):
        return f"notes = {printable(repr(result.notes))}: expected a list of texts"
    return ""


@dataclass(frozen=True)
class CheckResult:
    """The result of a check of embeddings, apart from the scores of evaluators.

    Attributes:
        values: name -> number.
        warnings: problems, in sentences that say what they mean.
        notes: remarks on the values.
        table: rows of details, such as the worst pairs.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    table: Sequence[dict[str, Any]] = ()
