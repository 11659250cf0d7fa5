"""The weights of a module in a safetensors file, which holds nothing else and runs nothing, and in a hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from aekit.errors import IdentityError


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
        raise IdentityError(f"{path}: does not load: {reason(error)}") from error


def add_weights(hasher: Hash, module: nn.Module) -> None:
    """Adds every weight's name, dtype, shape and bytes."""
    for name, tensor in sorted(module.state_dict().items()):
        hasher.update(canonical([name, str(tensor.dtype), list(tensor.shape)]))
        hasher.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def canonical(value: Any) -> bytes:
    """Plain nested values as JSON that does not depend on the order of their making."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def reason(error: Exception) -> str:
    """The last line of what torch or safetensors says, which names what is wrong."""
    return str(error).strip().splitlines()[-1].strip()
