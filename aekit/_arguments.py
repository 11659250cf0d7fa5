"""Check calls of public functions, so that a wrong argument, a file that fails and lack of memory are errors of one line.

They run in the usual state of torch.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, SupportsIndex, TypeVar

from aekit._torch_state import usual_torch_state
from aekit.errors import AekitError, FileError, RecipeError, ShortTraceback, Stopped, closest_name, explained, printable

P = ParamSpec("P")
R = TypeVar("R")
SEEDS = range(2**32)
"""Seeds that all libraries take."""
_ANY_PLACE, _ANY_NAME = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


class ArgumentError(AekitError, TypeError):
    """A call with an argument that does not exist, or a value of another type than it takes."""


def checked_arguments(function: Callable[P, R], name: str = "") -> Callable[P, R]:
    """Make a public function check its arguments, and report failures of files, of memory and of plugins in one line.

    It refuses unknown keyword arguments, with the nearest valid name; missing arguments, and arguments that must be named;
    paths, texts, numbers and truth values of another type; and seeds that a library would refuse. In paths it replaces ``~`` and
    ``$VARIABLES``. Functions that take any keyword arguments check them themselves. The caller's default dtype and device,
    autocast and gradient mode of torch do not reach it.

    Args:
        function: the function.
        name: its public name; "": the name of the function.
    """
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind is _ANY_NAME for parameter in parameters.values())
    names = [name for name, parameter in parameters.items() if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY]
    types = {name: _types_of(parameter.annotation) for name, parameter in parameters.items()}

    def expanded(argument: str, value: Any) -> Any:
        return expand_path(value) if "Path" in types.get(argument, ()) else value

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for argument in kwargs:
            if argument not in parameters and not takes_any:
                near = closest_name(argument, names)
                raise ArgumentError(f"aekit.{name or function.__name__}: no argument {argument!r}{near}")
        if problem := _number_of_arguments(parameters, args, kwargs):
            raise ArgumentError(f"aekit.{name or function.__name__}: {problem}")
        for argument, value in [*zip(parameters, args), *kwargs.items()]:
            expected = types.get(argument, ())
            if expected and not any(
                _TYPES[kind][1](value) if kind in _TYPES else _is_a(value, kind) for kind in expected
            ):
                described = " or ".join(_TYPES[kind][0] if kind in _TYPES else f"an {kind}" for kind in expected)
                raise ArgumentError(
                    f"aekit.{name or function.__name__}: {argument} {_shown(value)}: expected {described}"
                )
            if argument == "seed" and isinstance(value, SupportsIndex) and operator.index(value) not in SEEDS:
                raise RecipeError([f"seed = {value}: expected a whole number from 0 to {SEEDS[-1]:,}"])
        by_place = [expanded(argument, value) for argument, value in zip(parameters, args)]
        by_name = {argument: expanded(argument, value) for argument, value in kwargs.items()}
        try:
            with usual_torch_state():
                return function(*by_place, *args[len(by_place) :], **by_name)  # type: ignore[arg-type]
        except ShortTraceback:
            raise
        except KeyboardInterrupt as stop:  # within a library, of which a notebook would show dozens of frames
            raise Stopped("stopped") from stop
        except Exception as error:
            refusal = explained(error)
            nameless = isinstance(error, OSError) and error.filename is None  # of a stream or a connection
            if refusal and not (nameless and isinstance(refusal, FileError)):
                raise refusal from error
            raise

    return checked


def expand_path(place: Any) -> Any:
    """Return a path in which ``~`` and ``$VARIABLES`` are replaced, as a shell does; URLs and other values as they are.

    Examples:
        >>> expand_path("~/a") == os.path.join(os.path.expanduser("~"), "a"), expand_path("s3://bucket/$x"), expand_path(3)
        (True, 's3://bucket/$x', 3)
    """
    if not isinstance(place, (str, os.PathLike)) or not isinstance(text := os.fspath(place), str) or "://" in text:
        return place
    full = os.path.expanduser(os.path.expandvars(text))
    return place if full == text else full if isinstance(place, str) else type(place)(full)  # type: ignore[call-arg]


def _number_of_arguments(
    parameters: Mapping[str, inspect.Parameter], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> str:
    """Return which argument is missing, or which has to be named; "" if neither."""
    by_place = [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = [p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
    any_number = any(p.kind is _ANY_PLACE for p in parameters.values())
    if len(args) > len(by_place) and not any_number:
        others = f"; name the others, such as {', '.join(f'{one} = ...' for one in by_name[:3])}" if by_name else ""
        shown = [one for one in by_place if one != "self"]
        count = len(args) - len(by_place) + len(shown)
        return f"{count} arguments without a name: expected {', '.join(shown) or 'none'}{others}"
    filled = {*by_place[: len(args)], *kwargs}
    required = [p.name for p in parameters.values() if p.default is p.empty and p.kind not in (_ANY_PLACE, _ANY_NAME)]
    missing = [one for one in required if one not in filled]
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else ""


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _are_paths(value: Any) -> bool:
    if isinstance(value, Iterator):  # whoever looks at its items uses them up
        return True
    return isinstance(value, (list, tuple, set, frozenset)) and all(map(_is_path, value))


def _converts(convert: Callable[[Any], Any], value: Any) -> bool:
    try:
        convert(value)
    except (TypeError, ValueError):
        return False
    return not _is_truth_value(value)


def _is_a(value: Any, kind: str) -> bool:
    """Return whether a value is of a class of aekit, which is not imported for the question."""
    return any(base.__name__ == kind for base in type(value).__mro__)


def _is_truth_value(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # also of NumPy


_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("text", lambda value: isinstance(value, str) or _is_a(value, "device")),
    "Path": ("a path", _is_path),
    "Paths": ("a list of paths", _are_paths),
    "int": ("a whole number", lambda value: _converts(operator.index, value)),
    "float": ("a number", lambda value: not isinstance(value, (str, bytes)) and _converts(float, value)),
    "bool": ("True or False", _is_truth_value),
    "None": ("None", lambda value: value is None),
}
"""Type in an annotation -> its name in messages, and whether a value is of it."""
_CLASSES = ("Autoencoder", "Detector", "Embeddings", "Encoder")


def _types_of(annotation: Any) -> tuple[str, ...]:
    """Return the types that an annotation allows; () if it allows others than these."""
    text = str(annotation).replace("Iterable[str | Path]", "Paths").replace("os.PathLike[str]", "Path")
    kinds = [kind.strip() for kind in text.split("|")]
    if "Path" in kinds and "str" in kinds:
        kinds.remove("str")
    return tuple(kinds) if all(kind in _TYPES or kind in _CLASSES for kind in kinds) else ()


def _shown(value: Any) -> str:
    is_simple = value is None or isinstance(value, (str, bytes, bool, int, float))
    return f"= {printable(repr(value))}" if is_simple else f"of type {type(value).__name__}"
