"""Few labels: how good a linear classifier on frozen embeddings is with 1, 5, 10, 50 and 100 labels of each class."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from aekit.plugin import (
    DataError,
    Field,
    Metric,
    Result,
    Split,
    assign_folds,
    bootstrap,
    fit_logistic,
    sample_per_class,
)

COUNTS = (1, 5, 10, 50, 100)
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
SINGLE = 1e-2
"""C where one label a class leaves none to choose it with."""
ENOUGH = 1e-4
"""Tolerance of the fits: what is beyond changes less than another draw of the labels."""
SHOWN = 10
"""Labels of each class in the figure that tables show, where there are as many."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    most: Annotated[int, Field(ge=1, description="labels of each class at most, of 1, 5, 10, 50 and 100")] = 100,
    repeats: Annotated[int, Field(ge=1, description="draws of the labels")] = 10,
    folds: Annotated[int, Field(ge=2, description="of the cross-validation within the few labels, at most")] = 3,
    seed: Annotated[int, Field(ge=0, description="of the draws, the folds and the bootstrap")] = 0,
) -> Result:
    """Logistic regression on a few labeled training samples, drawn ten times.

    C is chosen by cross-validation within the few labels, so that no choice is made with labels that one would not have; the
    validation split is not used. Embeddings are standardized by the whole training part, which needs no labels. Figures are
    means over the draws, on the whole test part, with an interval over its samples; the table has the deviation over draws.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    classes, sizes = np.unique(labels[split.train], return_counts=True)
    fewest = int(sizes.min())
    counts = [count for count in COUNTS if count <= min(most, fewest)]
    if not counts:
        raise DataError("few-labels: there are no training samples with labels")
    mean = embeddings[split.train].mean(axis=0, dtype=np.float64)
    deviation = embeddings[split.train].std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-6 * np.abs(mean), 1 / np.maximum(deviation, 1e-30), 0)

    def ready(rows: np.ndarray) -> np.ndarray:
        return ((embeddings[rows] - mean) * scale).astype(np.float32)

    test, y_true = ready(split.test), labels[split.test]
    metrics: dict[str, Metric] = {}
    table: list[dict[str, Any]] = []
    scores: dict[int, np.ndarray] = {}
    for count in counts:
        right, chosen = [], []
        for draw in range(repeats):
            rows = sample_per_class(split.train, labels, count, seed=seed + draw)
            x, y = ready(rows), labels[rows]
            within = _span(x)
            x = x @ within
            strength = SINGLE if count == 1 else _chosen(x, y, min(folds, count), seed + draw)
            model = fit_logistic(x, y, [strength], tolerance=ENOUGH, standardize=False)
            right.append(model.predict(test @ within)[0] == y_true)
            chosen.append(strength)
        scores[count] = np.mean(right, axis=0)
        metrics[f"accuracy@{count}"] = bootstrap(scores[count], seed=seed, groups=split.test_groups)
        over = np.mean(right, axis=1)
        deviation_of = float(over.std(ddof=1)) if repeats > 1 else 0.0
        row = {"labels a class": count, "accuracy": float(over.mean()), "deviation over draws": deviation_of}
        table.append(row | {"median C": sorted(chosen)[(len(chosen) - 1) // 2]})
    shown = max(count for count in counts if count <= SHOWN)
    first = f"accuracy@{shown}"
    notes = [f"{repeats} draws of the labels"]
    if len(counts) < len([count for count in COUNTS if count <= most]):
        notes.append(f"no more than {counts[-1]} labels a class, as the smallest class has {fewest} training samples")
    return Result(
        {first: metrics[first], **metrics},
        {"C": {str(row["labels a class"]): row["median C"] for row in table}},
        table,
        scores=scores[shown],
        chosen_on="the few labels, by cross-validation",
        chance=1 / len(classes),  # who sees as many of each class knows of no commonest one
        notes=notes,
    )


def _span(x: np.ndarray) -> np.ndarray:
    """(N, D) -> (D, min(N, D)), an orthonormal basis in which few wide samples are narrow: the best coefficients lie in it."""
    if len(x) >= x.shape[1]:
        return np.eye(x.shape[1], dtype=np.float32)
    return np.linalg.svd(x, full_matrices=False)[2].T


def _chosen(x: np.ndarray, y: np.ndarray, folds: int, seed: int) -> float:
    """The best C of a cross-validation, of equals the smallest."""
    numbers = assign_folds(y, len(y), folds, seed)
    path = fit_logistic(x, y, STRENGTHS, tolerance=ENOUGH, held_out=numbers, standardize=False)
    right = (path.predict(x) == y).reshape(folds, len(STRENGTHS), len(y))
    held = numbers == np.arange(folds)[:, None]
    return STRENGTHS[int((right & held[:, None]).sum(axis=(0, 2)).argmax())]
