"""Find the line of a plugin's code that an error came from."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any


def describe_error(error: BaseException) -> str:
    """Return the type of an error, and its first line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def error_place(error: BaseException, target: str) -> str:
    """Return ``" (FILE, line N)"``: the innermost line of the plugin's package, or of any code if there is none.

    Args:
        error: an error that was raised.
        target: import string of the plugin's code, as in an entry.
    """
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    if not lines:
        return ""
    package = package_of(target)
    own_lines = [line for line in lines if _holds(package, line[0])]
    file, line = (own_lines or lines)[-1]
    return f" ({file}, line {line})"


def package_of(target: str) -> Path | None:
    """Return the folder of the package, or the file of the module outside any, of imported code; None if it is not imported."""
    module = sys.modules.get(target.partition(":")[0])
    file = getattr(module, "__file__", None)
    if module is None or not file:
        return None
    return Path(file).parent if module.__package__ else Path(file)


def innermost_frame(error: BaseException, target: str) -> tuple[int, bool] | None:
    """Return how deep in the traceback of an error the code of a plugin's package is, and whether it is the plugin's own.

    Args:
        error: an error that was raised.
        target: import string of the plugin's code.

    Returns:
        the number of the innermost frame, and True if a frame belongs to the class or function that the target names; None if
        no frame is of the package.
    """
    package, attribute = package_of(target), target.partition(":")[2]
    if package is None:
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = [(depth, frame) for depth, frame in enumerate(frames) if _holds(package, frame.f_code.co_filename)]
    return (inside[-1][0], any(_runs(frame, attribute) for _, frame in inside)) if inside else None


def _holds(package: Path | None, file: str) -> bool:
    return package is not None and (Path(file) == package or package in Path(file).parents)


def _runs(frame: FrameType, attribute: str) -> bool:
    """Return whether a frame runs a function, or a method of a class or of a class derived from it."""
    instance: Any = frame.f_locals.get("self")
    names = [frame.f_code.co_qualname, *(base.__qualname__ for base in type(instance).__mro__)]
    return any(name == attribute or name.startswith(f"{attribute}.") for name in names)
