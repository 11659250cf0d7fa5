"""Choose a device by name, and query its abilities."""

from __future__ import annotations

import torch

from aekit.errors import RecipeError


def choose_device(name: str, place: str) -> torch.device:
    """Return the device of a name.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; ``auto``: a GPU where there is one, else the CPU.
        place: name of the setting, for the message.

    Raises:
        RecipeError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdecimal()):
        raise RecipeError([f"{place} = {name!r}: expected auto, cpu, cuda, cuda:1 or mps"])
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(number or 0) >= count:
        available = f"this machine has {count or 'no'} {kind.upper()} device{'' if count == 1 else 's'}"
        raise RecipeError([f"{place} = {name!r}: {available}; expected 'auto' or 'cpu'"])
    return torch.device(name)


def multiplies_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 in hardware, and not by way of float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return any(getattr(torch.cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return False
