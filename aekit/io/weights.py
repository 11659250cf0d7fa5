"""Save, load and hash the weights of a module. No file is allowed to run code."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from aekit.errors import DataError, IdentityError, OutputError, printable
from aekit.io.manifests import canonical_json


class Hash(Protocol):
    """A hash object of `hashlib`."""

    def update(self, data: bytes, /) -> None: ...


def save_weights(module: nn.Module, path: Path) -> None:
    """Write parameters and persistent buffers, from any device.

    Raises:
        OutputError: a parameter is not finite.
    """
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            raise OutputError(f"{path}: {name} is not finite; not saved, as its outputs would not be numbers")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Load the weights that `save_weights` wrote; names and shapes must match exactly.

    Raises:
        IdentityError: the file is missing, damaged, or of another module.
    """
    try:
        module.load_state_dict(load_file(path), strict=True)
    except Exception as error:  # damaged bytes can raise anything
        raise IdentityError(f"{path}: does not load: {load_error(error)}") from error


SLACK = 2**24
"""Values that a network may have beyond those in its file: layers that are built and then replaced."""


@contextmanager
def sized_by(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Keep a network that is built in this block from being much larger than its weights, before its memory is filled.

    A manifest that asks for a layer of 10^12 units would otherwise exhaust the memory before the weights turn out not to fit.

    Raises:
        IdentityError: it becomes larger than the weights.
    """
    limit, thread = 2 * sum(tensor.numel() for tensor in weights.values()) + SLACK, threading.get_ident()
    count = 0

    def grow(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal count
        if tensor is not None and threading.get_ident() == thread:
            count += tensor.numel()
            if count > limit:
                raise IdentityError(
                    f"a network of {count:,} values is described, its file has {(limit - SLACK) // 2:,}"
                )

    hooks = register_module_parameter_registration_hook(grow), register_module_buffer_registration_hook(grow)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


TORCH_FILES = (".pth", ".pt", ".bin", ".ckpt")
_WRAPPINGS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read a state dict from a safetensors file, or from one that torch wrote, without running any code of it.

    Training programs wrap weights in a dict with the optimizer's state; averaged (EMA) weights take precedence. Prefixes that
    distributed and compiled networks add to the names are removed.

    Returns:
        the weights by name, and the key of the file that they were under, or "".

    Raises:
        DataError: there is no such file, or it holds no state dict.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix not in (".safetensors", *TORCH_FILES):
        raise DataError(f"{path}: ending {path.suffix!r}; expected one of .safetensors, {', '.join(TORCH_FILES)}")
    try:
        if path.suffix == ".safetensors":
            return _without_prefixes(load_file(path)), ""
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise anything
        why = "holds more than weights" if "weights_only" in str(error).lower() else load_error(error)
        raise DataError(f"{path}: cannot be read as weights: {why}; expected a state dict by name") from error
    wrapped = isinstance(content, dict)
    key = next((name for name in _WRAPPINGS if wrapped and isinstance(content.get(name), dict)), "")
    weights = content[key] if key else content
    if not isinstance(weights, dict) or not weights or not all(isinstance(w, Tensor) for w in weights.values()):
        raise DataError(f"{path}: holds no weights by name; expected a state dict")
    return _without_prefixes(weights), key


def _without_prefixes(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = list(weights)
    for prefix in (*_PREFIXES, *_PREFIXES):  # in either order
        if all(name.startswith(prefix) for name in names):
            names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, weights.values()))


def state_dict_differences(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> list[str]:
    """Return one line for each kind of difference between the weights of a network and those found; empty if they match."""
    missing = [name for name in expected if name not in actual]
    extra = [name for name in actual if name not in expected]
    shapes = [
        f"{name} of {tuple(actual[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in actual and actual[name].shape != tensor.shape
    ]
    kinds = {"missing": missing, "unexpected": extra, "of another shape": shapes}
    return [
        f"weights {kind} ({len(names)}): {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        for kind, names in kinds.items()
        if names
    ]


def add_weights(hasher: Hash, weights: Mapping[str, Tensor]) -> None:
    """Add every weight's name, dtype, shape and bytes to a hash."""
    for name, tensor in sorted(weights.items()):
        hasher.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]))
        hasher.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def load_error(error: Exception) -> str:
    """Return the last line of an error of torch or safetensors, which names the cause."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(lines[-1].strip())
