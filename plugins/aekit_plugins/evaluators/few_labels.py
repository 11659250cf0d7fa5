"""Few labels: accuracy of a linear classifier on frozen embeddings with 1 to 100 labels per class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    draws_at_once,
    fit_draws,
    fit_logistic,
    sample_per_class,
)

COUNTS = (1, 5, 10, 50, 100)
"""Labels per class."""
C_VALUES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Values of C tried."""
ONE_SHOT_C = 1e-2
"""C for one label per class, where none is left to choose C with."""
TOLERANCE = 1e-4
"""Tolerance of the fits: a smaller one changes less than another draw of the labels does."""
HEADLINE_COUNT = 10
"""Labels per class of the metric that tables show, or the largest count below it."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    max_per_class: Annotated[int, Field(ge=1, description="most labels per class, of 1, 5, 10, 50 and 100")] = 100,
    repeats: Annotated[int, Field(ge=1, description="number of draws of the labels")] = 10,
    folds: Annotated[int, Field(ge=2, description="maximum number of folds of the cross-validation")] = 3,
    seed: Annotated[int, Field(ge=0, description="seed of the draws, the folds and the bootstrap")] = 0,
) -> Result:
    """Fit logistic regressions to a few labeled training samples, drawn several times.

    C is chosen by cross-validation within the few labels, so that no other labels are used, not even the validation split.
    Embeddings are standardized by the whole training split, which needs no labels. Metrics are means over the draws on the
    whole test split, with an interval over its samples; the table has the standard deviation over the draws.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.

    Raises:
        DataError: no training samples have labels.
    """
    classes, sizes = np.unique(labels[split.train], return_counts=True)
    smallest = int(sizes.min())
    counts = [count for count in COUNTS if count <= min(max_per_class, smallest)]
    if not counts:
        raise DataError("few-labels: no training samples have labels")
    mean, scale = _standardization(embeddings[split.train])

    def standardized(rows: np.ndarray) -> np.ndarray:
        return ((embeddings[rows] - mean) * scale).astype(np.float32)

    test, y_true = standardized(split.test), labels[split.test]
    metrics: dict[str, Metric] = {}
    table: list[dict[str, Any]] = []
    scores: dict[int, np.ndarray] = {}
    for count in counts:
        rows = np.stack([sample_per_class(split.train, labels, count, seed=seed + draw) for draw in range(repeats)])
        correct, c_values = [], []
        for weights, c in _fit_each(
            rows, standardized, np.searchsorted(classes, labels[rows]), min(folds, count), seed
        ):
            correct.append(classes[(test @ weights[:, :-1].T + weights[:, -1]).argmax(axis=1)] == y_true)
            c_values.append(c)
        scores[count] = np.mean(correct, axis=0)
        metrics[f"accuracy@{count}"] = bootstrap(scores[count], seed=seed, groups=split.test_groups)
        by_draw = np.mean(correct, axis=1)
        std_over_draws = float(by_draw.std(ddof=1)) if repeats > 1 else 0.0
        row = {"labels per class": count, "accuracy": float(by_draw.mean()), "std over draws": std_over_draws}
        table.append(row | {"median C": sorted(c_values)[(len(c_values) - 1) // 2]})
    headline_count = max(count for count in counts if count <= HEADLINE_COUNT)
    headline = f"accuracy@{headline_count}"
    notes = [f"{repeats} draws of the labels"]
    if len(counts) < len([count for count in COUNTS if count <= max_per_class]):
        notes.append(f"at most {counts[-1]} labels per class, as the smallest class has {smallest} training samples")
    return Result(
        {headline: metrics[headline], **metrics},
        {"C": {str(row["labels per class"]): row["median C"] for row in table}},
        table,
        scores=scores[headline_count],
        chosen_on="the few labels, by cross-validation",
        chance=1 / len(classes),  # equal counts per class do not reveal the majority class
        notes=notes,
    )


def _standardization(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the means (D,) of samples (N, D), and the factors (D,) of their distances from these; 0 for a constant entry."""
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    return mean, np.where(deviation > 1e-6 * np.abs(mean), 1 / np.maximum(deviation, 1e-30), 0)


def _fit_each(
    rows: np.ndarray, samples_of: Callable[[np.ndarray], np.ndarray], y: np.ndarray, folds: int, seed: int
) -> Iterator[tuple[np.ndarray, float]]:
    """Fit a model to each draw of rows, as many at once as is fastest, and yield its coefficients (C, D + 1) and its C.

    Args:
        rows: (G, N) positions of the labeled samples of each draw.
        samples_of: returns the standardized samples (M, D) of M rows.
        y: (G, N) class numbers.
        folds: as of `_fit_all`.
        seed: as of `_fit_all`.
    """
    width = min(rows.shape[1], samples_of(rows[0, :1]).shape[1])
    together = max(1, draws_at_once(folds * len(C_VALUES), rows.shape[1], width))
    fit = _fit_one if together == 1 else _fit_all
    for start in range(0, len(rows), together):
        part = slice(start, start + together)
        x = samples_of(rows[part].ravel()).reshape(*rows[part].shape, -1)
        yield from zip(*fit(x, y[part], folds, seed + start))


def _fit_all(x: np.ndarray, y: np.ndarray, folds: int, seed: int) -> tuple[np.ndarray, list[float]]:
    """Fit models to several draws at once, each with its best C by cross-validation, the smallest in a tie.

    Args:
        x: (G, N, D) samples.
        y: (G, N) class numbers.
        folds: F; with one there is no cross-validation.
        seed: seed of the folds of the first draw; the seed of the next is one more.

    Returns:
        (G, C, D + 1) float32 coefficients, the intercept last, and the value of C of each draw.
    """
    bases = np.stack([_span(draw) for draw in x])
    x = x @ bases
    c_values = [ONE_SHOT_C] * len(x)
    if folds > 1:
        fold_of = np.stack([assign_folds(labels, len(labels), folds, seed + draw) for draw, labels in enumerate(y)])
        path = fit_draws(x, y, C_VALUES, tolerance=TOLERANCE, held_out=fold_of)  # (G, F, S, C, R + 1)
        logits = x[:, None, None] @ path[..., :-1].swapaxes(-1, -2).astype(np.float32) + path[..., None, :, -1]
        held_out = fold_of[:, None] == np.arange(folds)[:, None]  # (G, F, N)
        correct = (logits.argmax(axis=-1) == y[:, None, None]) & held_out[:, :, None]
        c_values = [C_VALUES[number] for number in correct.sum(axis=(1, 3)).argmax(axis=1)]
    models = fit_draws(x, y, np.array(c_values)[:, None], tolerance=TOLERANCE)[:, 0, 0]
    weights = models[..., :-1] @ bases.swapaxes(1, 2)
    return np.concatenate([weights, models[..., -1:]], axis=2).astype(np.float32), c_values


def _fit_one(x: np.ndarray, y: np.ndarray, folds: int, seed: int) -> tuple[np.ndarray, list[float]]:
    """Fit a model to a single draw, as `_fit_all` does to several."""
    (samples,), (labels,) = x, y
    basis = _span(samples)
    samples = samples @ basis
    c = ONE_SHOT_C if folds == 1 else _choose_c(samples, labels, folds, seed)
    model = fit_logistic(samples, labels, [c], tolerance=TOLERANCE, standardize=False)
    weights = np.concatenate([model.coef[0] @ basis.T, model.intercept[0][:, None]], axis=1)
    return weights[None].astype(np.float32), [c]


def _span(x: np.ndarray) -> np.ndarray:
    """Return a (D, min(N, D)) orthonormal basis of the span of the samples (N, D), in which the best coefficients lie."""
    if len(x) >= x.shape[1]:
        return np.eye(x.shape[1], dtype=np.float32)
    return np.linalg.qr(x.T)[0]


def _choose_c(x: np.ndarray, y: np.ndarray, folds: int, seed: int) -> float:
    """Return the best C by cross-validation, the smallest in a tie."""
    fold_of = assign_folds(y, len(y), folds, seed)
    path = fit_logistic(x, y, C_VALUES, tolerance=TOLERANCE, held_out=fold_of, standardize=False)
    correct = (path.predict(x) == y).reshape(folds, len(C_VALUES), len(y))
    held_out = fold_of == np.arange(folds)[:, None]
    return C_VALUES[int((correct & held_out[:, None]).sum(axis=(0, 2)).argmax())]
