"""Run aekit in the usual state of torch, whatever the caller has set: a default dtype or device, autocast, no gradients."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any


def usual_torch_state() -> AbstractContextManager[Any]:
    """Return a context with gradients, float32 as the default dtype, the CPU as the default device, and no autocast.

    It costs microseconds where that is the state already, and restores what the caller has set.
    """
    torch = sys.modules.get("torch")
    if not hasattr(torch, "autocast"):  # not imported, or not yet
        return nullcontext()
    contexts = list(_changes(torch))
    if not contexts:
        return nullcontext()
    stack = ExitStack()
    for context in contexts:
        stack.enter_context(context)
    return stack


def _changes(torch: Any) -> Iterator[AbstractContextManager[Any]]:
    if torch.is_inference_mode_enabled():
        yield torch.inference_mode(False)
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        yield torch.enable_grad()
    if torch.get_default_dtype() != torch.float32 or _users_of_float32:
        yield _float32(torch)
    if torch.get_default_device().type != "cpu":
        yield torch.device("cpu")
    for device in ("cpu", "cuda", "mps", "xpu"):
        if torch.is_autocast_enabled(device):
            # Weights that are cast within would be kept until the caller leaves autocast, though training changes them.
            yield torch.autocast(device, enabled=False, cache_enabled=False)


_lock = threading.Lock()
_users_of_float32 = 0
_dtype_of_caller: Any = None


@contextmanager
def _float32(torch: Any) -> Iterator[None]:
    """Make float32 the default dtype.

    All threads share it: the first to enter notes that of the caller, and the last to leave restores it.
    """
    global _users_of_float32, _dtype_of_caller
    with _lock:
        if not _users_of_float32:
            _dtype_of_caller = torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
        _users_of_float32 += 1
    try:
        yield
    finally:
        with _lock:
            _users_of_float32 -= 1
            if not _users_of_float32:
                torch.set_default_dtype(_dtype_of_caller)
