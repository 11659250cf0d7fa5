"""Linear probe: predict targets from frozen embeddings with a linear model (Alain and Bengio, 2016)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from aekit.plugin import (
    SEARCH_TOLERANCE,
    Field,
    Metric,
    Result,
    Split,
    average_precisions,
    bootstrap,
    confusion_matrix,
    fit_logistic,
    fit_ridge,
    majority_class_accuracy,
    mean_detection_metrics,
    per_class_metrics,
    select_setting,
)

FINAL_TOLERANCE = 1e-9
"""Tolerance of the final fit, at which probabilities are accurate to the third decimal."""
FIRST_VALUES, FALL = 0.7, 3.0
"""Fraction of the values of C that are tried first, and the standard errors by which the largest of them has to be worse than
the best, in pairs of samples, for the others not to be tried."""
WIDE, SEARCH_DIRECTIONS = 2048, 512
"""Dimensions above which C is chosen along the leading principal directions, and their number."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    min_c: Annotated[float, Field(gt=0, description="smallest C to try: the strongest regularization")] = 1e-4,
    max_c: Annotated[float, Field(gt=0, description="largest C to try")] = 1e3,
    c_steps: Annotated[
        int, Field(ge=1, le=96, description="number of values of C to try, evenly spaced on a log scale")
    ] = 10,
    folds: Annotated[
        int, Field(ge=0, le=20, description="folds of the cross-validation that chooses C; 0: use the validation split")
    ] = 0,
    max_iterations: Annotated[int, Field(ge=1, description="maximum number of iterations of L-BFGS for each C")] = 200,
    seed: Annotated[int, Field(ge=0, description="seed of the folds and the bootstrap")] = 0,
) -> Result:
    """Fit a linear model to standardized embeddings and evaluate it on the test split.

    It is logistic regression for classes, one-vs-rest logistic regression for several labels per sample, and ridge regression
    for numbers. C is chosen by accuracy, mean average precision or R2; the test metrics are those of a model fitted again at
    that C to train and validation. The largest values of C are not tried where validation accuracy has significantly fallen
    before them: fitting them takes longest.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes of any type but float, (N,) float targets, or (N, L) bool.
        split: positions into both.
    """
    kind = _Numbers if labels.dtype.kind == "f" else _SeveralLabels if labels.ndim == 2 else _Classes
    probe = kind(embeddings, labels, max_iterations)
    c_values = np.geomspace(min_c, max_c, c_steps)

    def score(train: np.ndarray, validation: np.ndarray) -> np.ndarray:
        return probe.scores(train, validation, c_values, all_values=folds > 0)

    choice = select_setting(score, split, probe.strata, folds=folds, seed=seed)
    tried = np.isfinite(choice.scores)
    best_c = float(c_values[choice.best])
    model = probe.fit(np.concatenate([split.train, split.validation]), best_c)
    result = probe.evaluate(model, split, seed)
    converged = {} if isinstance(probe, _Numbers) else {"converged": bool(model.converged[0])}
    curve = {"C": c_values[tried], "validation": choice.scores[tried]}
    return replace(
        result,
        chosen={"C": best_c, "of": int(tried.sum())} | converged,
        chosen_on=choice.selected_on,
        plot_data={**result.plot_data, **curve},
        notes=probe.notes(split),
    )


class _Numbers:
    """Ridge regressions to (N,) numbers, scored by R2."""

    strata = None

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray, max_iterations: int) -> None:
        self.x, self.y = embeddings, labels

    def scores(
        self, train: np.ndarray, validation: np.ndarray, c_values: np.ndarray, *, all_values: bool
    ) -> np.ndarray:
        """Return (S,) R2 on validation rows of models that are fitted to training rows."""
        errors = fit_ridge(self.x[train], self.y[train], c_values).predict(self.x[validation]) - self.y[validation]
        return 1 - np.square(errors).mean(axis=1) / max(float(np.var(self.y[validation])), 1e-300)

    def fit(self, rows: np.ndarray, c: float) -> Any:
        return fit_ridge(self.x[rows], self.y[rows], [c])

    def evaluate(self, model: Any, split: Split, seed: int) -> Result:
        errors = model.predict(self.x[split.test])[0] - self.y[split.test]
        variance = float(np.var(self.y[split.test]))
        scores = 1 - np.square(errors) / (variance if variance > 0 else 1.0)  # their mean is R2
        metrics = {"r2": bootstrap(scores, seed=seed, groups=split.test_groups)}
        metrics["mean_absolute_error"] = bootstrap(np.abs(errors), seed=seed, groups=split.test_groups)
        return Result(metrics, scores=scores, chance=0.0)

    def notes(self, split: Split) -> list[str]:
        return []


class _Logistic:
    """Logistic regressions, of which those of the search are kept: the final fit starts at one of them."""

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray, max_iterations: int) -> None:
        self.x, self.y, self.max_iterations = embeddings, labels, max_iterations
        self.is_wide = embeddings.shape[1] > WIDE
        self._searched: list[Any] = []

    def search(self, rows: np.ndarray, c_values: np.ndarray) -> Any:
        """Fit models of all values of C, coarsely."""
        models = fit_logistic(
            self.x[rows],
            self.y[rows],
            c_values,
            max_iterations=self.max_iterations,
            tolerance=SEARCH_TOLERANCE,
            max_directions=SEARCH_DIRECTIONS if self.is_wide else None,
        )
        self._searched.append(models)
        return models

    def fit(self, rows: np.ndarray, c: float) -> Any:
        x, y = self.x[rows], self.y[rows]
        most, start = self.max_iterations, self._start(c, y)
        return fit_logistic(x, y, [c], max_iterations=most, tolerance=FINAL_TOLERANCE, start=start)

    def _start(self, c: float, labels: np.ndarray) -> Any:
        """Return models of the search that include one of strength C, if they have all classes."""
        for models in self._searched:
            if c in models.strengths and (labels.ndim == 2 or np.array_equal(models.classes, np.unique(labels))):
                return models
        return None

    def notes(self, split: Split) -> list[str]:
        width = self.x.shape[1]
        if not self.is_wide or len(split.train) <= width:
            return []
        return [f"C chosen along {SEARCH_DIRECTIONS} principal directions of {width:,} dimensions"]


class _Classes(_Logistic):
    """Logistic regressions to (N,) classes, scored by accuracy."""

    @property
    def strata(self) -> np.ndarray:
        return self.y

    def scores(
        self, train: np.ndarray, validation: np.ndarray, c_values: np.ndarray, *, all_values: bool
    ) -> np.ndarray:
        """Return (S,) accuracies on validation rows; unless `all_values`, -inf for the largest C where accuracy falls before."""
        x, y = self.x[validation], self.y[validation]
        count = len(c_values) if all_values else max(1, int(FIRST_VALUES * len(c_values)))
        correct = self.search(train, c_values[:count]).predict(x) == y
        accuracies = correct.mean(axis=1)
        if count == len(c_values):
            return accuracies
        lost = correct[accuracies.argmax()].astype(np.float64) - correct[-1]
        if lost.mean() > FALL * lost.std() / np.sqrt(len(y)):
            return np.concatenate([accuracies, np.full(len(c_values) - count, -np.inf)])
        return np.concatenate([accuracies, (self.search(train, c_values[count:]).predict(x) == y).mean(axis=1)])

    def evaluate(self, model: Any, split: Split, seed: int) -> Result:
        y_true, probabilities = self.y[split.test], model.probabilities(self.x[split.test])
        predictions = model.classes[probabilities.argmax(axis=1)]
        correct = (predictions == y_true).astype(np.float64)
        classes, counts = confusion_matrix(y_true, predictions)
        table, chance = per_class_metrics(classes, counts), majority_class_accuracy(self.y, split)
        balanced = float(np.mean([row["recall"] for row in table if row["samples"]]))
        metrics = {"accuracy": bootstrap(correct, seed=seed, groups=split.test_groups)}
        metrics |= {"balanced_accuracy": Metric(balanced), "majority_class": Metric(chance)}
        return Result(
            metrics,
            table=table,
            plot_data={"confusion": counts, "classes": classes.astype(str)},
            scores=correct,
            predictions=predictions,
            confidence=probabilities.max(axis=1),
            chance=chance,
        )


class _SeveralLabels(_Logistic):
    """One-vs-rest logistic regressions to (N, L) labels, scored by mean average precision."""

    strata = None

    def scores(
        self, train: np.ndarray, validation: np.ndarray, c_values: np.ndarray, *, all_values: bool
    ) -> np.ndarray:
        """Return (S,) mean average precisions on validation rows of models that are fitted to training rows."""
        models, x, y = self.search(train, c_values), self.x[validation], self.y[validation].T
        precisions = [average_precisions(models.logits(x, number).T, y) for number in range(len(c_values))]
        return np.nan_to_num(np.array(precisions)).mean(axis=1)

    def evaluate(self, model: Any, split: Split, seed: int) -> Result:
        y_true, logits = self.y[split.test].T, model.logits(self.x[split.test]).T
        means, per_label = mean_detection_metrics(logits, y_true, seed=seed, groups=split.test_groups)
        table = [
            {
                "label": number,
                "samples": int(positive.sum()),
                "average precision": float(row[1]),
                "auroc": float(row[0]),
            }
            for number, (positive, row) in enumerate(zip(y_true, per_label))
            if np.isfinite(row).all()
        ]
        chance = float(np.mean([row["samples"] for row in table]) / len(split.test))
        return Result({"map": means["average_precision"], "mean_auroc": means["auroc"]}, table=table, chance=chance)
