"""The weights of a module in a safetensors file, which holds nothing else and runs nothing."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from aekit.errors import IdentityError


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


def reason(error: Exception) -> str:
    """The last line of what torch or safetensors says, which names what is wrong."""
    return str(error).strip().splitlines()[-1].strip()
