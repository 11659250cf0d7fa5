"""k nearest neighbours: whether samples of a class lie together (Wu et al., 2018, without its temperature)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal, get_args

import numpy as np

from aekit.evaluation import Metric, Result, Split, bootstrap, nearest
from aekit.options import Field

GRID = (1, 3, 5, 10, 20, 50, 100, 200)
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
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")] = 0,
) -> Result:
    """A vote among the nearest; ties go to the class that is nearer.

    k and the metric are chosen on the validation split; for the figure, train and validation are searched.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    tried = [k for k in GRID if k <= min(most, len(split.train))]
    found: dict[tuple[Distance, int], float] = {}
    for name in get_args(Distance) if metric == "auto" else (metric,):
        for k, answer in _votes(embeddings, labels, split.train, split.validation, tried, name):
            found[name, k] = float((answer == labels[split.validation]).mean())
    name, k = max(found, key=lambda choice: (found[choice], -choice[1]))
    seen = np.concatenate([split.train, split.validation])
    ((_, answer),) = _votes(embeddings, labels, seen, split.test, [k], name)
    right = (answer == labels[split.test]).astype(np.float64)
    metrics: dict[str, Metric] = {"accuracy": bootstrap(right, seed=seed)}
    table = [{"metric": m, "k": n, "validation accuracy": value} for (m, n), value in found.items()]
    return Result(metrics, {"metric": name, "k": k}, table, scores=right)


def _votes(
    embeddings: np.ndarray,
    labels: np.ndarray,
    base: np.ndarray,
    queries: np.ndarray,
    tried: list[int],
    metric: Distance,
) -> Iterator[tuple[int, np.ndarray]]:
    """For each k, in rising order, the answers (Q,)."""
    _, found = nearest(embeddings[queries], embeddings[base], tried[-1], metric=metric)
    classes, codes = np.unique(labels[base], return_inverse=True)
    votes = np.zeros((len(queries), len(classes)))
    rows = np.arange(len(queries))
    for start, k in pairwise([0, *tried]):
        for rank in range(start, k):
            # A little less for each rank further out, in all less than one vote: it decides ties alone.
            votes[rows, codes[found[:, rank]]] += 1 - 1e-6 * rank
        yield k, classes[votes.argmax(axis=1)]
