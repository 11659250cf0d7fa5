"""Name the nearest argument where a call has one that does not exist."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from aekit.errors import AekitError, closest_name

P = ParamSpec("P")
R = TypeVar("R")


class ArgumentError(AekitError, TypeError):
    """A call with an argument that does not exist."""


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make a public function refuse an unknown keyword argument with the nearest valid name."""
    parameters = inspect.signature(function).parameters
    names = [name for name, parameter in parameters.items() if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in parameters:
                raise ArgumentError(f"aekit.{function.__name__}: no argument {name!r}{closest_name(name, names)}")
        return function(*args, **kwargs)

    return checked
