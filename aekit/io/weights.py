"""Save, load and hash the weights of a module. No file is allowed to run code."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from aekit.errors import DataError, IdentityError, OutputError, printable
from aekit.io.manifests import canonical_json

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}
"""Names of dtypes in files of safetensors."""
SLACK = 2**24
"""Values that a network may have beyond those in its file: layers that are built and then replaced."""
TORCH_FILES = (".pth", ".pt", ".bin", ".ckpt")
_WRAPPINGS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")


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


class SavedTensors(Mapping[str, Tensor]):
    """The tensors of a file of safetensors, each read when it is asked for, so that no more than one is in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with safe_open(path, "pt") as file:
            self._names = list(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self._path, "pt") as file:
            # Copied, because dot products of tensors at unaligned addresses of a mapped file round in another order.
            return file.get_tensor(name).clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def by_alignment(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of tensors in the order in which files have them: those of wide numbers first."""
    return sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))


def write_one_by_one(
    tensors: Mapping[str, Tensor],
    whole: Callable[[str], Tensor],
    path: Path,
    metadata: Callable[[Mapping[str, Tensor] | None], dict[str, str]],
) -> None:
    """Write tensors of which only one at a time fits into memory, as `safetensors.torch.save_file` does.

    Args:
        tensors: with the dtypes and shapes, by name.
        whole: returns the values of one, contiguous on the CPU; called in the order of `by_alignment`.
        path: of the file.
        metadata: returns the metadata of the file, given the tensors in it, and before there are any one of the same length.
    """
    with path.open("wb") as file:
        file.write(_header(tensors, metadata(None)))
        for name in by_alignment(tensors):
            file.write(whole(name).flatten().view(torch.uint8).numpy().data)
    header = _header(tensors, metadata(SavedTensors(path)))
    with path.open("r+b") as file:
        file.write(header)


def _header(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Return the head of a file of safetensors: the length of a table, and the table, which says where each tensor is."""
    table: dict[str, Any] = {"__metadata__": metadata}
    begin = 0
    for name in by_alignment(tensors):
        tensor = tensors[name]
        end = begin + tensor.numel() * tensor.dtype.itemsize
        table[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


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
    for name in sorted(weights):
        tensor = weights[name]
        hasher.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]))
        hasher.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def load_error(error: Exception) -> str:
    """Return the last line of an error of torch or safetensors, which names the cause."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(lines[-1].strip())
