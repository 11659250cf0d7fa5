"""Run aekit in the usual state of torch, whatever the caller has set: a default dtype or device, autocast, no gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

from aekit.shared_settings import SharedSetting


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
    if torch.get_default_dtype() != torch.float32 or _default_dtype.is_changed:
        yield _default_dtype.changed_to(torch.float32)
    if torch.get_default_device().type != "cpu":
        yield torch.device("cpu")
    for device in ("cpu", "cuda", "mps", "xpu"):
        if torch.is_autocast_enabled(device):
            # Weights that are cast within would be kept until the caller leaves autocast, though training changes them.
            yield torch.autocast(device, enabled=False, cache_enabled=False)


_default_dtype: SharedSetting[Any] = SharedSetting(
    lambda: sys.modules["torch"].get_default_dtype(), lambda dtype: sys.modules["torch"].set_default_dtype(dtype)
)
