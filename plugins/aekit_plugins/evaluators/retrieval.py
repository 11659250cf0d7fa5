"""Retrieval: how many of the samples found for a test sample are of its class."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from aekit.evaluation import Result, Split, bootstrap, nearest
from aekit.options import Field

BLOCK = 8192
"""Queries whose neighbours are held at a time."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    metric: Annotated[Literal["cosine", "l2"], Field(description="what nearness means")] = "cosine",
    depth: Annotated[int, Field(ge=10, le=1000, description="length of the ranking that mAP looks at")] = 100,
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")] = 0,
) -> Result:
    """Each test sample searches the training part.

    Average precision is the mean, over the places of the ranking where a sample of the class stands, of the precision up
    to there; the places that are missing, of as many as there could be, count 0.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    base = labels[split.train]
    blocks = [split.test[start : start + BLOCK] for start in range(0, len(split.test), BLOCK)]
    precision: dict[int, list[np.ndarray]] = {1: [], 5: [], 10: []}
    average: list[np.ndarray] = []
    for rows in blocks:
        _, found = nearest(embeddings[rows], embeddings[split.train], depth, metric=metric)
        relevant = base[found] == labels[rows][:, None]  # (B, depth)
        for k, parts in precision.items():
            parts.append(relevant[:, :k].mean(axis=1))
        average.append(_average_precision(relevant, _frequency(base, labels[rows])))
    scores = np.concatenate(average)
    metrics = {f"map@{depth}": bootstrap(scores, seed=seed)}
    metrics |= {f"precision@{k}": bootstrap(np.concatenate(parts), seed=seed) for k, parts in precision.items()}
    return Result(metrics, {"metric": metric}, scores=scores)


def _average_precision(relevant: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """(B, depth) bool, in the order of the ranking, and (B,) samples of the class in the base -> (B,)."""
    precision = relevant.cumsum(axis=1) / np.arange(1, relevant.shape[1] + 1)
    return (precision * relevant).sum(axis=1) / np.clip(possible, 1, relevant.shape[1])


def _frequency(base: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How often each of `wanted` (B,) is in `base`."""
    ordered = np.sort(base)
    return np.searchsorted(ordered, wanted, "right") - np.searchsorted(ordered, wanted, "left")
