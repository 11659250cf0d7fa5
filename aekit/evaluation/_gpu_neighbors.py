"""Search exact nearest neighbors on a GPU; see `aekit.evaluation.neighbors` for the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor

_QUERIES, _BASE = 256, 4096
"""Rows of a block."""
_GROUP = 32
"""Adjacent entries of which only the largest is considered at first."""


def search_on_gpu(
    queries: np.ndarray, base: np.ndarray, k: int, metric: str, device: torch.device | None
) -> tuple[np.ndarray, np.ndarray]:
    """Search float32 rows (Q, D) in (N, D), which are of length 1 or centered; otherwise as `nearest_neighbors`."""
    rows, vectors, squares = _moved(queries, base, metric, device)
    scores, positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    for start in range(0, len(rows), _QUERIES):
        block = slice(start, start + _QUERIES)
        scores[block], positions[block] = _search(rows[block], vectors, squares, k)
    return scores, positions


def rank_on_gpu(
    queries: np.ndarray, base: np.ndarray, step: int, metric: str, device: torch.device | None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rank float32 rows (N, D) for `step` queries at a time, as `rank_neighbors` does."""
    rows, vectors, squares = _moved(queries, base, metric, device)
    for start in range(0, len(rows), step):
        scores = _similarities(rows[start : start + step], vectors, squares)
        yield slice(start, start + step), scores.argsort(dim=1, descending=True, stable=True).cpu().numpy()


def _moved(
    queries: np.ndarray, base: np.ndarray, metric: str, device: torch.device | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    device = device or torch.device("cuda")
    rows, vectors = to_tensor(queries).to(device), to_tensor(base).to(device)
    return rows, vectors, vectors.square().sum(1) if metric == "l2" else None


def _similarities(rows: Tensor, base: Tensor, squares: Tensor | None) -> Tensor:
    """Return (B, N) products of rows; given (N,) squares of `base`, negative squared distances plus the square of each row."""
    return rows @ base.T if squares is None else torch.addmm(squares, rows, base.T, beta=-1, alpha=2)


def _search(rows: Tensor, base: Tensor, squares: Tensor | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Search (B, D) in (N, D), and merge the best of each block with the best so far."""
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
