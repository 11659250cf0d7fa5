"""Recognize processes that torchrun has started, by its variables, and pass errors to the process that started them."""

from __future__ import annotations

import json
import os
import time

STARTED_HERE = "AEKIT_PROCESSES"
"""Variable that tells processes that the one that has started them prints their results and errors."""
MEETING = "AEKIT_MEETING"
"""Variable with the file by which processes of one machine find each other: torch would listen on all networks for that."""


def started_by_torchrun() -> bool:
    """Return whether torchrun has started this process together with others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


def is_restarted() -> bool:
    """Return whether torchrun has started this process anew after one of them had ended."""
    return started_by_torchrun() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


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
