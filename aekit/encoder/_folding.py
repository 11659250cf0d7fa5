"""Copy a network for inference: batch norms and activations become part of the layers before them, convolutions are stored
channels last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.overrides import TorchFunctionMode

from aekit.encoder._fused_convolutions import can_fuse, fuse, is_activation, is_fusible

MAX_DEVIATION = 5e-5
"""Largest difference of an output vector of the copy from that of the network, as a fraction of its length: float32 rounding."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Dimensions of a convolution's weight -> memory format."""


@dataclass
class Observations:
    """What a forward pass showed.

    Attributes:
        output: (B, D) what the network returned.
        draws: whether it drew random numbers.
        largest: bytes per sample of the largest output of an operation.
        pairs: layers with the batch norm that takes their output.
        activations: layer -> the activation that takes its output, or that of its batch norm.
        shapes: convolution -> shape of its input.
        has_convolutions: whether there is a convolution over two or three axes.
    """

    output: Tensor
    draws: bool = False
    largest: int = 0
    pairs: list[tuple[nn.Module, nn.Module]] = field(default_factory=list)
    activations: dict[nn.Module, nn.Module] = field(default_factory=dict)
    shapes: dict[nn.Module, tuple[int, ...]] = field(default_factory=dict)
    has_convolutions: bool = False


def observe(network: nn.Module, run: Callable[[nn.Module], Tensor]) -> Observations:
    """Run a network once and record its layers.

    Args:
        network: in eval mode.
        run: runs it, or a copy of it, on some samples, and returns (B, D).
    """
    seen = Observations(torch.empty(0))
    calls: Counter[nn.Module] = Counter()
    last: tuple[nn.Module, Any] | None = None

    def before(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if last is None or not inputs or inputs[0] is not last[1]:
            return
        if isinstance(layer, _NORMS):
            seen.pairs.append((last[0], layer))
        elif is_activation(layer):
            seen.activations[last[0]] = layer

    def after(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal last
        calls[layer] += 1
        if isinstance(layer, (*_CONVOLUTIONS, nn.Linear)):
            last = layer, output
            if isinstance(layer, _CONVOLUTIONS) and layer.weight.ndim in _FORMATS:
                seen.has_convolutions = True
                seen.shapes[layer] = tuple(inputs[0].shape)
        elif seen.pairs and seen.pairs[-1][1] is layer:
            last = seen.pairs[-1][0], output
        elif is_activation(layer):  # in place, it returns what the layer before it has returned
            last = None

    state = torch.get_rng_state()
    with _hooks(network, before, after), _Outputs(seen):
        seen.output = run(network)
    seen.draws = not torch.equal(torch.get_rng_state(), state)
    candidates = seen.pairs
    seen.pairs = [pair for pair in candidates if all(calls[layer] == 1 for layer in pair) and _foldable(*pair)]
    for layer, norm in seen.pairs:
        within = [child for child in norm.children() if not isinstance(child, nn.Identity)]
        if len(within) == 1 and is_activation(within[0]):
            seen.activations[layer] = within[0]
    not_folded = {layer for layer, _ in candidates} - {layer for layer, _ in seen.pairs}
    seen.activations = {
        layer: activation
        for layer, activation in seen.activations.items()
        if calls[layer] == calls[activation] == 1 and layer not in not_folded
    }
    return seen


class _Outputs(TorchFunctionMode):
    """Record the largest output of a layer's operations, which may call functions rather than modules."""

    def __init__(self, seen: Observations) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and output.ndim and len(output):
            size = min(output.nbytes, output.untyped_storage().nbytes())  # an expanded tensor repeats what it holds
            self._seen.largest = max(self._seen.largest, size // len(output))
        return output


@contextmanager
def _hooks(network: nn.Module, before: Callable[..., None], after: Callable[..., None]) -> Iterator[None]:
    leaves = [module for module in network.modules() if isinstance(module, _NORMS) or not any(module.children())]
    handles = [leaf.register_forward_pre_hook(before) for leaf in leaves]
    handles += [leaf.register_forward_hook(after) for leaf in leaves]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _foldable(layer: Any, norm: Any) -> bool:
    if norm.training or norm.running_mean is None or (isinstance(layer, _TRANSPOSED) and layer.groups > 1):
        return False
    return not isinstance(layer, nn.Linear) or norm.weight is not None


def faster_copy(
    network: nn.Module, seen: Observations, run: Callable[[nn.Module], Tensor], batch_size: int | None = None
) -> nn.Module:
    """Return a copy that computes the same up to rounding, or the network itself if there is nothing to gain.

    The copy shares all tensors with the network except those of layers that change; the network is not modified.

    Args:
        network: in eval mode.
        seen: what `observe` returned for it.
        run: as in `observe`; the outputs of both are compared.
        batch_size: samples per forward pass; None: as many as `run` has.
    """
    if not seen.pairs and not seen.has_convolutions:
        return network
    for fused in (True, False) if can_fuse() else (False,):
        try:
            copy = _changed_copy(network, seen, batch_size, fused=fused)
            output = run(copy)
        except Exception:  # networks are code of others: what cannot be copied or changed runs as it is
            continue
        if _agree(output, seen.output):
            return copy
    return network


def _changed_copy(network: nn.Module, seen: Observations, batch_size: int | None, *, fused: bool) -> nn.Module:
    memo: dict[int, Any] = {}
    copy = copy_sharing_tensors(network, memo)
    for layer, norm in seen.pairs:
        _fold(memo[id(layer)], memo[id(norm)])
    for module in copy.modules():
        if isinstance(module, _CONVOLUTIONS) and module.weight.ndim in _FORMATS:
            weight = module.weight.detach().contiguous(memory_format=_FORMATS[module.weight.ndim])
            module.weight = nn.Parameter(weight, requires_grad=False)
    for layer, shape in seen.shapes.items() if fused else ():
        if is_fusible(memo[id(layer)]):
            activation = seen.activations.get(layer)
            fuse(memo[id(layer)], activation, (batch_size or shape[0], *shape[1:]))
            if activation is not None:
                memo[id(activation)].__dict__["forward"] = nn.Identity()
    return copy


def copy_sharing_tensors(network: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Copy the modules of a network, but not its parameters and buffers.

    Args:
        network: to copy.
        memo: receives the copy of each module by its `id`.
    """
    memo = {} if memo is None else memo
    memo |= {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}  # their own copies
    return deepcopy(network, memo)


def _fold(layer: Any, norm: Any) -> None:
    """Let a layer compute its batch norm, which then applies only the layers within it, such as an activation."""
    statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    if isinstance(layer, nn.Linear):
        weight, bias = fuse_linear_bn_weights(layer.weight, layer.bias, *statistics)
    else:
        weight, bias = fuse_conv_bn_weights(layer.weight, layer.bias, *statistics, isinstance(layer, _TRANSPOSED))
    layer.weight, layer.bias = (nn.Parameter(tensor.detach(), requires_grad=False) for tensor in (weight, bias))
    norm.__dict__["forward"] = nn.Sequential(*norm.children())  # which as an attribute would become a child


def _agree(output: Tensor, expected: Tensor) -> bool:
    """Return whether outputs (B, ...) are equal up to rounding; those that are not finite are not."""
    if output.shape != expected.shape:
        return False
    rows = len(expected)
    deviation = torch.linalg.vector_norm((output - expected).reshape(rows, -1).double(), dim=1)
    length = torch.linalg.vector_norm(expected.reshape(rows, -1).double(), dim=1)
    return bool((deviation <= MAX_DEVIATION * length).all())
