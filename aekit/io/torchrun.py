"""Recognize processes that torchrun has started, by its variables, and pass errors to the process that started them."""

from __future__ import annotations

import json
import os
import time

from aekit.errors import RecipeError

STARTED_HERE = "AEKIT_PROCESSES"
"""Variable that tells processes that the one that has started them prints their results and errors."""
MEETING = "AEKIT_MEETING"
"""Variable with the file by which processes of one machine find each other: torch would listen on all networks for that."""


def started_by_torchrun() -> bool:
    """Return whether torchrun has started this process together with others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and (_number("WORLD_SIZE") or 1) > 1


def check_torchrun() -> None:
    """Check the variables by which torchrun tells a process its place among the others.

    Raises:
        RecipeError: one of them is missing, or not what torchrun sets.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return
    size = _number("WORLD_SIZE") or 0
    _expect("WORLD_SIZE", size > 0, "the number of processes")
    if size == 1:
        return
    ranks = f"the number of this process, 0 to {size - 1}"
    rank, local_rank = _number("RANK"), _number("LOCAL_RANK")
    _expect("RANK", rank is not None and rank < size, ranks)
    _expect("LOCAL_RANK", local_rank is not None or "LOCAL_RANK" not in os.environ, f"{ranks}, on its machine")
    if MEETING not in os.environ:
        _expect("MASTER_ADDR", bool(os.environ.get("MASTER_ADDR")), "the address of process 0")
        _expect("MASTER_PORT", (_number("MASTER_PORT") or 2**16) < 2**16, "the port of process 0")


def _number(name: str) -> int | None:
    """Return the number that a variable holds; None if it holds none."""
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else None


def _expect(name: str, is_valid: bool, expected: str) -> None:
    if not is_valid:
        value = repr(os.environ[name]) if name in os.environ else "missing"
        raise RecipeError(
            [
                f"variable {name} is {value}: expected {expected}; torchrun sets it where it has set TORCHELASTIC_RUN_ID; "
                f"unset that for a single process"
            ]
        )


def is_restarted() -> bool:
    """Return whether torchrun has started this process anew after one of them had ended."""
    return started_by_torchrun() and (_number("TORCHELASTIC_RESTART_COUNT") or 0) > 0


def reports_to_another() -> bool:
    """Return whether another process prints the results and errors of this one."""
    return is_silent() or (started_by_torchrun() and STARTED_HERE in os.environ)


def tell_starter(message: str) -> bool:
    """Pass an error to the process that started this one; return whether that one prints it.

    It is in the form in which torchrun reads it, and shows it in its own report.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None or not started_by_torchrun():
        return False
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"message": message, "timestamp": int(time.time())}, file)
    except FileNotFoundError:  # the starter has ended, and has removed its folder
        pass
    except OSError:  # the message would be lost, as on a full disk
        return False
    return reports_to_another()


def is_silent() -> bool:
    """Return whether another process prints for this one."""
    return started_by_torchrun() and os.environ.get("RANK") != "0"
