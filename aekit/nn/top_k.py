"""Competition: of many entries only the largest stay."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_top_k(x: Tensor, count: int, dim: int) -> Tensor:
    """`x`, such as (B, D), with all but the `count` largest entries along a dimension set to zero."""
    values, places = x.topk(count, dim)
    return torch.zeros_like(x).scatter(dim, places, values)
