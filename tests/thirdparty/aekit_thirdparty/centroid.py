"""An evaluator: how often the nearest class mean is the right one."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from aekit.plugin import Field, Metric, Result, Split, bootstrap


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")] = 0,
) -> Result:
    """Class means are of the training and validation samples; how widely a mean is shrunk is chosen on validation.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    found = {
        share: _right(embeddings, labels, split.train, split.validation, share).mean() for share in (0.0, 0.1, 0.3)
    }
    shrunk = max(found, key=lambda share: found[share])
    seen = np.concatenate([split.train, split.validation])
    right = _right(embeddings, labels, seen, split.test, shrunk)
    metrics: dict[str, Metric] = {"accuracy": bootstrap(right, seed=seed)}
    return Result(metrics, {"shrunk": shrunk}, scores=right)


def _right(
    embeddings: np.ndarray, labels: np.ndarray, seen: np.ndarray, judged: np.ndarray, share: float
) -> np.ndarray:
    """(N,) 1 where the nearest of the class means, moved by a share towards the mean of all, is that of the class."""
    classes = np.unique(labels[seen])
    means = np.stack([embeddings[seen][labels[seen] == name].mean(axis=0) for name in classes])
    means += share * (embeddings[seen].mean(axis=0) - means)
    distances = ((embeddings[judged][:, None] - means) ** 2).sum(axis=2)  # (N, C)
    right: np.ndarray = classes[distances.argmin(axis=1)] == labels[judged]
    return right.astype(np.float64)
