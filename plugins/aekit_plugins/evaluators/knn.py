"""k nearest neighbors: classify by the nearest samples (Wu et al., Unsupervised feature learning, 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Literal, get_args

import numpy as np

from aekit.plugin import Field, Metric, Result, Split, bootstrap, majority_class_accuracy, nearest_neighbors

K_VALUES = (1, 3, 5, 10, 20, 50, 100, 200)
TEMPERATURES = (0.0, 0.03, 0.07, 0.2)
BLOCK_SIZE = 8192
"""Queries searched at a time."""
Distance = Literal["cosine", "l2"]


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    max_k: Annotated[int, Field(ge=1, description="largest k to try of 1, 3, 5, 10, 20, 50, 100, 200")] = 200,
    metric: Annotated[
        Literal["auto", "cosine", "l2"], Field(description="distance; auto: chosen on the validation split")
    ] = "auto",
    temperature: Annotated[
        float | None,
        Field(
            ge=0, description="temperature of the weights; 0: equal weights; by default chosen from 0, 0.03, 0.07, 0.2"
        ),
    ] = None,
    seed: Annotated[int, Field(ge=0, description="seed of the bootstrap")] = 0,
) -> Result:
    """Classify by a vote of the nearest samples, weighted by ``exp(similarity / temperature)`` or equally.

    Ties go to the class with the nearer samples. Similarities are cosines, or negative squared distances divided by the mean
    squared distance between two training samples. k, metric and temperature are chosen on the validation split; for the
    test metrics, both train and validation are searched.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    k_values = [k for k in K_VALUES if k <= min(max_k, len(split.train))]
    temperatures = TEMPERATURES if temperature is None else (temperature,)
    accuracies: dict[tuple[Distance, float, int], float] = {}
    for name in get_args(Distance) if metric == "auto" else (metric,):
        votes = _votes(embeddings, labels, split.train, split.validation, k_values, name, temperatures)
        for t, k, predictions in votes:
            accuracies[name, t, k] = float((predictions == labels[split.validation]).mean())
    # In a tie, prefer equal weights, then the fewest neighbors.
    name, t, k = max(accuracies, key=lambda choice: (accuracies[choice], -choice[1], -choice[2]))
    training = np.concatenate([split.train, split.validation])
    ((_, _, predictions),) = _votes(embeddings, labels, training, split.test, [k], name, [t])
    correct = (predictions == labels[split.test]).astype(np.float64)
    metrics: dict[str, Metric] = {"accuracy": bootstrap(correct, seed=seed, groups=split.test_groups)}
    table = [
        {"metric": key[0], "temperature": key[1], "k": key[2], "validation accuracy": value}
        for key, value in accuracies.items()
    ]
    chosen = {"metric": name, "k": k, "temperature": t}
    return Result(metrics, chosen, table, scores=correct, chance=majority_class_accuracy(labels, split))


def _votes(
    embeddings: np.ndarray,
    labels: np.ndarray,
    base: np.ndarray,
    queries: np.ndarray,
    k_values: Sequence[int],
    metric: Distance,
    temperatures: Sequence[float],
) -> Iterator[tuple[float, int, np.ndarray]]:
    """Yield the temperature, k and the predictions (Q,), for each temperature and k in rising order."""
    classes, codes = np.unique(labels[base], return_inverse=True)
    blocks = [queries[start : start + BLOCK_SIZE] for start in range(0, len(queries), BLOCK_SIZE)]
    results = [nearest_neighbors(embeddings[rows], embeddings[base], k_values[-1], metric=metric) for rows in blocks]
    similarities, neighbors = (np.concatenate(parts) for parts in zip(*results))
    if metric == "l2":
        similarities = similarities / max(2 * float(embeddings[base].var(axis=0, dtype=np.float64).sum()), 1e-12)
    # A little less per rank, in total less than one vote, so that it only breaks ties.
    by_rank = 1 - 1e-6 * np.arange(k_values[-1])
    cells = np.arange(len(queries))[:, None] * len(classes) + codes[neighbors]
    for t in temperatures:
        # Relative to the nearest neighbor, so that no weight overflows.
        weights = (
            np.exp((similarities - similarities[:, :1]) / t) * by_rank if t else np.tile(by_rank, (len(queries), 1))
        )
        votes = np.zeros((len(queries), len(classes)))
        for start, k in pairwise([0, *k_values]):
            added = np.bincount(cells[:, start:k].ravel(), weights[:, start:k].ravel(), votes.size)
            votes += added.reshape(votes.shape)
            yield t, k, classes[votes.argmax(axis=1)]
