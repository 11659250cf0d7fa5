"""Make recipe settings from the arguments of functions, and keep the recipe of a run in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aekit.data.locations import portable_path, portable_record
from aekit.registry.discovery import SESSION, registry
from aekit.registry.overrides import flatten_settings, read_toml
from aekit.registry.session import plugin_name, plugin_names
from aekit.training.recipe import CODE_OF_A_SESSION, DataSection, Recipe, make_recipe, named_plugins, read_recipe

_SETTINGS = {
    "backbone": ("backbone", "encoder.backbone"),
    "variants": ("variant", "objective.variants"),
    "pretexts": ("pretext", "objective.pretexts"),
    "evaluators": ("evaluator", "evaluate.evaluators"),
}


def recipe_settings(
    plugins: Mapping[str, Any], dim: int | None, train: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Return recipe settings by dotted name for arguments, without those that are None.

    Args:
        plugins: ``variants``, ``pretexts``, ``evaluators`` and ``backbone``: names, or objects of the session.
        dim: ``encoder.dim``.
        train: settings of ``[train]``.
        overrides: further settings by dotted name, which take precedence.

    Raises:
        RecipeError, PluginError: an object is no such plugin.
    """
    settings: dict[str, Any] = {"encoder.dim": dim}
    settings |= {f"train.{name}": str(value) if name == "device" and value else value for name, value in train.items()}
    settings |= {_SETTINGS[argument][1]: value for argument, value in plugins.items()}
    settings = {name: value for name, value in settings.items() if value is not None} | dict(overrides)
    for argument, (kind, name) in _SETTINGS.items():
        if name in settings:
            place = name if name in overrides else argument
            one = argument == "backbone"
            settings[name] = (plugin_name if one else plugin_names)(kind, settings[name], place)
    return settings


def recipe_and_data(data: Any, settings: Mapping[str, Any]) -> tuple[Recipe, Any]:
    """Return the recipe of a run, and its data as `aekit.open_data` takes it.

    Args:
        data: a recipe, the path of one, or data.
        settings: of the recipe, by dotted name.
    """
    if isinstance(data, Recipe):
        return make_recipe(data.to_dict(), settings), data.data.source
    if isinstance(data, (str, Path)) and str(data).endswith(".toml"):
        recipe = read_recipe(data, settings)
        return recipe, recipe.data.source
    name = str(data) if isinstance(data, (str, Path)) else f"<{type(data).__name__} in memory>"
    return make_recipe({"data": {"source": name}}, settings), data


def shared_settings(recipe: Recipe, out: str | Path | None) -> dict[str, Any]:
    """Return the settings that all processes of a training must have alike; each has its own device, and perhaps its own path."""
    settings = flatten_settings(recipe.to_dict()) | {"out": "none" if out is None else "a folder"}
    return {name: value for name, value in settings.items() if name not in ("data.source", "train.device")}


def session_plugins(recipe: Recipe) -> list[str]:
    """Return kind and name of each plugin of a recipe that is code of this session."""
    named = [named for section in ("encoder", "objective", "evaluate") for named in named_plugins(recipe, section)]
    return [
        f"{kind} {name!r}"
        for kind, name in named
        if any(plugin.distribution == SESSION for plugin in registry().named(kind, name))
    ]


def recipe_text(recipe: Recipe) -> str:
    """Return a recipe as TOML; its first line names the plugins that are code of this session."""
    code = session_plugins(recipe)
    return (f"{CODE_OF_A_SESSION} {', '.join(code)}\n" if code else "") + recipe.to_toml()


def portable_recipe(recipe: Recipe, folder: Path) -> Recipe:
    """Return a recipe as a file in `folder` keeps it, without paths into the home folder of its author."""
    places = {"source": recipe.data.source, "target": recipe.data.target}
    data = recipe.data.model_copy(update=portable_record(places, folder))
    encoder = recipe.encoder.model_copy(update={"weights": portable_path(recipe.encoder.weights, folder)})
    evaluate = recipe.evaluate.model_copy(update={"pretrained": _portable_network(recipe.evaluate.pretrained, folder)})
    options = {
        section: {
            name: {key: _portable_network(value, folder) for key, value in table.items()}
            for name, table in tables.items()
        }
        if section == "objective"
        else tables
        for section, tables in recipe.options.items()
    }
    return replace(recipe, data=data, encoder=encoder, evaluate=evaluate, options=options)


def _portable_network(name: Any, folder: Path) -> Any:
    """Return the name of a pretrained network with the path in it as `portable_path` returns it; anything else as it is."""
    if not isinstance(name, str):
        return name
    network, separator, path = name.rpartition("@")
    return network + separator + portable_path(path, folder)


def read_data_section(path: str | Path) -> DataSection:
    """Read the settings of ``[data]`` alone, which need no plugin to be installed; raises as `read_recipe`."""
    values = read_toml(Path(path)).get("data", {})
    return DataSection.model_validate({name: values[name] for name in values if name in DataSection.model_fields})
