"""Support vector machine: the largest margin between classes, with or without a kernel (Cortes & Vapnik, 1995)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np

from aekit.plugin import Field, Metric, Result, Split, bootstrap, majority_class_accuracy, stratified_sample

STRENGTHS = {"linear": (0.001, 0.01, 0.1, 1.0), "rbf": (0.1, 1.0, 10.0, 100.0)}
"""Values of C tried."""
WIDTHS = {"linear": (1.0,), "rbf": (0.25, 1.0, 4.0)}
"""Values of gamma tried, times one over the width of the embeddings: the squared distances grow with that."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    kernel: Annotated[Literal["rbf", "linear"], Field(description="of the support vector machine")] = "rbf",
    most: Annotated[
        int,
        Field(
            ge=10, description="samples above which it is fitted, and chosen, on some, by class: its cost is quadratic"
        ),
    ] = 5000,
    seed: Annotated[int, Field(ge=0, description="of those samples and the bootstrap")] = 0,
) -> Result:
    """scikit-learn's SVC on standardized embeddings, one class against another in pairs.

    C and, for the rbf kernel, gamma are chosen on the validation split; the figure is of the machine fitted again, with
    these, on train and validation.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    rows, held = (stratified_sample(part, labels, most, seed=seed) for part in (split.train, split.validation))
    table = []
    for c in STRENGTHS[kernel]:
        for width in WIDTHS[kernel]:
            machine = _fitted(embeddings, labels, rows, kernel, c, width)
            right = (machine.predict(embeddings[held]) == labels[held]).mean()
            table.append({"C": c, "gamma": width / embeddings.shape[1], "validation accuracy": float(right)})
    # Of equals the smoothest.
    best = max(table, key=lambda row: (row["validation accuracy"], -row["C"], -row["gamma"]))
    seen = stratified_sample(np.concatenate([split.train, split.validation]), labels, most, seed=seed)
    machine = _fitted(embeddings, labels, seen, kernel, best["C"], best["gamma"] * embeddings.shape[1])
    scores = (machine.predict(embeddings[split.test]) == labels[split.test]).astype(np.float64)
    chosen = {"kernel": kernel, "C": best["C"]} | ({"gamma": best["gamma"]} if kernel == "rbf" else {})
    chosen |= {"fitted_on": len(seen), "of": len(split.train) + len(split.validation)}
    metrics: dict[str, Metric] = {"accuracy": bootstrap(scores, seed=seed, groups=split.test_groups)}
    notes = [f"fitted on {len(seen):,} of {chosen['of']:,} samples"] if len(seen) < chosen["of"] else []
    return Result(metrics, chosen, table, scores=scores, chance=majority_class_accuracy(labels, split), notes=notes)


def _fitted(embeddings: np.ndarray, labels: np.ndarray, rows: np.ndarray, kernel: str, c: float, width: float) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    machine = SVC(C=c, kernel=kernel, gamma=width / embeddings.shape[1], cache_size=500, random_state=0)
    return make_pipeline(StandardScaler(), machine).fit(embeddings[rows], labels[rows])
