"""Exact nearest neighbors among arrays, block by block: memory does not grow with queries x vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor

Metric = Literal["cosine", "l2"]

_QUERIES, _BASE = 1024, 4096
"""Rows in a block: 16 MiB of similarities, which stay in the cache until the largest are found."""
_RANKED = 2**22
"""Places of whole rankings that are made at a time."""
_GROUP = 32
"""Neighboring entries of which first only the largest is looked at."""


def nearest_neighbors(
    queries: np.ndarray, base: np.ndarray, k: int, *, metric: Metric = "cosine", device: torch.device | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `base` nearest to each query, nearest first.

    Args:
        queries: (Q, D).
        base: (N, D).
        k: cut to N where it is larger.
        metric: ``cosine`` or ``l2``.
        device: where to compute; default: a GPU where there is one.

    Returns:
        (Q, k) float32 similarities, which are cosines or negative squared distances, and (Q, k) int64 positions.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    k = min(k, len(base))
    prepared = _prepared(base, base, metric, device)
    found = [_search(rows, prepared, k, metric) for rows in _prepared(queries, base, metric, device).split(_QUERIES)]
    scores = torch.cat([score for score, _ in found]) if found else torch.empty(0, k)
    positions = torch.cat([position for _, position in found]) if found else torch.empty(0, k, dtype=torch.int64)
    return scores.cpu().numpy(), positions.cpu().numpy()


def rank_neighbors(
    queries: np.ndarray, base: np.ndarray, *, metric: Metric = "cosine", device: torch.device | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """All rows of `base`, nearest first, for a few queries at a time.

    Args:
        queries: (Q, D).
        base: (N, D).
        metric: ``cosine`` or ``l2``.
        device: where to compute; default: a GPU where there is one.

    Yields:
        Which queries, and (B, N) int64 positions.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    asked, held = _prepared(queries, base, metric, device), _prepared(base, base, metric, device)
    step = max(1, _RANKED // len(base))
    for start in range(0, len(asked), step):
        scores = asked[start : start + step] @ held.T
        if metric == "l2":
            scores = 2 * scores - held.square().sum(1)
        yield slice(start, start + step), scores.argsort(dim=1, descending=True, stable=True).cpu().numpy()


def nearest_other_neighbors(vectors: np.ndarray, k: int, *, metric: Metric = "cosine") -> tuple[np.ndarray, np.ndarray]:
    """The k others that are nearest to each of (N, D), nearest first; at most N - 1.

    Returns:
        (N, k) similarities and (N, k) positions, as `nearest`.
    """
    k = min(k, len(vectors) - 1)
    scores, found = nearest_neighbors(vectors, vectors, k + 1, metric=metric)
    # A sample itself is left out, wherever it stands among samples that are equal to it.
    other = found != np.arange(len(vectors))[:, None]
    other[other.all(1), -1] = False
    return scores[other].reshape(len(vectors), k), found[other].reshape(len(vectors), k)


def _prepared(rows: np.ndarray, base: np.ndarray, metric: Metric, device: torch.device) -> Tensor:
    if metric == "l2":  # distances are the same anywhere, but float32 keeps more of them near the origin
        rows = rows - np.asarray(base).mean(axis=0, dtype=np.float64)
    held = to_tensor(np.asarray(rows, np.float32)).to(device)
    return torch.nn.functional.normalize(held, dim=1) if metric == "cosine" else held


def _search(rows: Tensor, base: Tensor, k: int, metric: Metric) -> tuple[Tensor, Tensor]:
    """(B, D) against all of (N, D): the best of each block are merged with the best so far."""
    best = rows.new_empty(len(rows), 0)
    where = torch.empty(len(rows), 0, dtype=torch.int64, device=rows.device)
    for start, block in _blocks(base):
        scores = rows @ block.T
        if metric == "l2":
            scores = 2 * scores - block.square().sum(1) - rows.square().sum(1, keepdim=True)
        near, local = fast_topk(scores, min(k, len(block)))
        best, where = torch.cat([best, near], 1), torch.cat([where, local + start], 1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        where = where.gather(1, order)
    return (best.clamp(max=0) if metric == "l2" else best), where


def fast_topk(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of (B, N), largest first, and where they are: what ``scores.topk(k)`` gives, several times faster
    for k far below N.

    The k largest entries lie in the k groups of the largest maxima, and a maximum is found without sorting.
    """
    count = scores.shape[1]
    whole = count - count % _GROUP
    if whole // _GROUP < 2 * k:
        return scores.topk(k, dim=1)
    groups = scores[:, :whole].unflatten(1, (-1, _GROUP)).amax(2).topk(k, dim=1, sorted=False).indices
    within = torch.arange(_GROUP, device=scores.device)
    rest = torch.arange(whole, count, device=scores.device).expand(len(scores), -1)
    candidates = torch.cat([(groups[:, :, None] * _GROUP + within).flatten(1), rest], 1)
    values, places = scores.gather(1, candidates).topk(k, dim=1)
    return values, candidates.gather(1, places)


def _blocks(base: Tensor) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(base), _BASE):
        yield start, base[start : start + _BASE]
