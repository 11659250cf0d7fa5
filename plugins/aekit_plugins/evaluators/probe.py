"""Linear probe: how well a linear model on frozen embeddings finds what the labels say (Alain & Bengio, 2016)."""

from __future__ import annotations

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

EXACT = 1e-9
"""At which probabilities are right to the third decimal."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    lowest: Annotated[float, Field(gt=0, description="smallest C tried: the strongest regularization")] = 1e-4,
    highest: Annotated[float, Field(gt=0, description="largest C tried")] = 1e3,
    steps: Annotated[int, Field(ge=1, le=96, description="values of C tried, evenly spaced in the logarithm")] = 10,
    folds: Annotated[
        int, Field(ge=0, le=20, description="of a cross-validation that chooses C; 0: the validation split chooses")
    ] = 0,
    max_iterations: Annotated[int, Field(ge=1, description="of L-BFGS, for each C")] = 200,
    seed: Annotated[int, Field(ge=0, description="of the folds and the bootstrap")] = 0,
) -> Result:
    """On standardized embeddings: logistic regression for classes, one against the rest for several labels a sample, and
    ridge regression for numbers on a scale.

    C is chosen by accuracy, mean average precision or R2; the figure is of the model fitted again, at that C, on train and
    validation.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes, of any type but float; (N,) float targets; or (N, L) bool.
        split: positions into both.
    """
    strengths = np.geomspace(lowest, highest, steps)
    on_a_scale = labels.dtype.kind == "f"
    scored = _r2 if on_a_scale else _mean_precision if labels.ndim == 2 else _accuracy

    def fitted(rows: np.ndarray, values: np.ndarray, tolerance: float) -> Any:
        if on_a_scale:
            return fit_ridge(embeddings[rows], labels[rows], values)
        x, y = embeddings[rows], labels[rows]
        return fit_logistic(x, y, values, max_iterations=max_iterations, tolerance=tolerance)

    def judge(own: np.ndarray, held: np.ndarray) -> np.ndarray:
        path = fitted(own, strengths, SEARCH_TOLERANCE)
        return scored(path, embeddings[held], labels[held])

    strata = labels if scored is _accuracy else None
    choice = select_setting(judge, split, strata, folds=folds, seed=seed)
    model = fitted(np.concatenate([split.train, split.validation]), strengths[[choice.best]], EXACT)
    judged = _judged_scale if on_a_scale else _judged_several if labels.ndim == 2 else _judged_classes
    found = judged(model, embeddings, labels, split, seed)
    chosen = {"C": float(strengths[choice.best]), "of": steps}
    chosen |= {} if on_a_scale else {"converged": bool(model.converged[0])}
    curve = {"C": strengths, "validation": choice.scores}
    return Result(
        **found | {"chosen": chosen, "chosen_on": choice.selected_on, "plot_data": found.get("plot_data", {}) | curve}
    )


def _judged_classes(model: Any, x: np.ndarray, y: np.ndarray, split: Split, seed: int) -> dict[str, Any]:
    y_true, odds = y[split.test], model.probabilities(x[split.test])
    answer = model.classes[odds.argmax(axis=1)]
    right = (answer == y_true).astype(np.float64)
    classes, counts = confusion_matrix(y_true, answer)
    table, chance = per_class_metrics(classes, counts), majority_class_accuracy(y, split)
    balanced = float(np.mean([row["recall"] for row in table if row["samples"]]))
    metrics = {"accuracy": bootstrap(right, seed=seed, groups=split.test_groups)}
    metrics |= {"balanced_accuracy": Metric(balanced), "largest_class": Metric(chance)}
    figures = {"confusion": counts, "classes": classes.astype(str)}
    found = {"metrics": metrics, "table": table, "plot_data": figures, "scores": right, "chance": chance}
    return found | {"predictions": answer, "confidence": odds.max(axis=1)}


def _judged_scale(model: Any, x: np.ndarray, y: np.ndarray, split: Split, seed: int) -> dict[str, Any]:
    errors = model.predict(x[split.test])[0] - y[split.test]
    spread = float(np.var(y[split.test]))
    scores = 1 - np.square(errors) / (spread if spread > 0 else 1.0)  # their mean is R2
    metrics = {"r2": bootstrap(scores, seed=seed, groups=split.test_groups)}
    metrics["mean_absolute_error"] = bootstrap(np.abs(errors), seed=seed, groups=split.test_groups)
    return {"metrics": metrics, "scores": scores, "chance": 0.0}


def _judged_several(model: Any, x: np.ndarray, y: np.ndarray, split: Split, seed: int) -> dict[str, Any]:
    y_true, logits = y[split.test].T, model.logits(x[split.test]).T
    found, single = mean_detection_metrics(logits, y_true, seed=seed, groups=split.test_groups)
    table = [
        {"label": number, "samples": int(own.sum()), "average precision": float(figures[1]), "auroc": float(figures[0])}
        for number, (own, figures) in enumerate(zip(y_true, single))
        if np.isfinite(figures).all()
    ]
    chance = float(np.mean([row["samples"] for row in table]) / len(split.test))
    metrics = {"map": found["average_precision"], "mean_auroc": found["auroc"]}
    return {"metrics": metrics, "table": table, "chance": chance}


def _accuracy(path: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (path.predict(x) == y).mean(axis=1)


def _r2(path: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -np.square(path.predict(x) - y).mean(axis=1) / max(float(np.var(y)), 1e-300) + 1


def _mean_precision(path: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    every = [average_precisions(path.logits(x, number).T, y.T) for number in range(len(path.strengths))]
    return np.nan_to_num(np.array(every)).mean(axis=1)
