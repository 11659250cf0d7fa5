"""k nearest neighbors: whether samples of a class lie together (Wu et al., Unsupervised feature learning, 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Literal, get_args

import numpy as np

from aekit.plugin import Field, Metric, Result, Split, bootstrap, majority_class_accuracy, nearest_neighbors

GRID = (1, 3, 5, 10, 20, 50, 100, 200)
TEMPERATURES = (0.0, 0.03, 0.07, 0.2)
QUERIES = 8192
"""Whose neighbors are held at a time."""
Distance = Literal["cosine", "l2"]


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    most: Annotated[int, Field(ge=1, description="largest k tried, of 1, 3, 5, 10, 20, 50, 100, 200")] = 200,
    metric: Annotated[
        Literal["auto", "cosine", "l2"], Field(description="auto: chosen on the validation split")
    ] = "auto",
    temperature: Annotated[
        float | None,
        Field(ge=0, description="of the weights; 0: neighbors count alike; by default chosen of 0, 0.03, 0.07, 0.2"),
    ] = None,
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")] = 0,
) -> Result:
    """A vote among the nearest, each with the weight ``exp(similarity / temperature)``, or all alike; ties go to the class
    that is nearer.

    Similarities are cosines, or negative squared distances in shares of the mean squared distance between two training
    samples. k, metric and temperature are chosen on the validation split; for the figure, train and validation are searched.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    tried = [k for k in GRID if k <= min(most, len(split.train))]
    temperatures = TEMPERATURES if temperature is None else (temperature,)
    found: dict[tuple[Distance, float, int], float] = {}
    for name in get_args(Distance) if metric == "auto" else (metric,):
        for heat, k, answer in _votes(embeddings, labels, split.train, split.validation, tried, name, temperatures):
            found[name, heat, k] = float((answer == labels[split.validation]).mean())
    # Of equals the plain vote, then the fewest neighbors.
    name, heat, k = max(found, key=lambda choice: (found[choice], -choice[1], -choice[2]))
    seen = np.concatenate([split.train, split.validation])
    ((_, _, answer),) = _votes(embeddings, labels, seen, split.test, [k], name, [heat])
    right = (answer == labels[split.test]).astype(np.float64)
    metrics: dict[str, Metric] = {"accuracy": bootstrap(right, seed=seed, groups=split.test_groups)}
    table = [
        {"metric": m, "temperature": t, "k": n, "validation accuracy": value} for (m, t, n), value in found.items()
    ]
    chosen = {"metric": name, "k": k, "temperature": heat}
    return Result(metrics, chosen, table, scores=right, chance=majority_class_accuracy(labels, split))


def _votes(
    embeddings: np.ndarray,
    labels: np.ndarray,
    base: np.ndarray,
    queries: np.ndarray,
    tried: Sequence[int],
    metric: Distance,
    temperatures: Sequence[float],
) -> Iterator[tuple[float, int, np.ndarray]]:
    """For each temperature, and for each k in rising order, the answers (Q,)."""
    classes, codes = np.unique(labels[base], return_inverse=True)
    blocks = [queries[start : start + QUERIES] for start in range(0, len(queries), QUERIES)]
    near = [nearest_neighbors(embeddings[rows], embeddings[base], tried[-1], metric=metric) for rows in blocks]
    similar, found = (np.concatenate(parts) for parts in zip(*near))
    if metric == "l2":
        similar = similar / max(2 * float(embeddings[base].var(axis=0, dtype=np.float64).sum()), 1e-12)
    rows = np.arange(len(queries))
    for heat in temperatures:
        votes = np.zeros((len(queries), len(classes)))
        for start, k in pairwise([0, *tried]):
            for rank in range(start, k):
                # Compared with the nearest, so that no weight is too large to be held.
                weight = np.exp((similar[:, rank] - similar[:, 0]) / heat) if heat else 1.0
                # A little less for each rank further out, in all less than one vote: it decides ties alone.
                votes[rows, codes[found[:, rank]]] += weight * (1 - 1e-6 * rank)
            yield heat, k, classes[votes.argmax(axis=1)]
