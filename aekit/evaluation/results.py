"""The contract of evaluators: functions over arrays that return a `Result`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A figure with its 95 % interval where one can be given. Ratios lie in 0..1."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        spread = f" [{self.low:.3f}, {self.high:.3f}]" if self.low is not None and self.high is not None else ""
        return f"{self.value:.3f}{spread}"


@dataclass(frozen=True)
class Split:
    """Which samples an evaluator may fit on, choose with, and is judged on. Positions into the embeddings.

    Attributes:
        train: (N1,) to fit on.
        validation: (N2,) to choose hyperparameters with.
        test: (N3,) read once, for the figure that is reported.
        origin: where the split came from, in words, for the report.
        groups: (N,) numbers, one for each embedding: samples of one group are in one part, stay in one fold of a
            cross-validation, and are drawn together for intervals. None: each sample stands for itself.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    origin: str
    groups: np.ndarray | None = None

    @property
    def test_groups(self) -> np.ndarray | None:
        """(N3,) the groups of the test samples."""
        return None if self.groups is None else self.groups[self.test]


@dataclass(frozen=True)
class Result:
    """What an evaluator found.

    Attributes:
        metrics: name -> figure; the first is the one that tables show.
        chosen: hyperparameters that were chosen, never with the test part.
        table: rows of further figures, such as one a class.
        figures: name -> (arrays) to draw from, such as a confusion matrix.
        scores: (N3,) one a judged sample, whose mean the first metric is; of the same samples for the same split, so that
            two encoders can be compared in pairs. None where the metric is not such a mean.
        answers: (N3,) the class that each judged sample was given, or None where it names no classes.
        confidence: (N3,) in 0..1, how probable each answer was held to be, or None. With the answers, reports show the worst
            mistakes and how well confidence is calibrated.
        chosen_on: on what they were chosen, in words.
        chance: what the first metric would be for a guess that looks at no embedding, or None where that is not known.
        notes: what has to be known of the figures, such as that they are of some of the samples.
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


@dataclass(frozen=True)
class CheckResult:
    """What is to be known of embeddings beside the scores of evaluators.

    Attributes:
        figures: name -> number.
        warnings: what is wrong, in sentences that say what it means.
        notes: on what the figures are of.
        table: rows of details, such as the worst pairs.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    table: Sequence[dict[str, Any]] = ()
