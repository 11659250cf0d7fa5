"""Search exact nearest neighbors on a GPU; see `aekit.evaluation.neighbors` for the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.evaluation._neighbor_rows import Prepared

_QUERIES, _BASE = 256, 4096
"""Rows of a block."""
_GROUP = 32
"""Adjacent entries of which only the largest is considered at first."""


def search_on_gpu(prepared: Prepared, k: int, device: torch.device | None) -> tuple[np.ndarray, np.ndarray]:
    """Search as `nearest_neighbors` does."""
    rows, base, bias, offset = _moved(prepared, device)
    scores, positions = np.empty((len(rows), k), np.float32), np.empty((len(rows), k), np.int64)
    for start in range(0, len(rows), _QUERIES):
        block = slice(start, start + _QUERIES)
        best, where = _search(rows[block], base, bias, k)
        best = (best + offset[block, None]).clamp(max=prepared.largest)
        scores[block], positions[block] = best.cpu().numpy(), where.cpu().numpy()
    return scores, positions


def rank_on_gpu(prepared: Prepared, step: int, device: torch.device | None) -> Iterator[tuple[slice, np.ndarray]]:
    """Rank all vectors for `step` queries at a time, as `rank_neighbors` does."""
    rows, base, bias, _ = _moved(prepared, device)
    for start in range(0, len(rows), step):
        scores = _similarities(rows[start : start + step], base, bias)
        yield slice(start, start + step), scores.argsort(dim=1, descending=True, stable=True).cpu().numpy()


def _moved(prepared: Prepared, device: torch.device | None) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Return the queries, the vectors, the bias and the offsets on a GPU."""
    device = device or torch.device("cuda")
    rows, base, offset = (to_tensor(part).to(device) for part in (prepared.rows, prepared.base, prepared.offset))
    return rows, base, None if prepared.bias is None else to_tensor(prepared.bias).to(device), offset


def _similarities(rows: Tensor, base: Tensor, bias: Tensor | None) -> Tensor:
    """Return the (B, N) similarities of queries and vectors, without the offsets of the queries."""
    return rows @ base.T if bias is None else torch.addmm(bias, rows, base.T)


def _search(rows: Tensor, base: Tensor, bias: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """Search (B, D) in (N, D), and merge the best of each block with the best so far."""
    best = rows.new_empty(len(rows), 0)
    where = torch.empty(len(rows), 0, dtype=torch.int64, device=rows.device)
    for start in range(0, len(base), _BASE):
        block = slice(start, start + _BASE)
        scores = _similarities(rows, base[block], None if bias is None else bias[block])
        near, local = fast_topk(scores, min(k, scores.shape[1]))
        best, where = torch.cat([best, near], 1), torch.cat([where, local + start], 1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        where = where.gather(1, order)
    return best, where


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
