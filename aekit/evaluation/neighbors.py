"""Search exact nearest neighbors in arrays, block by block, so that memory does not grow with queries x vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor

Metric = Literal["cosine", "l2"]

_QUERIES, _BASE = 256, 4096
"""Rows of a block: 4 MiB of similarities, which stay in the cache until the largest are selected."""
_RANKED = 2**22
"""Entries of full rankings in memory at a time."""
_GROUP = 32
"""Adjacent entries of which a GPU considers only the largest at first."""
_NO_KEY = np.iinfo(np.int64).max


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
    squares = prepared.square().sum(1) if metric == "l2" else None
    search = _search_keys if device.type == "cpu" else _search
    scores, positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    for number, rows in enumerate(_prepared(queries, base, metric, device).split(_QUERIES)):
        if len(rows):
            block = slice(number * _QUERIES, number * _QUERIES + len(rows))
            scores[block], positions[block] = search(rows, prepared, squares, k)
    return scores, positions


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
    squares = prepared.square().sum(1) if metric == "l2" else None
    step = max(1, _RANKED // len(base))
    for start in range(0, len(rows), step):
        yield (
            slice(start, start + step),
            _descending_order(_similarities(rows[start : start + step], prepared, squares)),
        )


def _descending_order(scores: Tensor) -> np.ndarray:
    """Return the (B, N) positions of the entries of each row, largest first, equal ones by position."""
    if scores.device.type != "cpu":
        return scores.argsort(dim=1, descending=True, stable=True).cpu().numpy()
    packed = _keys(scores.numpy(), np.arange(scores.shape[1]))
    packed.sort(axis=1)
    packed &= 0xFFFFFFFF
    return packed


def _keys(scores: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return int64 numbers that rise as scores fall, and among equal scores with the position, which is below 2^32.

    NumPy sorts numbers with vector instructions, but no positions: each number is a key, with its position below it.
    """
    bits = (0.0 - scores).view(np.int32)  # as a difference, -0 equals 0
    keys = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    keys <<= 32
    keys |= positions
    return keys


def _scores(keys: np.ndarray) -> np.ndarray:
    """Return the float32 scores of keys."""
    bits = (keys >> 32).astype(np.int32)
    return 0.0 - np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).view(np.float32)


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


def _similarities(rows: Tensor, base: Tensor, squares: Tensor | None) -> Tensor:
    """Return (B, N) products of rows; given (N,) squares of `base`, negative squared distances plus the square of each row."""
    return rows @ base.T if squares is None else torch.addmm(squares, rows, base.T, beta=-1, alpha=2)


def _search_keys(rows: Tensor, base: Tensor, squares: Tensor | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Search (B, D) in (N, D) on the CPU; equal neighbors are ordered by position."""
    best = np.empty((len(rows), 0), np.int64)
    for start in range(0, len(base), _BASE):
        block = slice(start, start + _BASE)
        scores = _similarities(rows, base[block], None if squares is None else squares[block])
        best = _with_larger(best, scores, start, k)
    near = _scores(best)
    if squares is not None:
        near = np.minimum(near - rows.square().sum(1, keepdim=True).numpy(), 0.0)
    return near, best & 0xFFFFFFFF


def _with_larger(best: np.ndarray, scores: Tensor, start: int, k: int) -> np.ndarray:
    """Return the keys (B, K) of the k largest of (B, N) scores and of those before, of which (B, J) keys are the best.

    Only what is at least the k-th largest so far is sorted: at first the k-th of the largest entries of groups, as no fewer
    entries can be as large. NaN, which is not a number to compare with, is sorted too.
    """
    count = scores.shape[1]
    values, least = scores.numpy(), np.full((len(scores), 1), -np.inf, np.float32)
    if best.shape[1] == k:
        least = _scores(best[:, -1:])
    elif group := next((size for size in (32, 16, 8, 4, 2) if count // size >= 2 * k), 0):
        width = count // group
        largest = values[:, : group * width].reshape(len(values), group, width).max(axis=1)
        least = np.sort(largest, axis=1)[:, width - k, None]
    rows, columns = np.divmod(np.flatnonzero(~(values < least)), count)
    counts = np.bincount(rows, minlength=len(values))
    table = np.full((len(values), best.shape[1] + int(counts.max())), _NO_KEY)
    table[:, : best.shape[1]] = best
    places = best.shape[1] + np.arange(len(rows)) - (counts.cumsum() - counts)[rows]
    table[rows, places] = _keys(values[rows, columns], columns + start)
    table.sort(axis=1)
    return table[:, :k]


def _search(rows: Tensor, base: Tensor, squares: Tensor | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Search (B, D) in (N, D) on a GPU, merging the best of each block with the best so far."""
    best = rows.new_empty(len(rows), 0)
    where = torch.empty(len(rows), 0, dtype=torch.int64, device=rows.device)
    for start in range(0, len(base), _BASE):
        block = slice(start, start + _BASE)
        scores = _similarities(rows, base[block], None if squares is None else squares[block])
        near, local = fast_topk(scores, min(k, scores.shape[1]))
        best, where = torch.cat([best, near], 1), torch.cat([where, local + start], 1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        where = where.gather(1, order)
    if squares is not None:
        best = (best - rows.square().sum(1, keepdim=True)).clamp(max=0)
    return best.cpu().numpy(), where.cpu().numpy()


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
