"""Linear probe: predict targets from frozen embeddings with a linear model (Alain and Bengio, 2016)."""

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
    c_values = np.geomspace(min_c, max_c, c_steps)
    is_numeric = labels.dtype.kind == "f"
    score = _r2 if is_numeric else _mean_average_precision if labels.ndim == 2 else _accuracy

    searched: list[Any] = []

    def fit(rows: np.ndarray, values: np.ndarray, tolerance: float, start: Any = None) -> Any:
        x, y, directions = embeddings[rows], labels[rows], None
        if is_numeric:
            return fit_ridge(x, y, values)
        if tolerance == SEARCH_TOLERANCE and embeddings.shape[1] > WIDE:
            directions = SEARCH_DIRECTIONS
        return fit_logistic(
            x, y, values, max_iterations=max_iterations, tolerance=tolerance, max_directions=directions, start=start
        )

    def score_c_values(train: np.ndarray, validation: np.ndarray) -> np.ndarray:
        def fit_search(values: np.ndarray) -> Any:
            searched.append(fit(train, values, SEARCH_TOLERANCE))
            return searched[-1]

        x, y = embeddings[validation], labels[validation]
        if score is _accuracy and not folds:
            return _accuracies_up_to_the_fall(fit_search, c_values, x, y)
        return score(fit_search(c_values), x, y)

    strata = labels if score is _accuracy else None
    choice = select_setting(score_c_values, split, strata, folds=folds, seed=seed)
    best_c = c_values[choice.best]
    fitted = np.concatenate([split.train, split.validation])
    start = None if is_numeric else _start(searched, best_c, labels[fitted])
    model = fit(fitted, c_values[[choice.best]], FINAL_TOLERANCE, start)
    evaluate_model = _evaluate_numbers if is_numeric else _evaluate_labels if labels.ndim == 2 else _evaluate_classes
    fields = evaluate_model(model, embeddings, labels, split, seed)
    chosen = {"C": float(best_c), "of": int(np.isfinite(choice.scores).sum())}
    chosen |= {} if is_numeric else {"converged": bool(model.converged[0])}
    if not is_numeric and len(split.train) > embeddings.shape[1] > WIDE:
        width = f"{embeddings.shape[1]:,} dimensions"
        fields["notes"] = [f"C chosen along {SEARCH_DIRECTIONS} principal directions of {width}"]
    tried = np.isfinite(choice.scores)
    curve = {"C": c_values[tried], "validation": choice.scores[tried]}
    return Result(
        **fields | {"chosen": chosen, "chosen_on": choice.selected_on, "plot_data": fields.get("plot_data", {}) | curve}
    )


def _start(searched: list[Any], c: float, labels: np.ndarray) -> Any:
    """Return models of a search that include one of strength C, if they have all classes; the final fit starts there."""
    for models in searched:
        if c in models.strengths and (labels.ndim == 2 or np.array_equal(models.classes, np.unique(labels))):
            return models
    return None


def _evaluate_classes(model: Any, x: np.ndarray, y: np.ndarray, split: Split, seed: int) -> dict[str, Any]:
    """Return the fields of the result for (N,) classes."""
    y_true, probabilities = y[split.test], model.probabilities(x[split.test])
    predictions = model.classes[probabilities.argmax(axis=1)]
    correct = (predictions == y_true).astype(np.float64)
    classes, counts = confusion_matrix(y_true, predictions)
    table, chance = per_class_metrics(classes, counts), majority_class_accuracy(y, split)
    balanced = float(np.mean([row["recall"] for row in table if row["samples"]]))
    metrics = {"accuracy": bootstrap(correct, seed=seed, groups=split.test_groups)}
    metrics |= {"balanced_accuracy": Metric(balanced), "majority_class": Metric(chance)}
    plot_data = {"confusion": counts, "classes": classes.astype(str)}
    fields = {"metrics": metrics, "table": table, "plot_data": plot_data, "scores": correct, "chance": chance}
    return fields | {"predictions": predictions, "confidence": probabilities.max(axis=1)}


def _evaluate_numbers(model: Any, x: np.ndarray, y: np.ndarray, split: Split, seed: int) -> dict[str, Any]:
    """Return the fields of the result for (N,) numbers."""
    errors = model.predict(x[split.test])[0] - y[split.test]
    variance = float(np.var(y[split.test]))
    scores = 1 - np.square(errors) / (variance if variance > 0 else 1.0)  # their mean is R2
    metrics = {"r2": bootstrap(scores, seed=seed, groups=split.test_groups)}
    metrics["mean_absolute_error"] = bootstrap(np.abs(errors), seed=seed, groups=split.test_groups)
    return {"metrics": metrics, "scores": scores, "chance": 0.0}


def _evaluate_labels(model: Any, x: np.ndarray, y: np.ndarray, split: Split, seed: int) -> dict[str, Any]:
    """Return the fields of the result for (N, L) labels."""
    y_true, logits = y[split.test].T, model.logits(x[split.test]).T
    means, per_label = mean_detection_metrics(logits, y_true, seed=seed, groups=split.test_groups)
    table = [
        {"label": number, "samples": int(positive.sum()), "average precision": float(row[1]), "auroc": float(row[0])}
        for number, (positive, row) in enumerate(zip(y_true, per_label))
        if np.isfinite(row).all()
    ]
    chance = float(np.mean([row["samples"] for row in table]) / len(split.test))
    metrics = {"map": means["average_precision"], "mean_auroc": means["auroc"]}
    return {"metrics": metrics, "table": table, "chance": chance}


def _accuracies_up_to_the_fall(fit: Any, c_values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the (S,) accuracies of increasing values of C, -inf for the largest if accuracy has fallen before them.

    Args:
        fit: values of C -> their models.
        c_values: (S,) values.
        x: (N, D) validation samples.
        y: (N,) classes.
    """
    count = max(1, int(FIRST_VALUES * len(c_values)))
    correct = fit(c_values[:count]).predict(x) == y
    accuracies = correct.mean(axis=1)
    lost = correct[accuracies.argmax()].astype(np.float64) - correct[-1]
    if lost.mean() > FALL * lost.std() / np.sqrt(len(y)):
        return np.concatenate([accuracies, np.full(len(c_values) - count, -np.inf)])
    if count < len(c_values):
        accuracies = np.concatenate([accuracies, _accuracy(fit(c_values[count:]), x, y)])
    return accuracies


def _accuracy(path: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (path.predict(x) == y).mean(axis=1)


def _r2(path: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -np.square(path.predict(x) - y).mean(axis=1) / max(float(np.var(y)), 1e-300) + 1


def _mean_average_precision(path: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    precisions = [average_precisions(path.logits(x, number).T, y.T) for number in range(len(path.strengths))]
    return np.nan_to_num(np.array(precisions)).mean(axis=1)
