"""The weights of a module in a safetensors file, which holds nothing else and runs nothing, in files of others, and in a hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aekit.errors import DataError, IdentityError


class Hash(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None: ...


def save_weights(module: nn.Module, path: Path) -> None:
    """Writes parameters and persistent buffers, from whatever device."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Takes up what `save_weights` wrote, strictly.

    Raises:
        IdentityError: they are missing, damaged, or another module's.
    """
    try:
        module.load_state_dict(load_file(path), strict=True)
    except (RuntimeError, OSError, SafetensorError) as error:
        raise IdentityError(f"{path}: does not load: {load_error(error)}") from error


TORCH_FILES = (".pth", ".pt", ".bin", ".ckpt")
_WRAPPINGS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Weights by name from a file of safetensors, or from one that torch wrote, of which nothing is run.

    Training programs wrap weights in a dict, beside the optimizer's state; averaged weights go first. What distributed and
    compiled networks put before names is taken off.

    Returns:
        the weights, and under which name of the file they were, or "".

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if path.suffix not in (".safetensors", *TORCH_FILES):
        raise DataError(f"{path}: ending {path.suffix!r}; expected one of .safetensors, {', '.join(TORCH_FILES)}")
    try:
        if path.suffix == ".safetensors":
            return _bare(load_file(path)), ""
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both raise whatever the bytes lead them to
        why = "holds more than weights" if "weights_only" in str(error).lower() else load_error(error)
        raise DataError(f"{path}: cannot be read as weights: {why}; expected a state dict by name") from error
    wrapping = next((name for name in _WRAPPINGS if isinstance(held, dict) and isinstance(held.get(name), dict)), "")
    found = held[wrapping] if wrapping else held
    if not isinstance(found, dict) or not found or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise DataError(f"{path}: holds no weights by name; expected a state dict")
    return _bare(found), wrapping


def _bare(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = list(weights)
    for prefix in (*_PREFIXES, *_PREFIXES):  # in either order
        if all(name.startswith(prefix) for name in names):
            names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, weights.values()))


def state_dict_differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What keeps weights from being those of a network, in a line for each kind of difference; nothing if they are."""
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    shapes = [
        f"{name} of {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    kinds = {"missing": missing, "not of the network": extra, "of another shape": shapes}
    return [
        f"weights {kind} ({len(names)}): {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        for kind, names in kinds.items()
        if names
    ]


def add_weights(hasher: Hash, module: nn.Module) -> None:
    """Adds every weight's name, dtype, shape and bytes."""
    for name, tensor in sorted(module.state_dict().items()):
        hasher.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]))
        hasher.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def canonical_json(value: Any) -> bytes:
    """Plain nested values as JSON that does not depend on the order of their making."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def load_error(error: Exception) -> str:
    """The last line of what torch or safetensors says, which names what is wrong."""
    return str(error).strip().splitlines()[-1].strip()
