"""The contract of evaluators: functions over arrays that return a `Result`."""

from __future__ import annotations

from collections.abc import Mapping
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
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    origin: str


@dataclass(frozen=True)
class Result:
    """What an evaluator found.

    Attributes:
        metrics: name -> figure; the first is the one that tables show.
        chosen: hyperparameters that were chosen on the validation split.
        table: rows of further figures, such as one a class.
        figures: name -> (arrays) to draw from, such as a confusion matrix.
        scores: (N3,) one a judged sample, whose mean the first metric is; of the same samples for the same split, so that
            two encoders can be compared in pairs. None where the metric is not such a mean.
    """

    metrics: Mapping[str, Metric]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
    figures: Mapping[str, np.ndarray] = field(default_factory=dict)
    scores: np.ndarray | None = None
