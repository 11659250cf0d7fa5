"""Check calls of public functions: name the nearest argument where one does not exist, and say in one line which file failed or
that memory was short."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from aekit.errors import AekitError, FileError, closest_name, failure_of_the_machine

P = ParamSpec("P")
R = TypeVar("R")


class ArgumentError(AekitError, TypeError):
    """A call with an argument that does not exist."""


def checked_arguments(function: Callable[P, R], name: str = "") -> Callable[P, R]:
    """Make a public function refuse an unknown keyword argument with the nearest valid name, and say in one line which file
    failed or that memory is short. Functions that take any keyword arguments check them themselves.

    Args:
        function: the function.
        name: its public name; "": the name of the function.
    """
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    names = [name for name, parameter in parameters.items() if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for argument in kwargs:
            if argument not in parameters and not takes_any:
                near = closest_name(argument, names)
                raise ArgumentError(f"aekit.{name or function.__name__}: no argument {argument!r}{near}")
        try:
            return function(*args, **kwargs)
        except AekitError:
            raise
        except Exception as error:
            refusal = failure_of_the_machine(error)
            nameless = isinstance(error, OSError) and error.filename is None  # of a stream or a connection
            if refusal and not (nameless and isinstance(refusal, FileError)):
                raise refusal from error
            raise

    return checked
