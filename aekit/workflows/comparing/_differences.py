"""Find the settings in which recipes differ, and name recipes by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

MAX_NAME_LENGTH = 48
"""Length above which a recipe is named by its folder instead."""
_LISTS = ("objective.variants", "objective.pretexts")
_ORDER = ("encoder", "objective")


def differing_settings(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings in which flat recipes differ, in the order of their sections.

    Options of a plugin, such as ``objective.denoising.level``, are compared among the recipes that use it.
    """
    names = list(dict.fromkeys(name for recipe in recipes for name in recipe))
    differing = []
    for name in names:
        table = name.rpartition(".")[0]
        users = (
            [r for r in recipes if any(other.startswith(f"{table}.") for other in r)] if table.count(".") else recipes
        )
        if any(recipe.get(name) != users[0].get(name) for recipe in users):
            differing.append(name)
    return sorted(
        differing, key=lambda name: _ORDER.index(s) if (s := name.partition(".")[0]) in _ORDER else len(_ORDER)
    )


def method_name(recipe: Mapping[str, Any]) -> str:
    """Name a flat recipe by its variants and pretext tasks, or by its network if that is not trained."""
    named = "+".join(part for name in _LISTS for part in recipe.get(name, []))
    if not named and recipe.get("train.epochs") == 0:
        backbone = recipe["encoder.backbone"]
        network = recipe.get(f"encoder.{backbone}.model", backbone)
        return f"pretrained {network}" if recipe.get("encoder.weights") else f"untrained {network}"
    return named or "autoencoder"


def recipe_titles(recipes: Sequence[Mapping[str, Any]], fallbacks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Name each of several flat recipes by the settings that distinguish it from the others.

    Variants and pretext tasks come first where they differ; further settings only distinguish recipes that agree in them.

    Args:
        recipes: (N,) different flat recipes.
        fallbacks: (N,) names to use where the distinguishing ones would be too long.

    Returns:
        (N,) unique names, and sentences on settings that also differ but are not in the names.
    """
    methods = [method_name(recipe) for recipe in recipes]
    settings = differing_settings(recipes)
    short = _short(settings)
    names, shown = [], set()
    for number, (recipe, method) in enumerate(zip(recipes, methods)):
        alike = [other for other, other_method in zip(recipes, methods) if other_method == method]
        distinguishing = [name for name in differing_settings(alike) if name in recipe]
        parts = [] if len(set(methods)) == 1 < len(recipes) and distinguishing else [method]
        parts += [_format_setting(name, recipe[name], short) for name in distinguishing if name not in _LISTS]
        if len(name := " ".join(parts)) > MAX_NAME_LENGTH:
            name, distinguishing = fallbacks[number], []
        names.append(name)
        shown |= {(setting, number) for setting in distinguishing}
    counted = Counter(names)
    names = [f"{name} ({fallbacks[i]})" if counted[name] > 1 else name for i, name in enumerate(names)]
    counted = Counter(names)
    names = [f"{name} #{names[: i + 1].count(name)}" if counted[name] > 1 else name for i, name in enumerate(names)]
    remaining = [s for s in settings if s not in _LISTS and not _in_all_names(s, recipes, shown)]
    return names, [_also_differs(setting, recipes, names) for setting in remaining]


def _short(settings: Sequence[str]) -> dict[str, str]:
    """Return the last word of each setting, or the last two where the last words are the same."""
    last = Counter(name.rpartition(".")[2] for name in settings)
    return {
        n: n.rpartition(".")[2] if last[n.rpartition(".")[2]] == 1 else ".".join(n.split(".")[-2:]) for n in settings
    }


def _format_setting(setting: str, value: Any, short: Mapping[str, str]) -> str:
    return (
        format_value(value) if setting == "encoder.backbone" else f"{short.get(setting, setting)}={format_value(value)}"
    )


def format_value(value: Any) -> str:
    """Format the value of a setting concisely."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"[{','.join(map(format_value, value))}]" if isinstance(value, (list, tuple)) else str(value)


def _in_all_names(setting: str, recipes: Sequence[Mapping[str, Any]], shown: set[tuple[str, int]]) -> bool:
    return all((setting, number) in shown for number, recipe in enumerate(recipes) if setting in recipe)


def _also_differs(setting: str, recipes: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return a sentence such as ``train.lr also differs: 0.001 (plain), 0.01 (denoising)``."""
    by_value: dict[str, list[str]] = {}
    for recipe, name in zip(recipes, names):
        if setting in recipe:
            by_value.setdefault(format_value(recipe[setting]), []).append(name)
    return f"{setting} also differs: " + ", ".join(f"{value} ({', '.join(users)})" for value, users in by_value.items())
