"""Build a network in several processes, none of which holds all of its weights.

Initial weights follow from a seed, so every process draws the numbers of all of them, in the order of a single process. What it
has drawn it keeps in part: where an operation needs a tensor again, the parts of all processes are put together.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_iter

from aekit.io.processes import Ranks

LARGE = 2**16
"""Bytes of the smallest tensor of which a process keeps a part."""
BUDGET = 2**26
"""Bytes of the tensors that each process holds in whole, besides those in use."""


@dataclass
class _Memory:
    """The memory of a tensor, of which a process has a part or all.

    Attributes:
        storage: weak reference to it.
        size: bytes of the whole.
        part: bytes of this process, padded to as many in all; None: the memory is whole.
    """

    storage: StorageWeakRef
    size: int
    part: Tensor | None = None


class PartialMemory:
    """The large tensors on the CPU that are created within `building`, in which all processes do the same.

    Args:
        ranks: the processes.
        budget: bytes that each holds in whole.
    """

    def __init__(self, ranks: Ranks, budget: int = BUDGET) -> None:
        self.ranks, self.budget = ranks, budget
        self._known: OrderedDict[int, _Memory] = OrderedDict()  # by address, the one that was used last at the end

    @contextmanager
    def building(self) -> Iterator[None]:
        """Keep tensors that were not used for long in part, within the context."""
        collects = gc.isenabled()
        gc.disable()  # it runs at other times in other processes, which must agree on what there is
        try:
            with _Readings(self), _Operations(self):
                yield
        finally:
            gc.collect()
            if collects:
                gc.enable()

    def restore(self, tensors: Iterable[Tensor]) -> None:
        """Make tensors whole, and forget them; called by all processes alike."""
        for tensor in tensors:
            if self._is_known(tensor):
                self._complete(self._known.pop(tensor.untyped_storage()._cdata))

    def restore_all(self) -> None:
        """Make all tensors whole that are left; called by all processes alike."""
        while self._known:
            self._complete(self._known.popitem()[1])

    def use(self, tensors: Iterable[Tensor], overwritten: Tensor | None = None) -> None:
        """Make tensors whole before an operation; the values of one that it overwrites do not matter."""
        for tensor in tensors:
            if self._is_known(tensor):
                address = tensor.untyped_storage()._cdata
                self._known.move_to_end(address)
                whole = tensor is overwritten and tensor.numel() * tensor.element_size() == self._known[address].size
                self._complete(self._known[address], values=not whole)

    def keep(self, created: Iterable[Tensor], used: int) -> None:
        """Note what an operation has created, and keep a part of those that were used before the last `used` tensors."""
        for tensor in created:
            storage = tensor.untyped_storage() if _is_plain(tensor) else None
            if storage is not None and storage.nbytes() >= LARGE and storage.resizable():
                self._known.setdefault(storage._cdata, _Memory(StorageWeakRef(storage), storage.nbytes()))
        for address in [address for address, memory in self._known.items() if memory.storage.expired()]:
            del self._known[address]
        whole = [memory for memory in self._known.values() if memory.part is None]
        total = sum(memory.size for memory in whole)
        for memory in whole[: max(0, len(whole) - used)]:
            if total <= self.budget:
                break
            self._divide(memory)
            total -= memory.size

    def _is_known(self, tensor: Tensor) -> bool:
        return _is_plain(tensor) and tensor.untyped_storage()._cdata in self._known

    def _divide(self, memory: _Memory) -> None:
        storage = _storage(memory)
        if storage is None or storage.nbytes() != memory.size:
            return
        share = -(-memory.size // self.ranks.size)
        values = _bytes_of(storage)[self.ranks.rank * share :][:share]
        memory.part = values.new_zeros(share)
        memory.part[: len(values)] = values
        storage.resize_(0)

    def _complete(self, memory: _Memory, *, values: bool = True) -> None:
        storage = None if memory.part is None else _storage(memory)
        if storage is None or memory.part is None:
            return
        storage.resize_(memory.size)
        if values:
            _bytes_of(storage).copy_(self.ranks.gather(memory.part).flatten()[: memory.size])
        memory.part = None


def _storage(memory: _Memory) -> torch.UntypedStorage | None:
    return torch.UntypedStorage._new_with_weak_ptr(memory.storage.cdata)


def _bytes_of(storage: torch.UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu" and tensor.layout == torch.strided
    )


class _Operations(TorchDispatchMode):
    """Watch every operation, of which each says what it reads and writes."""

    def __init__(self, memory: PartialMemory) -> None:
        super().__init__()
        self.memory = memory

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        with torch._C.DisableTorchFunction():
            inputs = [value for value in tree_iter((args, options)) if isinstance(value, Tensor)]
            overwrites = function.overloadpacket in _OVERWRITING and not any(_overlap(inputs[0], x) for x in inputs[1:])
            self.memory.use(inputs, inputs[0] if overwrites else None)
            result = function(*args, **options)
            outputs = [value for value in tree_iter(result) if isinstance(value, Tensor)]
            self.memory.keep(outputs, used=len(inputs) + len(outputs))
            return result


def _overlap(a: Tensor, b: Tensor) -> bool:
    return _is_plain(a) and _is_plain(b) and a.untyped_storage()._cdata == b.untyped_storage()._cdata


class _Readings(TorchFunctionMode):
    """Watch what reads the memory of a tensor without an operation; the tensor stays whole from then on."""

    def __init__(self, memory: PartialMemory) -> None:
        super().__init__()
        self.memory = memory

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in _READING:
            with _disable_current_modes():
                self.memory.restore(value for value in args[:1] if isinstance(value, Tensor))
        return function(*args, **dict(kwargs or {}))


_FILLING = ("uniform_", "normal_", "fill_", "zero_", "copy_", "random_", "bernoulli_", "exponential_")
_OVERWRITING = {getattr(torch.ops.aten, name) for name in _FILLING}
_NAMES = ("numpy", "tolist", "data_ptr", "untyped_storage", "storage", "__array__", "__dlpack__", "__reduce_ex__")
_READING = {getattr(Tensor, name) for name in _NAMES}
