"""Check what variants and pretext tasks return, so that a wrong value is told in one line that names the plugin."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aekit.errors import PluginError
from aekit.registry.discovery import plugin_of


def check_samples(part: nn.Module, method: str, returned: Any, samples: Tensor) -> Tensor:
    """Return what a method made of samples.

    Args:
        part: the variant or pretext task.
        method: its method, for messages.
        returned: what it returned.
        samples: (B, *shape) what it took.

    Raises:
        PluginError: it is no tensor of the shape and dtype of the samples.
    """
    if not isinstance(returned, Tensor):
        raise refusal(part, method, returned, f"a tensor {tuple(samples.shape)}")
    if returned.shape != samples.shape or returned.dtype != samples.dtype:
        shown = f"{returned.dtype} of shape {tuple(returned.shape)}"
        expected = f"{samples.dtype} of shape {tuple(samples.shape)}, as its input"
        raise PluginError(f"{_described(part)}: {method}() returned {shown}: expected {expected}")
    return returned


def check_mask(part: nn.Module, method: str, returned: Any, samples: Tensor) -> None:
    """Check a mask over samples (B, *shape).

    Raises:
        PluginError: it is no bool tensor that broadcasts to the samples.
    """
    expected = f"a bool mask that broadcasts to {tuple(samples.shape)}"
    if not isinstance(returned, Tensor):
        raise refusal(part, method, returned, expected)
    sizes = zip(reversed(returned.shape), reversed(samples.shape))
    if returned.dtype != torch.bool or returned.ndim > samples.ndim or any(a not in (1, b) for a, b in sizes):
        shown = f"{returned.dtype} of shape {tuple(returned.shape)}"
        raise PluginError(f"{_described(part)}: {method}() returned a mask {shown}: expected {expected}")


def check_scalars(part: nn.Module, method: str, returned: Any) -> dict[str, Tensor]:
    """Return what a method returned, if it maps names to scalars.

    Raises:
        PluginError: it does not.
    """
    if not isinstance(returned, dict):
        raise refusal(part, method, returned, "a dict of scalars")
    for name, value in returned.items():
        check_scalar(part, method, value, f"{name!r} as ")
    return returned


def check_scalar(part: nn.Module, method: str, returned: Any, name: str = "") -> Tensor:
    """Return what a method returned, if it is a tensor without axes; `name` describes it in messages.

    Raises:
        PluginError: it is none.
    """
    if not isinstance(returned, Tensor) or returned.ndim:
        shape = f" of shape {tuple(returned.shape)}" if isinstance(returned, Tensor) else ""
        raise PluginError(
            f"{_described(part)}: {method}() returned {name}{type(returned).__name__}{shape}: "
            f"expected a tensor of shape ()"
        )
    return returned


def check_loss(part: nn.Module, returned: Any) -> dict[str, Tensor]:
    """Return what ``loss()`` of a pretext task returned.

    Raises:
        PluginError: it is no dict of scalars with a ``"loss"`` among them, or that has no gradient to train by.
    """
    terms = check_scalars(part, "loss", returned)
    if "loss" not in terms:
        raise PluginError(
            f"{_described(part)}: loss() returned {', '.join(map(repr, terms))}: expected 'loss' among them"
        )
    if torch.is_grad_enabled() and not terms["loss"].requires_grad:
        problem = "loss() returned a 'loss' without a gradient: compute it from encoder.encode(), and do not detach it"
        raise PluginError(f"{_described(part)}: {problem}")
    return terms


def check_code(head: nn.Module, code: Any, dim: int) -> Tensor:
    """Return the code that a head computed.

    Raises:
        PluginError: it is no tensor (B, dim).
    """
    if not isinstance(code, Tensor) or code.shape[1:] != (dim,):
        shown = f"a tensor of shape {tuple(code.shape)}" if isinstance(code, Tensor) else type(code).__name__
        raise PluginError(f"the head of the encoder, {type(head).__name__}, returned {shown}: expected (B, {dim})")
    return code


def refusal(part: nn.Module, method: str, returned: Any, expected: str) -> PluginError:
    """Return the error of a method of a variant or pretext task that returned something of another type."""
    return PluginError(f"{_described(part)}: {method}() returned {type(returned).__name__}: expected {expected}")


def _described(part: nn.Module) -> str:
    plugin = plugin_of(type(part))
    return type(part).__name__ if plugin is None else str(plugin)
