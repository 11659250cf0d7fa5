"""Recognize what torch made without importing torch: a process that has not imported it holds no tensors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs


def is_tensor(value: Any) -> TypeIs[Tensor]:
    """Return whether a value is a tensor of torch, of any layout."""
    torch = sys.modules.get("torch")
    return isinstance(value, getattr(torch, "Tensor", ()))


def without_tensor(value: Any) -> Any:
    """Return a tensor as an array in the memory of the CPU, bfloat16 as float32, and anything else as it is."""
    if not is_tensor(value):
        return value
    import torch

    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
