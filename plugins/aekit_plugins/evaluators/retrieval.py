"""Retrieval: how many of the samples found for a test sample are of its class, and how many of its class are found."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from aekit.plugin import Field, Result, Split, bootstrap, nearest_neighbors, rank_neighbors, stratified_sample

BLOCK = 8192
"""Queries whose neighbors are held at a time."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    metric: Annotated[Literal["cosine", "l2"], Field(description="what nearness means")] = "cosine",
    depth: Annotated[int, Field(ge=10, le=1000, description="length of the ranking that mAP looks at")] = 100,
    most: Annotated[
        int, Field(ge=10, description="test samples above which whole rankings are made for some of them, by class")
    ] = 1000,
    seed: Annotated[int, Field(ge=0, description="of those samples and the bootstrap")] = 0,
) -> Result:
    """Each test sample searches the training part.

    ``map@100``: average precision is the mean, over the places of the ranking where a sample of the class stands, of the
    precision up to there; the places that are missing, of as many as there could be, count 0. ``hit@k``: a sample of the
    class is among the first k (what metric learning calls recall@k); ``recall@k``: the share of the class that is. Over whole
    rankings: ``map``, and ``r_precision``, the precision at as many places as the class has samples.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    base = labels[split.train]
    gathered: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(split.test), BLOCK):
        rows = split.test[start : start + BLOCK]
        _, found = nearest_neighbors(embeddings[rows], embeddings[split.train], depth, metric=metric)
        relevant, possible = base[found] == labels[rows][:, None], _frequency(base, labels[rows])  # (B, depth), (B,)
        figures = {f"map@{depth}": _average_precision(relevant, possible)}
        figures |= {f"precision@{k}": relevant[:, :k].mean(axis=1) for k in (1, 5, 10)}
        figures |= {f"hit@{k}": relevant[:, :k].any(axis=1).astype(float) for k in (5, 10)}
        figures[f"recall@{depth}"] = relevant.sum(axis=1) / np.maximum(possible, 1)
        for name, values in figures.items():
            gathered.setdefault(name, []).append(values)
    scores = {name: np.concatenate(parts) for name, parts in gathered.items()}
    groups = split.test_groups
    metrics = {name: bootstrap(values, seed=seed, groups=groups) for name, values in scores.items()}
    some = stratified_sample(split.test, labels, most, seed=seed)
    own = None if split.groups is None else split.groups[some]
    whole = _whole(embeddings, labels, split.train, some, metric)
    metrics |= {name: bootstrap(values, seed=seed, groups=own) for name, values in whole.items()}
    few = f"map and r_precision: whole rankings for {len(some):,} of {len(split.test):,} test samples"
    return Result(
        metrics,
        {"metric": metric},
        scores=scores[f"map@{depth}"],
        chance=_by_chance(_frequency(base, labels[split.test]), len(base), depth),
        notes=[few] if len(some) < len(split.test) else [],
    )


def _whole(
    embeddings: np.ndarray, labels: np.ndarray, train: np.ndarray, queries: np.ndarray, metric: Literal["cosine", "l2"]
) -> dict[str, np.ndarray]:
    """(Q,) average precision and R-precision over rankings of all training samples."""
    base, average, precise = labels[train], [], []
    for part, order in rank_neighbors(embeddings[queries], embeddings[train], metric=metric):
        wanted = labels[queries[part]]
        relevant, possible = base[order] == wanted[:, None], _frequency(base, wanted)
        average.append(_average_precision(relevant, possible))
        within = relevant.cumsum(axis=1)[np.arange(len(wanted)), np.maximum(possible, 1) - 1]
        precise.append(within / np.maximum(possible, 1))
    return {"map": np.concatenate(average), "r_precision": np.concatenate(precise)}


def _average_precision(relevant: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """(B, depth) bool, in the order of the ranking, and (B,) samples of the class in the base -> (B,)."""
    precision = relevant.cumsum(axis=1) / np.arange(1, relevant.shape[1] + 1)
    return (precision * relevant).sum(axis=1) / np.clip(possible, 1, relevant.shape[1])


def _by_chance(possible: np.ndarray, count: int, depth: int) -> float:
    """What average precision is expected to be where `count` samples, (Q,) of them of the class, stand in any order."""
    depth = min(depth, count)
    harmonic = float((1 / np.arange(1, depth + 1)).sum())
    others = np.maximum(possible - 1, 0) / max(1, count - 1)
    expected = possible / count * (harmonic + others * (depth - harmonic)) / np.clip(possible, 1, depth)
    return float(expected.mean())


def _frequency(base: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How often each of `wanted` (B,) is in `base`."""
    ordered = np.sort(base)
    return np.searchsorted(ordered, wanted, "right") - np.searchsorted(ordered, wanted, "left")
