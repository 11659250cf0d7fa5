"""Retrieval: precision and recall of the class when test samples search the training split."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from aekit.plugin import Field, Result, Split, bootstrap, nearest_neighbors, rank_neighbors, stratified_sample

BLOCK_SIZE = 8192
"""Queries searched at a time."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    metric: Annotated[Literal["cosine", "l2"], Field(description="similarity of the ranking")] = "cosine",
    depth: Annotated[int, Field(ge=10, le=1000, description="length of the ranking for mAP")] = 100,
    max_queries: Annotated[
        int, Field(ge=10, description="maximum number of test samples for whole rankings, stratified by class")
    ] = 1000,
    seed: Annotated[int, Field(ge=0, description="seed of the drawn queries and the bootstrap")] = 0,
) -> Result:
    """Rank the training samples by similarity to each test sample.

    ``map@100``: mean over the test samples of the average precision, which is the mean of the precision at each rank with a
    sample of the class, with 0 for each one that is missing of min(depth, class size). ``hit@k``: a sample of the class is
    among the first k (recall@k in metric learning). ``recall@k``: the fraction of the class among the first k. Over whole
    rankings: ``map``, and ``r_precision``, the precision at the rank equal to the class size.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    base = labels[split.train]
    blocks: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(split.test), BLOCK_SIZE):
        rows = split.test[start : start + BLOCK_SIZE]
        _, neighbors = nearest_neighbors(embeddings[rows], embeddings[split.train], depth, metric=metric)
        relevant = base[neighbors] == labels[rows][:, None]  # (B, depth)
        possible = _class_sizes(base, labels[rows])  # (B,)
        block = {f"map@{depth}": _average_precision(relevant, possible)}
        block |= {f"precision@{k}": relevant[:, :k].mean(axis=1) for k in (1, 5, 10)}
        block |= {f"hit@{k}": relevant[:, :k].any(axis=1).astype(float) for k in (5, 10)}
        block[f"recall@{depth}"] = relevant.sum(axis=1) / np.maximum(possible, 1)
        for name, values in block.items():
            blocks.setdefault(name, []).append(values)
    scores = {name: np.concatenate(parts) for name, parts in blocks.items()}
    groups = split.test_groups
    metrics = {name: bootstrap(values, seed=seed, groups=groups) for name, values in scores.items()}
    queries = stratified_sample(split.test, labels, max_queries, seed=seed)
    query_groups = None if split.groups is None else split.groups[queries]
    whole = _whole_ranking_scores(embeddings, labels, split.train, queries, metric)
    metrics |= {name: bootstrap(values, seed=seed, groups=query_groups) for name, values in whole.items()}
    sampled = f"map and r_precision: whole rankings of {len(queries):,} of {len(split.test):,} test samples"
    return Result(
        metrics,
        {"metric": metric},
        scores=scores[f"map@{depth}"],
        chance=_chance(_class_sizes(base, labels[split.test]), len(base), depth),
        notes=[sampled] if len(queries) < len(split.test) else [],
    )


def _whole_ranking_scores(
    embeddings: np.ndarray, labels: np.ndarray, train: np.ndarray, queries: np.ndarray, metric: Literal["cosine", "l2"]
) -> dict[str, np.ndarray]:
    """Return (Q,) average precision and R-precision of rankings of all training samples."""
    base, average, r_precision = labels[train], [], []
    for part, order in rank_neighbors(embeddings[queries], embeddings[train], metric=metric):
        classes = labels[queries[part]]
        relevant, possible = base[order] == classes[:, None], np.maximum(_class_sizes(base, classes), 1)
        average.append(_average_precision(relevant, possible))
        hits = [np.count_nonzero(row[:size]) for row, size in zip(relevant, possible)]
        r_precision.append(hits / possible)
    return {"map": np.concatenate(average), "r_precision": np.concatenate(r_precision)}


def _average_precision(relevant: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """Return the (B,) average precision of rankings (B, depth) bool, given the (B,) class sizes."""
    rows, ranks = np.divmod(np.flatnonzero(relevant), relevant.shape[1])
    counts = np.bincount(rows, minlength=len(relevant))
    so_far = np.arange(1, len(rows) + 1) - (counts.cumsum() - counts)[rows]  # relevant samples up to each of them
    precision = np.bincount(rows, so_far / (ranks + 1), minlength=len(relevant))
    return precision / np.clip(possible, 1, relevant.shape[1])


def _chance(possible: np.ndarray, count: int, depth: int) -> float:
    """Return the expected average precision of random rankings of `count` samples, given the (Q,) class sizes."""
    depth = min(depth, count)
    harmonic = float((1 / np.arange(1, depth + 1)).sum())
    others = np.maximum(possible - 1, 0) / max(1, count - 1)
    expected = possible / count * (harmonic + others * (depth - harmonic)) / np.clip(possible, 1, depth)
    return float(expected.mean())


def _class_sizes(base: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how often each of `classes` (B,) occurs in `base`."""
    ordered = np.sort(base)
    return np.searchsorted(ordered, classes, "right") - np.searchsorted(ordered, classes, "left")
