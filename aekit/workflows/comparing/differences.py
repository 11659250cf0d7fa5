"""What differs between recipes, and names for them that say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 48
"""Letters of a name above which it is not read any more."""
_LISTS = ("objective.variants", "objective.pretexts")
_ORDER = ("encoder", "objective")


def flatten_settings(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """``{"train": {"lr": 1e-3}}`` as ``{"train.lr": 1e-3}``; tables in a list are numbered from 0."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        where = f"{place}.{name}" if place else name
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        found |= flatten_settings(value, where) if isinstance(value, Mapping) else {where: value}
    return found


def differing_settings(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Settings in which flat recipes differ, in the order of their sections.

    Options of a plugin, such as ``objective.denoising.level``, are compared among the recipes that use it.
    """
    names = list(dict.fromkeys(name for recipe in recipes for name in recipe))
    found = []
    for name in names:
        table = name.rpartition(".")[0]
        own = [r for r in recipes if any(other.startswith(f"{table}.") for other in r)] if table.count(".") else recipes
        if any(recipe.get(name) != own[0].get(name) for recipe in own):
            found.append(name)
    return sorted(found, key=lambda name: _ORDER.index(s) if (s := name.partition(".")[0]) in _ORDER else len(_ORDER))


def method_name(recipe: Mapping[str, Any]) -> str:
    """What a flat recipe trains by: its variants and pretext tasks."""
    return "+".join(part for name in _LISTS for part in recipe.get(name, [])) or "autoencoder"


def recipe_titles(recipes: Sequence[Mapping[str, Any]], fallbacks: Sequence[str]) -> tuple[list[str], list[str]]:
    """A name for each of several different flat recipes, by what sets it apart from the others.

    Variants and pretext tasks come first, where they differ; further settings only tell apart those that agree in them.

    Args:
        recipes: (N,) different ones.
        fallbacks: (N,) names to take where the telling ones would be too long.

    Returns:
        (N,) names, no two alike; and sentences on settings that also differ, but are not in the names.
    """
    methods = [method_name(recipe) for recipe in recipes]
    settings = differing_settings(recipes)
    short = _short(settings)
    names, shown = [], set()
    for own, (recipe, method) in enumerate(zip(recipes, methods)):
        alike = [other for other, found in zip(recipes, methods) if found == method]
        telling = [name for name in differing_settings(alike) if name in recipe]
        parts = [] if len(set(methods)) == 1 < len(recipes) and telling else [method]
        parts += [_said(name, recipe[name], short) for name in telling if name not in _LISTS]
        if len(name := " ".join(parts)) > LONGEST:
            name, telling = fallbacks[own], []
        names.append(name)
        shown |= {(setting, own) for setting in telling}
    counted = Counter(names)
    names = [f"{name} ({fallbacks[i]})" if counted[name] > 1 else name for i, name in enumerate(names)]
    counted = Counter(names)
    names = [f"{name} #{names[: i + 1].count(name)}" if counted[name] > 1 else name for i, name in enumerate(names)]
    return names, [_also(s, recipes, names) for s in settings if s not in _LISTS and not _all(s, recipes, shown)]


def _short(settings: Sequence[str]) -> dict[str, str]:
    """The last word of each setting; the last two where words would be alike."""
    last = Counter(name.rpartition(".")[2] for name in settings)
    return {
        n: n.rpartition(".")[2] if last[n.rpartition(".")[2]] == 1 else ".".join(n.split(".")[-2:]) for n in settings
    }


def _said(setting: str, value: Any, short: Mapping[str, str]) -> str:
    return (
        format_value(value) if setting == "encoder.backbone" else f"{short.get(setting, setting)}={format_value(value)}"
    )


def format_value(value: Any) -> str:
    """A setting's value in few letters."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"[{','.join(map(format_value, value))}]" if isinstance(value, (list, tuple)) else str(value)


def _all(setting: str, recipes: Sequence[Mapping[str, Any]], shown: set[tuple[str, int]]) -> bool:
    return all((setting, number) in shown for number, recipe in enumerate(recipes) if setting in recipe)


def _also(setting: str, recipes: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """``train.lr also differs: 0.001 (none), 0.01 (denoising)``."""
    by_value: dict[str, list[str]] = {}
    for recipe, name in zip(recipes, names):
        if setting in recipe:
            by_value.setdefault(format_value(recipe[setting]), []).append(name)
    return f"{setting} also differs: " + ", ".join(f"{value} ({', '.join(who)})" for value, who in by_value.items())
