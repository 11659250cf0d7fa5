"""Predict all labels from a few, by propagation and by a linear classifier, and estimate how many are right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from aekit.analysis._groups import assign_unit_folds, others_of_class
from aekit.analysis.label_noise import STRENGTHS, best_strength
from aekit.evaluation.linear.probe import SEARCH_TOLERANCE, fit_logistic
from aekit.evaluation.metrics.intervals import bootstrap
from aekit.evaluation.propagation import propagate
from aekit.evaluation.results import Metric

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Method = Literal["propagation", "linear"]
SURE = 0.5
"""Share from which a label is called sure."""
FEW_STRENGTH = 1e-2
"""Strength of the linear classifier where there are too few labels to choose one."""


@dataclass(frozen=True)
class FewLabels:
    """Samples and the labels that are few.

    Attributes:
        vectors: (N, D) embeddings of all samples.
        graph: (N, N) of `neighbor_graph`.
        rows: (L,) samples with a label.
        codes: (L,) their class numbers.
        units: (N,) samples of one unit are predicted together.
        classes: C.
        alpha: as for `propagate`.
    """

    vectors: np.ndarray
    graph: csr_array
    rows: np.ndarray
    codes: np.ndarray
    units: np.ndarray
    classes: int
    alpha: float

    @cached_property
    def standardized(self) -> np.ndarray:
        """The (N, D) vectors for linear classifiers, standardized by all samples: this needs no labels."""
        from sklearn.preprocessing import StandardScaler

        return np.asarray(StandardScaler().fit_transform(self.vectors), np.float32)

    def propagated(self, used: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return (N, C) shares of the classes in the weights that lead to each sample from the rows that are used; zeros where
        none does."""
        sources = np.zeros((len(self.vectors), self.classes))
        sources[self.rows[used], self.codes[used]] = 1
        weights = propagate(self.graph, sources, self.alpha)
        return weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)

    def classified(self, strength: float) -> np.ndarray:
        """Return (N, C) probabilities by logistic regression on the labels."""
        path = fit_logistic(self.standardized[self.rows], self.codes, [strength], standardize=False)
        return path.probabilities(self.standardized)


@dataclass(frozen=True)
class Predicted:
    """Labels that are known and that were predicted without them.

    Attributes:
        rows: (M,) samples.
        codes: (M,) their class numbers.
        right: by method, (M,) bool.
        shares: by method, (M,) share of the predicted label.
    """

    rows: np.ndarray
    codes: np.ndarray
    right: dict[Method, np.ndarray]
    shares: dict[Method, np.ndarray]

    @property
    def best(self) -> Method:
        """The method that predicts more of them; in a tie, propagation."""
        return "linear" if self.right["linear"].mean() > self.right["propagation"].mean() else "propagation"


@dataclass(frozen=True)
class Accuracy:
    """Fraction of known labels that are predicted without them.

    Attributes:
        of: what the labels are.
        count: number of the labels.
        methods: by method, the fraction of them that is predicted.
        most_frequent: fraction of the most frequent class among them, which needs no prediction.
        sure_count: number of those whose predicted label has a share of at least 0.5, by the method that was chosen.
        sure: fraction of these that is predicted; None if there are none.
    """

    of: str
    count: int
    methods: dict[Method, Metric]
    most_frequent: float
    sure_count: int
    sure: Metric | None


def predict(shares: np.ndarray, classified: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (M,) class numbers of the largest of (M, C) shares, and these shares.

    Where all are 0, as no label leads to the sample, the class is that of the (M, C) probabilities of the linear classifier.
    """
    values = shares.max(axis=1)
    return np.where(values > 0, shares.argmax(axis=1), classified.argmax(axis=1)), values


def predict_unused(shares: dict[Method, np.ndarray], rows: np.ndarray, codes: np.ndarray) -> Predicted:
    """Compare the shares of all samples, by method, with the class numbers (M,) of the rows (M,)."""
    predicted = {method: predict(of_all[rows], shares["linear"][rows]) for method, of_all in shares.items()}
    right = {method: codes_of == codes for method, (codes_of, _) in predicted.items()}
    return Predicted(rows, codes, right, {method: share for method, (_, share) in predicted.items()})


def predict_held_out(few: FewLabels, folds: int, seed: int) -> tuple[Predicted, float] | None:
    """Predict each given label from those of other folds; None if no class has labels in two folds.

    Labels that only one fold has are left out.

    Returns:
        The predicted labels, and the strength of the linear classifier: the best on the same folds, which is in its favor.
    """
    held_out = assign_unit_folds(few.units[few.rows], few.codes, folds, seed)
    assessed = np.flatnonzero(others_of_class(few.codes, held_out))
    if not len(assessed):
        return None
    samples, count = few.standardized[few.rows], int(held_out.max()) + 1
    path = fit_logistic(samples, few.codes, STRENGTHS, held_out=held_out, standardize=False, tolerance=SEARCH_TOLERANCE)
    best = best_strength(path, samples, few.codes, held_out, count)
    shares = np.zeros((2, len(samples), few.classes))
    for fold in range(count):
        inside = held_out == fold
        shares[0, inside] = few.propagated(~inside)[few.rows[inside]]
        shares[1, inside] = path.probabilities(samples[inside], fold * len(STRENGTHS) + best)
    by_method: dict[Method, np.ndarray] = {"propagation": shares[0], "linear": shares[1]}
    predicted = predict_unused(by_method, assessed, few.codes[assessed])
    return replace(predicted, rows=few.rows[assessed]), float(STRENGTHS[best])


def accuracy_of(predicted: Predicted, of: str, method: Method, units: np.ndarray, seed: int) -> Accuracy:
    """Return the accuracy with its interval over the units (N,) of the samples; `of` says what the labels are."""
    groups, sure = units[predicted.rows], predicted.shares[method] >= SURE
    right = {name: values.astype(np.float64) for name, values in predicted.right.items()}
    return Accuracy(
        of=of,
        count=len(predicted.rows),
        methods={name: bootstrap(values, seed=seed, groups=groups) for name, values in right.items()},
        most_frequent=float(np.bincount(predicted.codes).max() / len(predicted.codes)),
        sure_count=int(sure.sum()),
        sure=bootstrap(right[method][sure], seed=seed, groups=groups[sure]) if sure.any() else None,
    )
