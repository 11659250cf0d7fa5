"""Recipe: one TOML file that defines a whole run. It names plugins and sets their options; it never names code to import.

Each section holds its settings and one table of options for each plugin that it names::

    [data]
    source = "torchvision:FashionMNIST"
    [encoder]
    backbone = "conv"
    dim = 64
    [encoder.conv]
    channels = [32, 64, 128]
    [objective]
    variants = ["denoising"]
    [objective.denoising]
    noise = "masking"
    [train]
    epochs = 10
    [evaluate]
    evaluators = ["probe", "knn"]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel

from aekit.errors import PluginError, RecipeError, closest_name
from aekit.evaluation.groups import expand_groups
from aekit.objectives.losses import LOSSES
from aekit.registry.discovery import registry
from aekit.registry.option_places import misplaced_options
from aekit.registry.options import model_of_plugin, options_model, validate_options, validation_errors
from aekit.registry.overrides import apply_overrides, read_toml, without_none
from aekit.training._data_section import DataSection as DataSection
from aekit.training._sections import (
    SECTIONS as SECTIONS,
    EncoderSection as EncoderSection,
    EvaluateSection,
    LayerSettings as LayerSettings,
    LayerwiseSection,
    ObjectiveSection,
    split_table,
)
from aekit.training.settings import Settings


@dataclass(frozen=True)
class Recipe:
    """A validated recipe.

    Attributes:
        options: section -> plugin name -> its options.
    """

    data: DataSection
    encoder: EncoderSection
    objective: ObjectiveSection
    layerwise: LayerwiseSection
    train: Settings
    evaluate: EvaluateSection
    options: Mapping[str, Mapping[str, dict[str, Any]]]

    @property
    def trains(self) -> bool:
        """Whether there are epochs to train, of the whole network or of a layer."""
        layerwise = self.layerwise
        layers = any(layerwise.layer(number)[0].epochs for number in range(len(layerwise.layers)))
        return bool(self.train.epochs or layerwise.epochs or layers)

    def options_of(self, section: str, plugin: str) -> dict[str, Any]:
        return dict(self.options.get(section, {}).get(plugin, {}))

    def with_data(self, **changes: Any) -> Recipe:
        return replace(self, data=self.data.model_copy(update=changes))

    def with_train(self, **changes: Any) -> Recipe:
        return replace(self, train=self.train.model_copy(update=changes))

    def with_objective(self, **changes: Any) -> Recipe:
        return replace(self, objective=self.objective.model_copy(update=changes))

    def with_encoder(self, **changes: Any) -> Recipe:
        return replace(self, encoder=self.encoder.model_copy(update=changes))

    def with_options(self, section: str, plugin: str, options: Mapping[str, Any]) -> Recipe:
        """Return the recipe with options of a plugin set, besides those that it has."""
        tables = dict(self.options.get(section, {}))
        tables[plugin] = tables.get(plugin, {}) | dict(options)
        return replace(self, options={**self.options, section: tables})

    def with_plugin_defaults(self) -> Recipe:
        """Return the recipe with every option of every named plugin written out."""
        options = {section: dict(tables) for section, tables in self.options.items()}
        for section in SECTIONS:
            for kind, name, place in _named_plugins(section, getattr(self, section)):
                filled = validate_options(registry().get(kind, name, required_by=place), self.options_of(section, name))
                options.setdefault(section, {})[name] = filled
        loss = self.objective.loss
        if loss != "auto" and (model := _loss_model(loss)).model_fields:
            filled = model.model_validate(self.options_of("objective", loss)).model_dump()
            options.setdefault("objective", {})[loss] = filled
        layers = [
            _layer_with_defaults(table, f"layerwise.layers.{number}")
            for number, table in enumerate(self.layerwise.layers)
        ]
        layerwise = self.layerwise.model_copy(update={"layers": layers})
        return replace(self, options=options, layerwise=layerwise)

    def to_dict(self, *, only_set: bool = False) -> dict[str, Any]:
        """Return nested plain values with every default written out, without None, which TOML cannot express."""
        sections = {name: getattr(self, name).model_dump(exclude_unset=only_set) for name in SECTIONS}
        for name, tables in self.options.items():
            sections[name] |= {plugin: dict(options) for plugin, options in tables.items()}
        return without_none(sections)

    def to_toml(self, *, only_set: bool = False) -> str:
        return tomli_w.dumps(self.to_dict(only_set=only_set))


CODE_OF_A_SESSION = "# code of a Python session:"
"""Begin of the first line of a recipe that names plugins of a session."""


def named_plugins(recipe: Recipe, section: str) -> list[tuple[str, str]]:
    """Return the kind and name of each plugin that a section of a recipe names."""
    return [(kind, name) for kind, name, _ in _named_plugins(section, getattr(recipe, section))]


def read_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read and validate a recipe file.

    Args:
        path: TOML file. A relative path in ``data.source`` is relative to the current folder, as on the command line.
        overrides: dotted name -> value, such as ``{"train.lr": 1e-3}``.

    Raises:
        RecipeError: one line for each mistake.
    """
    try:
        return make_recipe(read_toml(Path(path)), overrides, origin=str(path))
    except RecipeError as error:
        text = Path(path).read_text("utf-8", "replace") if Path(path).is_file() else ""
        if not text.startswith(CODE_OF_A_SESSION):
            raise
        hint = f"{text.partition(chr(10))[0].removeprefix('# ')}; register it again with aekit.register"
        raise RecipeError([f"{problem} ({hint})" for problem in error.problems]) from None


def make_recipe(values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, *, origin: str = "") -> Recipe:
    """Validate nested values with overrides applied; `origin` is where they come from, for messages.

    Raises:
        RecipeError: one line for each mistake.
    """
    merged: dict[str, Any] = {name: dict(v) if isinstance(v, Mapping) else v for name, v in values.items()}
    problems = apply_overrides(merged, overrides or {})
    sections: dict[str, BaseModel] = {}
    options: dict[str, dict[str, dict[str, Any]]] = {}
    problems += [f"{name}: no such section{closest_name(name, SECTIONS)}" for name in merged if name not in SECTIONS]
    for name, model in SECTIONS.items():
        section = merged.get(name, {})
        if not isinstance(section, Mapping):
            problems.append(f"{name} = {section!r}: expected a section, [{name}]")
            continue
        settings = {
            key: value for key, value in section.items() if key in model.model_fields or not isinstance(value, Mapping)
        }
        misplaced = misplaced_options(name, settings.keys() - model.model_fields)
        settings = {key: value for key, value in settings.items() if key not in misplaced}
        mistakes = [*misplaced.values(), *validation_errors(model, settings, name)]
        problems += mistakes
        if not mistakes:
            sections[name] = model.model_validate(settings)
            tables = {key: dict(value) for key, value in section.items() if key not in settings}
            problems += _check_plugins(name, sections[name], tables)
            if name == "layerwise":
                problems += _check_layers(settings.get("layers", []))
            options[name] = tables
    if problems:
        raise RecipeError([f"{origin}: {problem}" if origin else problem for problem in problems])
    return Recipe(**sections, options={name: tables for name, tables in options.items() if tables})  # type: ignore[arg-type]


def _named_plugins(section: str, settings: Any) -> list[tuple[str, str, str]]:
    """Return the kind, name and place of each plugin that a section names."""
    if section == "encoder":
        return [] if settings.backbone == "auto" else [("backbone", settings.backbone, "encoder.backbone")]
    if section == "objective":
        variants = [("variant", name, "objective.variants") for name in settings.variants]
        return variants + [("pretext", name, "objective.pretexts") for name in settings.pretexts]
    if section == "evaluate":
        return [("evaluator", name, "evaluate.evaluators") for name in expand_groups(settings.evaluators)]
    return []


def _check_plugins(section: str, settings: Any, tables: Mapping[str, dict[str, Any]]) -> list[str]:
    """Return problems with the plugins that a section names and with their tables of options."""
    problems = []
    named = _named_plugins(section, settings)
    for kind, name, place in named:
        problems += _check_options(kind, name, place, tables.get(name, {}), f"{section}.{name}")
    free = {"data": "source", "encoder": "backbone"}.get(section) if not named else None
    allowed = {name for _, name, _ in named} | ({p.name for p in registry().by_kind(free)} if free else set())
    if section == "objective" and settings.loss != "auto":
        allowed.add(settings.loss)
        loss_options = tables.get(settings.loss, {})
        problems += validation_errors(_loss_model(settings.loss), loss_options, f"objective.{settings.loss}")
    known = allowed | set(SECTIONS[section].model_fields)
    for name in tables:
        if name not in allowed:
            problems.append(
                f"{section}.{name}: neither an option nor a plugin that this recipe uses{closest_name(name, known)}"
            )
    if section == "objective":
        parts = {*settings.pretexts, *(["autoencoder"] if settings.variants or not settings.pretexts else [])}
        problems += [
            f"objective.weights.{name}: no such part{closest_name(name, parts)}"
            for name in settings.weights
            if name not in parts
        ]
    return problems


def _loss_model(name: str) -> type[BaseModel]:
    """Return the validator of the options of a loss."""
    kind: Any = LOSSES[name]
    return options_model(kind)


def _check_options(kind: str, name: str, named_in: str, options: Mapping[str, Any], place: str) -> list[str]:
    """Return problems with a plugin that a recipe names and with its options."""
    try:
        plugin = registry().get(kind, name, required_by=named_in)
        return validation_errors(model_of_plugin(plugin), options, place, f"{plugin.distribution} {plugin.version}")
    except PluginError as error:
        return [str(error)]


def _check_layers(layers: list[dict[str, Any]]) -> list[str]:
    """Return problems in the tables of ``layerwise.layers``."""
    problems = []
    for number, table in enumerate(layers):
        place = f"layerwise.layers.{number}"
        settings, tables = split_table(table)
        problems += validation_errors(LayerSettings, settings, place)
        variants = settings.get("variants") or []
        for name in tables:
            if name not in variants:
                problems.append(f"{place}.{name}: not among the variants of this layer{closest_name(name, variants)}")
        for name in variants if isinstance(variants, list) else []:
            problems += _check_options("variant", name, f"{place}.variants", table.get(name, {}), f"{place}.{name}")
    return problems


def _layer_with_defaults(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    filled = dict(table)
    for name in table.get("variants") or []:
        filled[name] = validate_options(registry().get("variant", name, required_by=place), dict(table.get(name, {})))
    return filled
