"""Check calls of public functions: name the nearest argument where one does not exist, and say where memory was short."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from aekit.errors import AekitError, closest_name, out_of_memory

P = ParamSpec("P")
R = TypeVar("R")


class ArgumentError(AekitError, TypeError):
    """A call with an argument that does not exist."""


def checked_arguments(function: Callable[P, R], name: str = "") -> Callable[P, R]:
    """Make a public function refuse an unknown keyword argument with the nearest valid name, and say in one line that memory
    is short.

    Args:
        function: the function.
        name: its public name; "": the name of the function.
    """
    parameters = inspect.signature(function).parameters
    names = [name for name, parameter in parameters.items() if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for argument in kwargs:
            if argument not in parameters:
                near = closest_name(argument, names)
                raise ArgumentError(f"aekit.{name or function.__name__}: no argument {argument!r}{near}")
        try:
            return function(*args, **kwargs)
        except AekitError:
            raise
        except Exception as error:
            if refusal := out_of_memory(error):
                raise refusal from error
            raise

    return checked
