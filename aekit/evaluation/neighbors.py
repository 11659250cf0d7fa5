"""Search exact nearest neighbors in arrays, block by block, so that memory does not grow with queries x vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor

Metric = Literal["cosine", "l2"]

_QUERIES, _BASE = 1024, 4096
"""Rows of a block: 16 MiB of similarities, which stay in the cache until the largest are selected."""
_RANKED = 2**22
"""Entries of full rankings in memory at a time."""
_GROUP = 32
"""Adjacent entries of which only the largest is considered at first."""


def nearest_neighbors(
    queries: np.ndarray, base: np.ndarray, k: int, *, metric: Metric = "cosine", device: torch.device | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k rows of `base` nearest to each query, nearest first.

    Args:
        queries: (Q, D).
        base: (N, D).
        k: number of neighbors, at most N.
        metric: ``cosine`` or ``l2``.
        device: device to compute on; default: a GPU if there is one.

    Returns:
        (Q, k) float32 similarities, cosines or negative squared distances, and (Q, k) int64 positions.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    k = min(k, len(base))
    prepared = _prepared(base, base, metric, device)
    blocks = [_search(rows, prepared, k, metric) for rows in _prepared(queries, base, metric, device).split(_QUERIES)]
    scores = torch.cat([score for score, _ in blocks]) if blocks else torch.empty(0, k)
    positions = torch.cat([position for _, position in blocks]) if blocks else torch.empty(0, k, dtype=torch.int64)
    return scores.cpu().numpy(), positions.cpu().numpy()


def to_distances(similarities: np.ndarray) -> np.ndarray:
    """Return the distances, float64, for the similarities that ``metric = "l2"`` returns."""
    return np.sqrt(-similarities.astype(np.float64))


def rank_neighbors(
    queries: np.ndarray, base: np.ndarray, *, metric: Metric = "cosine", device: torch.device | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rank all rows of `base`, nearest first, for a few queries at a time.

    Args:
        queries: (Q, D).
        base: (N, D).
        metric: ``cosine`` or ``l2``.
        device: device to compute on; default: a GPU if there is one.

    Yields:
        The slice of queries, and (B, N) int64 positions.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows, prepared = _prepared(queries, base, metric, device), _prepared(base, base, metric, device)
    step = max(1, _RANKED // len(base))
    for start in range(0, len(rows), step):
        scores = rows[start : start + step] @ prepared.T
        if metric == "l2":
            scores = 2 * scores - prepared.square().sum(1)
        yield slice(start, start + step), _descending_order(scores)


def _descending_order(scores: Tensor) -> np.ndarray:
    """Return the (B, N) positions of the entries of each row, largest first, equal ones by position."""
    if scores.device.type != "cpu":
        return scores.argsort(dim=1, descending=True, stable=True).cpu().numpy()
    # NumPy sorts numbers with vector instructions, but no positions: each number is a key, with its position below it.
    bits = (0.0 - scores).view(torch.int32)  # as a difference, -0 equals 0
    keys = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    packed = ((keys << 32) | torch.arange(scores.shape[1])).numpy()
    packed.sort(axis=1)
    packed &= 0xFFFFFFFF
    return packed


def nearest_other_neighbors(vectors: np.ndarray, k: int, *, metric: Metric = "cosine") -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest other rows of each of (N, D) rows, nearest first; k is at most N - 1.

    Returns:
        (N, k) similarities and (N, k) positions, as `nearest_neighbors` returns them.
    """
    k = min(k, len(vectors) - 1)
    scores, positions = nearest_neighbors(vectors, vectors, k + 1, metric=metric)
    # Remove the sample itself, wherever it is among samples equal to it.
    other = positions != np.arange(len(vectors))[:, None]
    other[other.all(1), -1] = False
    return scores[other].reshape(len(vectors), k), positions[other].reshape(len(vectors), k)


def _prepared(rows: np.ndarray, base: np.ndarray, metric: Metric, device: torch.device) -> Tensor:
    if metric == "l2":  # distances do not change, but float32 is more precise near the origin
        rows = rows - np.asarray(base).mean(axis=0, dtype=np.float64)
    prepared = to_tensor(np.asarray(rows, np.float32)).to(device)
    return torch.nn.functional.normalize(prepared, dim=1) if metric == "cosine" else prepared


def _search(rows: Tensor, base: Tensor, k: int, metric: Metric) -> tuple[Tensor, Tensor]:
    """Search (B, D) in (N, D), merging the best of each block with the best so far."""
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
    """Return the k largest entries of each row of (B, N) and their positions: ``scores.topk(k)``, faster for k << N.

    The k largest entries lie in the k groups with the largest maxima, and a maximum needs no sorting.
    """
    count = scores.shape[1]
    whole = count - count % _GROUP
    if whole // _GROUP < 2 * k:
        return scores.topk(k, dim=1)
    groups = scores[:, :whole].unflatten(1, (-1, _GROUP)).amax(2).topk(k, dim=1, sorted=False).indices
    within = torch.arange(_GROUP, device=scores.device)
    remainder = torch.arange(whole, count, device=scores.device).expand(len(scores), -1)
    candidates = torch.cat([(groups[:, :, None] * _GROUP + within).flatten(1), remainder], 1)
    values, places = scores.gather(1, candidates).topk(k, dim=1)
    return values, candidates.gather(1, places)


def _blocks(base: Tensor) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(base), _BASE):
        yield start, base[start : start + _BASE]
