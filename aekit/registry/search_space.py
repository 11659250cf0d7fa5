"""Turn the options of a plugin into a search space: the values among which `aekit.tune` chooses.

An option competes by what its annotation declares: the choices of a Literal or a bool, and the range of a number. A number
without an upper bound is searched from a quarter to four times its default. ``Field(json_schema_extra={"search": ...})`` says
otherwise: a list of values, a dict ``{"low": 1e-3, "high": 1.0, "log": True}``, or False, which keeps the default.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from aekit.registry.options import options_model

if TYPE_CHECKING:
    import numpy as np

MARGIN = 0.05
"""Fraction of a range that is left out at an end that is excluded, such as 0 and 1 of a fraction."""
FACTOR = 4
"""Factor around the default of a number whose range is open."""
WIDE = 100
"""Ratio of the ends of a range from which it is searched on a log scale."""
STEP = 0.2
"""Standard deviation of a change of a number, as a fraction of its range."""
QUANTILES = (0.25, 0.5, 0.75)
"""Places in the range of a number that may be None, which are tried beside None."""


@dataclass(frozen=True)
class Choices:
    """A few values, the default among them.

    Attributes:
        values: the values as JSON, so that lists and None are names too.
        default: the default as JSON.
    """

    values: tuple[str, ...]
    default: str


@dataclass(frozen=True)
class Range:
    """A range of numbers.

    Attributes:
        low, high: ends, both included.
        log: whether it is searched on a log scale.
        whole: whether the numbers are whole.
        default: number to begin with.
    """

    low: float
    high: float
    log: bool
    whole: bool
    default: float


def varied_value(dimension: Choices | Range, value: Any, generator: np.random.Generator) -> Any:
    """Return another value of a dimension, near this one if it is a number.

    Args:
        dimension: the values.
        value: the present one.
        generator: draws it.
    """
    if isinstance(dimension, Choices):
        others = [choice for choice in dimension.values if choice != value]
        return others[generator.integers(len(others))] if others else value
    if dimension.log:
        moved = value * math.exp(generator.normal(0.0, STEP * math.log(dimension.high / dimension.low)))
    else:
        moved = value + generator.normal(0.0, STEP * (dimension.high - dimension.low))
    moved = min(max(moved, dimension.low), dimension.high)
    return round(moved) if dimension.whole else float(moved)


def search_space(target: Callable[..., Any]) -> dict[str, Choices | Range]:
    """Return the options of a plugin that a search may vary: name -> values, in the order of the options.

    Args:
        target: class or function of the plugin.
    """
    space = {}
    for name, info in options_model(target).model_fields.items():
        dimension = None if info.is_required() or name == "seed" else _dimension(info)
        if dimension is not None:
            space[name] = dimension
    return space


def _dimension(info: FieldInfo) -> Choices | Range | None:
    extra = info.json_schema_extra
    declared: Any = extra.get("search") if isinstance(extra, dict) else None
    if declared is False:
        return None
    if isinstance(declared, list):
        return choices(declared, info.default)
    members = get_args(info.annotation) if get_origin(info.annotation) in (Union, UnionType) else (info.annotation,)
    plain = [member for member in members if member is not NoneType]
    optional = len(plain) < len(members)
    if len(plain) != 1:
        return None
    kind = plain[0]
    if kind is bool:
        return choices([False, True, *([None] if optional else [])], info.default)
    if get_origin(kind) is Literal:
        return choices([*get_args(kind), *([None] if optional else [])], info.default)
    if kind not in (int, float):
        return None
    if isinstance(declared, dict):
        default = info.default if info.default is not None else declared["low"]
        return Range(
            declared["low"], declared["high"], log=bool(declared.get("log")), whole=kind is int, default=default
        )
    return _number(info, whole=kind is int, optional=optional)


def _number(info: FieldInfo, *, whole: bool, optional: bool) -> Choices | Range | None:
    """Return the space of a number by its constraints, or None if they say too little."""
    low, high, open_low, open_high = None, None, False, False
    for constraint in info.metadata:
        for name in ("gt", "ge"):
            if (value := getattr(constraint, name, None)) is not None:
                low, open_low = float(value), name == "gt"
        for name in ("lt", "le"):
            if (value := getattr(constraint, name, None)) is not None:
                high, open_high = float(value), name == "lt"
    default = info.default
    if low is not None and high is not None:
        step = 1.0 if whole else MARGIN * (high - low)
        first, last = low + step * open_low, high - step * open_high
        if default is None:
            values = [round(first + q * (last - first), 3) for q in QUANTILES]
            return choices([None, *(map(int, values) if whole else values)], None)
        if default <= 0 or high <= WIDE * max(low, default / FACTOR):
            return Range(min(first, default), max(last, default), log=False, whole=whole, default=default)
        first, last = max(first, default / FACTOR), min(last, default * FACTOR)
        return Range(math.ceil(first) if whole else first, last, log=True, whole=whole, default=default)
    if low is None or optional or default is None or default <= 0:
        return None
    first = max(low + open_low * whole, default / FACTOR)
    return Range(math.ceil(first) if whole else first, default * FACTOR, log=True, whole=whole, default=default)


def choices(values: list[Any], default: Any) -> Choices:
    """Return a choice of values, to which the default is added."""
    texts = [json.dumps(value) for value in values]
    chosen = json.dumps(default)
    return Choices(tuple(dict.fromkeys([*texts, chosen])), chosen)
