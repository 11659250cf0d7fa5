"""An evaluator: accuracy of the nearest class mean."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from aekit.plugin import Field, Metric, Result, Split, bootstrap


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    seed: Annotated[int, Field(ge=0, description="seed of the bootstrap")] = 0,
) -> Result:
    """Classify by the nearest class mean, shrunk toward the mean of all; validation selects how much.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    accuracies = {
        shrinkage: _correct(embeddings, labels, split.train, split.validation, shrinkage).mean()
        for shrinkage in (0.0, 0.1, 0.3)
    }
    best = max(accuracies, key=lambda shrinkage: accuracies[shrinkage])
    training = np.concatenate([split.train, split.validation])
    correct = _correct(embeddings, labels, training, split.test, best)
    metrics: dict[str, Metric] = {"accuracy": bootstrap(correct, seed=seed)}
    return Result(metrics, {"shrinkage": best}, scores=correct)


def _correct(
    embeddings: np.ndarray, labels: np.ndarray, training: np.ndarray, evaluated: np.ndarray, shrinkage: float
) -> np.ndarray:
    """Return (N,) 1 where the nearest shrunk class mean is that of the label, else 0."""
    classes = np.unique(labels[training])
    means = np.stack([embeddings[training][labels[training] == name].mean(axis=0) for name in classes])
    means += shrinkage * (embeddings[training].mean(axis=0) - means)
    distances = ((embeddings[evaluated][:, None] - means) ** 2).sum(axis=2)  # (N, C)
    correct: np.ndarray = classes[distances.argmin(axis=1)] == labels[evaluated]
    return correct.astype(np.float64)
