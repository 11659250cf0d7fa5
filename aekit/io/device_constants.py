"""Keep constants on the device, so that no training step copies them there."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache

import torch
from torch import Tensor


def constant_like(make: Callable[..., Tensor], *args: Hashable, like: Tensor) -> Tensor:
    """Return ``make(*args)``, computed on the CPU, with the device and dtype of `like`; recent ones are kept.

    Args:
        make: a function of a module, not a lambda, which would be another at every call.
        args: its arguments.
        like: a tensor whose device and dtype the result takes.
    """
    if torch.compiler.is_compiling():  # tensors of a trace would outlive it
        return make(*args).to(like.device, like.dtype)
    return _kept(make, args, like.device, like.dtype)


@lru_cache(maxsize=16)
def _kept(make: Callable[..., Tensor], args: tuple[Hashable, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # else a later training could not use it
        return make(*args).to(device, dtype)


forget_constants = _kept.cache_clear
"""Drop all kept constants, as tests with tensors of a fake device do."""
