"""The device that a name means on this machine."""

from __future__ import annotations

import torch

from aekit.errors import RecipeError


def choose_device(name: str, place: str) -> torch.device:
    """``cpu``, ``cuda``, ``cuda:1`` or ``mps``; ``auto`` is a GPU where there is one.

    Args:
        name: what was asked for.
        place: where, for the message.

    Raises:
        RecipeError: there is no such device, or none here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdecimal()):
        raise RecipeError([f"{place} = {name!r}: expected auto, cpu, cuda, cuda:1 or mps"])
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(number or 0) >= there:
        found = f"there are {there} such devices" if there else f"no {kind.upper()} device"
        raise RecipeError([f"{place} = {name!r}: {found} here; expected 'auto' or 'cpu'"])
    return torch.device(name)
