"""Search exact nearest neighbors in arrays, block by block, so that memory does not grow with queries x vectors.

NumPy computes on the CPU, many queries in several threads; torch, whose import takes longer than most searches, on a GPU alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from aekit.evaluation._neighbor_rows import Metric as Metric, Prepared, beyond_float32, prepare
from aekit.io.gpus import has_cuda
from aekit.io.threads import in_threads

if TYPE_CHECKING:
    import torch

_QUERIES, _BASE = 256, 4096
"""Rows of a block: 4 MiB of similarities, which stay in the cache until the largest are selected."""
_RANKED = 2**22
"""Entries of full rankings in memory at a time."""
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
    k = min(k, len(base))
    prepared = prepare(queries, base, metric)
    if _on_gpu(device):
        from aekit.evaluation._gpu_neighbors import search_on_gpu

        return search_on_gpu(prepared, k, device)
    scores, positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    blocks = [slice(start, start + _QUERIES) for start in range(0, len(queries), _QUERIES)]
    results = in_threads(lambda block: _search(prepared, block, k), blocks, len(queries) * base.size)
    for block, (near, where) in zip(blocks, results):
        scores[block], positions[block] = near, where
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
    prepared = prepare(queries, base, metric)
    step = max(1, _RANKED // len(base))
    if _on_gpu(device):
        from aekit.evaluation._gpu_neighbors import rank_on_gpu

        yield from rank_on_gpu(prepared, step, device)
        return
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        yield block, _descending_order(_similarities(prepared, block, slice(None)))


def _on_gpu(device: torch.device | None) -> bool:
    return has_cuda() if device is None else device.type != "cpu"


def _descending_order(scores: np.ndarray) -> np.ndarray:
    """Return the (B, N) positions of the entries of each row, largest first, equal ones by position."""
    packed = _keys(scores, np.arange(scores.shape[1]))
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


def _similarities(prepared: Prepared, queries: slice, base: slice) -> np.ndarray:
    """Return (B, N) similarities of queries and vectors, without the offsets of the queries."""
    with beyond_float32():
        products = prepared.rows[queries] @ prepared.base[base].T
        if prepared.bias is not None:
            products += prepared.bias[base]
    return products


def _search(prepared: Prepared, queries: slice, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Search B queries; equal neighbors are ordered by position."""
    best = np.empty((len(prepared.rows[queries]), 0), np.int64)
    for start in range(0, len(prepared.base), _BASE):
        scores = _similarities(prepared, queries, slice(start, start + _BASE))
        best = _with_larger(best, scores, start, k)
    near = np.minimum(_scores(best) + prepared.offset[queries, None], np.float32(prepared.largest))
    return near, best & 0xFFFFFFFF


def _with_larger(best: np.ndarray, values: np.ndarray, start: int, k: int) -> np.ndarray:
    """Return the keys (B, K) of the k largest of (B, N) scores and of those before, of which (B, J) keys are the best.

    Only what is at least the k-th largest so far is sorted: at first the k-th of the largest entries of groups, as no fewer
    entries can be as large. NaN, which is not a number to compare with, is sorted too.
    """
    count = values.shape[1]
    least = np.full((len(values), 1), -np.inf, np.float32)
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
