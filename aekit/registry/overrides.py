"""Apply settings by their dotted names, such as ``train.lr=1e-3``, and describe changes between nested settings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.errors import RecipeError, first_line


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``train.lr=1e-3`` into a dotted name and a value; a value that is not TOML is a string.

    Raises:
        RecipeError: there is no ``=``.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RecipeError([f"--set {text}: expected NAME=VALUE, such as train.lr=1e-3"])
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return name.strip(), value.strip()


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, which may be remote; a `RecipeError` says what is wrong with it."""
    from aekit.io.remote import local_path

    path = local_path(path)
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError([f"{path}: cannot be read: {error.strerror}"]) from None
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of too many digits, tables in tables in tables
        raise RecipeError([f"{path}: is not TOML: {first_line(error)}"]) from None


def nest(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"images.size": 96}`` into ``{"images": {"size": 96}}``.

    Raises:
        RecipeError: one name is a section in another.
    """
    values: dict[str, Any] = {}
    problems = apply_overrides(values, overrides)
    if problems:
        raise RecipeError(problems)
    return values


def flatten_settings(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Flatten ``{"train": {"lr": 1e-3}}`` into ``{"train.lr": 1e-3}``; tables in a list are numbered from 0."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        where = f"{place}.{name}" if place else name
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        flat |= flatten_settings(value, where) if isinstance(value, Mapping) else {where: value}
    return flat


def apply_overrides(values: dict[str, Any], overrides: Mapping[str, Any]) -> list[str]:
    """Set each dotted name in nested values, in place; return one line for each that cannot be set."""
    problems = []
    for name, value in overrides.items():
        *path, last = name.split(".")
        place: Any = values
        for part in path:
            place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[last] = value
        else:
            problems.append(f"{name} = {value!r}: {'.'.join(path)} is a value, not a section")
    return problems


def describe_changes(before: Any, now: Any, place: str = "") -> list[str]:
    """Return one line for each difference of two nested records, such as ``train.lr was 0.001, now 0.002``."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = sorted({*before, *now})
        inner = [describe_changes(before.get(n), now.get(n), f"{place}.{n}" if place else n) for n in names]
        return [line for lines in inner for line in lines]
    return [] if before == now else [f"{place} was {before!r}, now {now!r}"]


def without_none(value: Any) -> Any:
    """Leave out None from nested values, as TOML cannot express it."""
    if isinstance(value, Mapping):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_none(inner) for inner in value]
    return value
