"""Support vector machine: separate classes by the largest margin (Cortes and Vapnik, 1995)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np

from aekit.plugin import Field, Metric, Result, Split, bootstrap, majority_class_accuracy, stratified_sample

C_VALUES = {"linear": (0.001, 0.01, 0.1, 1.0), "rbf": (0.1, 1.0, 10.0, 100.0)}
"""Kernel -> values of C to try."""
GAMMA_FACTORS = {"linear": (1.0,), "rbf": (0.25, 1.0, 4.0)}
"""Kernel -> values of gamma to try, times 1 / D, as squared distances grow with the dimension D."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    kernel: Annotated[Literal["rbf", "linear"], Field(description="kernel of the support vector machine")] = "rbf",
    max_samples: Annotated[
        int, Field(ge=10, description="maximum number of samples to fit on, stratified by class; the cost is quadratic")
    ] = 5000,
    seed: Annotated[int, Field(ge=0, description="seed of the drawn samples and the bootstrap")] = 0,
) -> Result:
    """Fit scikit-learn's SVC, one-vs-one, to standardized embeddings.

    C and, for the rbf kernel, gamma are chosen on the validation split; the test metrics are those of a model fitted again
    with these to train and validation.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    train, validation = (
        stratified_sample(part, labels, max_samples, seed=seed) for part in (split.train, split.validation)
    )
    table = []
    for c in C_VALUES[kernel]:
        for factor in GAMMA_FACTORS[kernel]:
            model = _fit(embeddings, labels, train, kernel, c, factor)
            accuracy = (model.predict(embeddings[validation]) == labels[validation]).mean()
            table.append({"C": c, "gamma": factor / embeddings.shape[1], "validation accuracy": float(accuracy)})
    # In a tie, prefer the smoothest decision function.
    best = max(table, key=lambda row: (row["validation accuracy"], -row["C"], -row["gamma"]))
    rows = stratified_sample(np.concatenate([split.train, split.validation]), labels, max_samples, seed=seed)
    model = _fit(embeddings, labels, rows, kernel, best["C"], best["gamma"] * embeddings.shape[1])
    scores = (model.predict(embeddings[split.test]) == labels[split.test]).astype(np.float64)
    chosen = {"kernel": kernel, "C": best["C"]} | ({"gamma": best["gamma"]} if kernel == "rbf" else {})
    chosen |= {"fitted_on": len(rows), "of": len(split.train) + len(split.validation)}
    metrics: dict[str, Metric] = {"accuracy": bootstrap(scores, seed=seed, groups=split.test_groups)}
    notes = [f"fitted on {len(rows):,} of {chosen['of']:,} samples"] if len(rows) < chosen["of"] else []
    return Result(metrics, chosen, table, scores=scores, chance=majority_class_accuracy(labels, split), notes=notes)


def _fit(embeddings: np.ndarray, labels: np.ndarray, rows: np.ndarray, kernel: str, c: float, factor: float) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    model = SVC(C=c, kernel=kernel, gamma=factor / embeddings.shape[1], cache_size=500, random_state=0)
    return make_pipeline(StandardScaler(), model).fit(embeddings[rows], labels[rows])
