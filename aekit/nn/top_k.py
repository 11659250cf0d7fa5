"""Competition between entries, of which only the largest are kept."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_top_k(x: Tensor, count: int, dim: int) -> Tensor:
    """Set all but the `count` largest entries of `x`, e.g. (B, D), along a dimension to zero."""
    values, indices = x.topk(count, dim)
    return torch.zeros_like(x).scatter(dim, indices, values)
