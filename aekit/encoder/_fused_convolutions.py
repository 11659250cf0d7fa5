"""Let convolutions of a copy apply the activation after them in the same pass over memory, by oneDNN."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

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
    if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return False
    return layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32


def _multiplies_bf16() -> bool:
    """Return whether oneDNN takes bfloat16 on this processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def fuse(layer: nn.Conv2d, activation: nn.Module | None, shape: tuple[int, ...]) -> None:
    """Let a convolution apply an activation too, with its weight in the order that oneDNN multiplies in, in float32 or bfloat16.

    Args:
        layer: to change.
        activation: that follows it; None: nothing does.
        shape: (B, C, H, W) of its inputs; others are computed too, but their weight is put in order each time.
    """
    name, numbers = _ACTIVATIONS[type(activation)](activation) if activation is not None else ("none", [])
    settings: tuple[Any, ...] = (list(layer.padding), list(layer.stride), list(layer.dilation), layer.groups)
    conv, packed = layer._conv_forward, dict[torch.dtype, tuple[Tensor, Tensor | None]]()

    def pack(dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        weight = torch.ops.mkldnn._reorder_convolution_weight(layer.weight.detach().to(dtype), *settings, list(shape))
        packed[dtype] = weight, None if layer.bias is None else layer.bias.detach().to(dtype)
        return packed[dtype]

    def forward(x: Tensor) -> Tensor:
        # Autocasting changes the types of torch's own operations alone.
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
        computes = dtype == torch.float32 or (dtype == torch.bfloat16 and _multiplies_bf16())
        if x.ndim != 4 or x.dtype not in (torch.float32, dtype) or not computes:
            plain = conv(x, layer.weight, layer.bias)
            return plain if activation is None else activation(plain)
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        weight, bias = packed[dtype] if dtype in packed else pack(dtype)
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *settings, name, numbers, "")
        return output

    pack(torch.float32)

    layer.__dict__["forward"] = forward
