"""Count the bytes of the tensors that a computation holds at a time."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter

from aekit.training._operation_watcher import OperationWatcher


class LiveBytes(OperationWatcher):
    """Watch every operation within the context, and count the tensors that it creates until they are freed.

    Attributes:
        total: bytes of all tensors that were created.
        after: bytes that were held after each operation, of tensors that were created within the context.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = self._live = 0
        self.after: list[int] = []
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        inputs: set[int] | None = None
        for tensor in tree_iter(result):
            if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.device.type == "meta":
                continue
            storage = tensor.untyped_storage()
            if storage._cdata in self._known:
                continue
            if inputs is None:  # a view of what existed before the context takes nothing
                flat = (value for value in tree_iter((args, kwargs)) if isinstance(value, Tensor))
                inputs = {value.untyped_storage()._cdata for value in flat if value.layout == torch.strided}
            if storage._cdata not in inputs:
                self._hold(storage)
        self.after.append(self._live)
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()

        def release(reference: object) -> None:
            self._live -= size
            del self._known[address]

        self._known[address] = weakref.ref(storage, release)
        self._live += size
        self.total += size
