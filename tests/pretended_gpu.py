"""A GPU that is not there but computes: tensors that say they are on it hold their numbers on the CPU, and refuse to mix.

Unlike the fake tensors of `fake_cuda`, these have values, so code that decides by them runs to its end, and its results can be
compared with those of the CPU. They have no gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
_MOVES = ("_to_copy", "copy_", "to")
"""Operations between two devices."""
_INDEXED = ("index", "index_put_", "_unsafe_index")
"""Operations on a tensor of the GPU whose indices may be on the CPU."""


class _Held(Tensor):
    """A tensor that says it is on the GPU.

    Attributes:
        numbers: the same tensor on the CPU.
    """

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> _Held:
        layout = {"strides": numbers.stride(), "storage_offset": numbers.storage_offset(), "dtype": numbers.dtype}
        tensor: _Held = Tensor._make_wrapper_subclass(cls, numbers.shape, **layout, device=GPU)  # type: ignore[attr-defined]
        tensor.numbers = numbers
        return tensor

    def __repr__(self) -> str:  # type: ignore[override]
        return f"on the GPU: {self.numbers!r}"

    def tolist(self) -> Any:
        """Read the values, as every tensor but a subclass does."""
        return self.numbers.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _compute(function, args, dict(kwargs or {}))


class _OnGPU(TorchDispatchMode):
    """Take part in operations without a tensor of the GPU too, such as those that make one."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _compute(function, args, dict(kwargs or {}))


def _compute(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Compute an operation on the CPU; its results are on the GPU if its tensors are, or if it names the GPU."""
    name = function.overloadpacket.__name__
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    held = [tensor for tensor in tensors if isinstance(tensor, _Held)]
    others = [tensor for tensor in tensors if not isinstance(tensor, _Held) and tensor.ndim]
    indexes = name in _INDEXED and isinstance(args[0], _Held)
    if held and others and name not in _MOVES and not indexes:
        raise RuntimeError(
            f"{name}: expected all tensors on the same device, found at least two devices, cuda:0 and cpu"
        )
    named = [leaf.type for leaf in leaves if isinstance(leaf, torch.device)]
    on_gpu = GPU.type in named if named else isinstance(args[0], _Held) if name == "copy_" else bool(held)
    known = {id(tensor.numbers): tensor for tensor in held}

    def plain(value: Any) -> Any:
        if isinstance(value, torch.device):
            return torch.device("cpu")
        return value.numbers if isinstance(value, _Held) else value

    def put(value: Any) -> Any:
        if not isinstance(value, Tensor) or not on_gpu:
            return value
        return (
            known[id(value)] if id(value) in known else _Held(value)
        )  # the tensor itself, where it was changed in place

    return tree_map(put, function(*tree_map(plain, list(args)), **tree_map(plain, kwargs)))


@contextmanager
def pretended_gpu() -> Iterator[Callable[[Tensor], Tensor]]:
    """Let torch have a GPU within the context, which is then the default device; yield a function that moves a tensor to it."""
    # As FakeTensorMode does: without a driver, choosing the current device does nothing, and torch.tensor starts on the CPU.
    only_lifts_cpu = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    torch._C._ensureCUDADeviceGuardSet()
    with (
        mock.patch.object(torch.cuda, "_lazy_init", lambda: None),
        mock.patch.object(torch.cuda, "is_available", lambda: True),
        torch.inference_mode(),
        _OnGPU(),
    ):
        try:
            yield lambda tensor: tensor.to(GPU)
        finally:
            torch._C._set_only_lift_cpu_tensors(only_lifts_cpu)
