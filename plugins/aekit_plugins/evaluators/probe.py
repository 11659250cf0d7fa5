"""Linear probe: how well a linear classifier on frozen embeddings finds the classes (Alain & Bengio, 2016)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from aekit.evaluation import Metric, Result, Split, bootstrap, fit_logistic
from aekit.options import Field


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    lowest: Annotated[float, Field(gt=0, description="smallest C tried: the strongest regularisation")] = 1e-4,
    highest: Annotated[float, Field(gt=0, description="largest C tried")] = 1e3,
    steps: Annotated[int, Field(ge=1, le=96, description="values of C tried, evenly spaced in the logarithm")] = 10,
    max_iterations: Annotated[int, Field(ge=1, description="of L-BFGS, for each C")] = 200,
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")] = 0,
) -> Result:
    """Logistic regression on standardised embeddings.

    C is chosen on the validation split; the figure is of the model fitted again, at that C, on train and validation.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    strengths = np.geomspace(lowest, highest, steps)
    path = fit_logistic(embeddings[split.train], labels[split.train], strengths, max_iterations=max_iterations)
    on_validation = (path.predict(embeddings[split.validation]) == labels[split.validation]).mean(axis=1)
    best = int(on_validation.argmax())  # of equals the most regularised
    seen = np.concatenate([split.train, split.validation])
    model = fit_logistic(embeddings[seen], labels[seen], strengths[[best]], max_iterations=max_iterations)
    truth, answer = labels[split.test], model.predict(embeddings[split.test])[0]
    right = (answer == truth).astype(np.float64)
    classes, confusion = _confusion(truth, answer)
    table = _by_class(classes, confusion)
    return Result(
        metrics={
            "accuracy": bootstrap(right, seed=seed),
            "balanced_accuracy": Metric(float(np.mean([row["recall"] for row in table if row["samples"]]))),
            "largest_class": Metric(_largest_class(labels[seen], truth)),
        },
        chosen={"C": float(strengths[best]), "of": steps, "converged": bool(model.converged[0])},
        table=table,
        figures={"confusion": confusion, "classes": classes.astype(str), "C": strengths, "validation": on_validation},
        scores=right,
    )


def _largest_class(seen: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy of always answering the commonest class."""
    classes, counts = np.unique(seen, return_counts=True)
    return float((truth == classes[counts.argmax()]).mean())


def _confusion(truth: np.ndarray, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes (C,) and counts (C, C): rows are true, columns are answers."""
    classes, codes = np.unique(np.concatenate([truth, answer]), return_inverse=True)
    pairs = codes[: len(truth)] * len(classes) + codes[len(truth) :]
    return classes, np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), len(classes))


def _by_class(classes: np.ndarray, confusion: np.ndarray) -> list[dict[str, Any]]:
    samples, answers, right = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    return [
        {
            "class": str(name),
            "samples": int(samples[i]),
            "recall": float(right[i] / max(1, samples[i])),
            "precision": float(right[i] / max(1, answers[i])),
        }
        for i, name in enumerate(classes)
    ]
