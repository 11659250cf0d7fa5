"""Choose the engine that computes."""

from __future__ import annotations

from typing import Literal

from aekit.encoder.engines._processes import Processes
from aekit.encoder.engines._ray import Ray
from aekit.encoder.engines.engine import Engine
from aekit.errors import RecipeError, closest_name

EngineName = Literal["single", "processes", "ray"]
ENGINES: tuple[EngineName, ...] = ("single", "processes", "ray")


def choose_engine(name: str, workers: int | None, address: str | None) -> Engine | None:
    """Return the engine of a name; None for the single process.

    Args:
        name: ``single``, ``processes`` or ``ray``.
        workers: number of workers; None: as many as there are cores.
        address: of a Ray cluster; None: one is started on this machine.

    Raises:
        RecipeError: there is no such engine, or it does not take these options.
    """
    if name not in ENGINES:
        raise RecipeError([f"engine = {name!r}: expected 'single', 'processes' or 'ray'{closest_name(name, ENGINES)}"])
    if workers is not None and (name == "single" or workers < 1):
        expected = "expected engine 'processes' or 'ray'" if name == "single" else "expected at least 1"
        raise RecipeError([f"workers = {workers}: {expected}"])
    if address is not None and name != "ray":
        raise RecipeError([f"address = {address!r}: expected engine 'ray'"])
    if name == "single":
        return None
    return Processes(workers) if name == "processes" else Ray(workers, address)
