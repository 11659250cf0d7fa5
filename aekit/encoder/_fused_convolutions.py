"""Let convolutions of a copy apply the activation after them in the same pass over memory, by oneDNN."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], tuple[str, list[float]]]] = {
    nn.ReLU: lambda layer: ("relu", []),
    nn.ReLU6: lambda layer: ("hardtanh", [0.0, 6.0]),
    nn.Hardtanh: lambda layer: ("hardtanh", [layer.min_val, layer.max_val]),
    nn.SiLU: lambda layer: ("swish", []),
    nn.LeakyReLU: lambda layer: ("leaky_relu", [layer.negative_slope]),
}
"""Activation -> its name and numbers in oneDNN."""


def is_activation(layer: nn.Module) -> bool:
    """Return whether convolutions can apply a layer."""
    return type(layer) in _ACTIVATIONS


def can_fuse() -> bool:
    """Return whether torch has the operations: its compiler's, which may change. They are measured on processors of x86 alone."""
    names = ("_convolution_pointwise", "_reorder_convolution_weight")
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return is_x86 and torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


def is_fusible(layer: nn.Module) -> bool:
    """Return whether oneDNN computes a layer as torch does; subclasses may compute something else."""
    if not (type(layer) is nn.Conv2d or _pads_by_size(layer)):
        return False
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return False
    return layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32


def _pads_by_size(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution of timm that pads as TensorFlow: by the size of its input, at the end first."""
    return type(layer) is getattr(sys.modules.get("timm.layers.conv2d_same"), "Conv2dSame", None)


def _sides(layer: nn.Conv2d, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the zeros before and after the rows, and the columns, of inputs of a shape."""
    if not _pads_by_size(layer):
        return [(int(zeros), int(zeros)) for zeros in layer.padding]
    sides = []
    for size, kernel, stride, dilation in zip(shape[2:], layer.kernel_size, layer.stride, layer.dilation):
        zeros = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        sides.append((zeros // 2, zeros - zeros // 2))
    return sides


def _multiplies_bf16() -> bool:
    """Return whether oneDNN takes bfloat16 on this processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def fuse(layer: nn.Conv2d, activation: nn.Module | None, shape: tuple[int, ...]) -> None:
    """Let a convolution apply an activation too, with its weight in the order that oneDNN multiplies in, in float32 or bfloat16.

    Args:
        layer: to change.
        activation: that follows it; None: nothing does.
        shape: (B, C, H, W) of its inputs; others are computed too, but more slowly.
    """
    name, numbers = _ACTIVATIONS[type(activation)](activation) if activation is not None else ("none", [])
    conv, packed, by_size = layer.forward, dict[torch.dtype, tuple[Tensor, Tensor | None]](), _pads_by_size(layer)
    (top, bottom), (left, right) = _sides(layer, shape)
    # oneDNN pads both sides alike. A kernel of each channel alone is extended by zeros at its start then, which takes less time
    # than a pass over memory; one of all channels is not, as it multiplies with each of these zeros.
    more = [bottom - top, right - left]
    extends = layer.groups == layer.in_channels and tuple(layer.dilation) == (1, 1) and max(more) <= 1
    before = (0, 0, 0, 0) if extends or not any(more) else (left, right, top, bottom)
    padding = [0, 0] if any(before) else [bottom, right]
    settings: tuple[Any, ...] = (padding, list(layer.stride), list(layer.dilation), layer.groups)
    padded = [*shape[:2], shape[2] + before[2] + before[3], shape[3] + before[0] + before[1]]

    def pack(dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        weight = layer.weight.detach().to(dtype)
        if extends and any(more):
            weight = pad(weight, (more[1], 0, more[0], 0)).contiguous(memory_format=torch.channels_last)
        weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *settings, padded)
        packed[dtype] = weight, None if layer.bias is None else layer.bias.detach().to(dtype)
        return packed[dtype]

    def forward(x: Tensor) -> Tensor:
        # Autocasting changes the types of torch's own operations alone.
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
        computes = dtype == torch.float32 or (dtype == torch.bfloat16 and _multiplies_bf16())
        other = by_size and x.shape[2:] != shape[2:]
        if x.ndim != 4 or x.dtype not in (torch.float32, dtype) or not computes or other:
            plain = conv(x)
            return plain if activation is None else activation(plain)
        x = pad(x.to(dtype), before) if any(before) else x.to(dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        weight, bias = packed[dtype] if dtype in packed else pack(dtype)
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *settings, name, numbers, "")
        return output

    pack(torch.float32)

    layer.__dict__["forward"] = forward
