"""A recipe: one TOML file that is a whole run. It names plugins and sets their options; it never names code to import.

Sections hold their own settings and one table for each plugin they name::

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

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from aekit.errors import PluginError, RecipeError, closest_name
from aekit.evaluation.labels import TargetType
from aekit.objectives.losses import LOSSES
from aekit.registry.discovery import registry
from aekit.registry.options import options_model, validate_options, validation_errors
from aekit.registry.overrides import apply_overrides
from aekit.training.settings import Settings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(_Section):
    source: Annotated[str, Field(description="a folder, an array file, or SOURCE:NAME", min_length=1)]
    split: Annotated[str, Field(description="what to train on, where the data has splits; all: everything")] = "train"
    strict: Annotated[bool, Field(description="stop at the first sample that cannot be used")] = False
    only: Annotated[list[str], Field(description="labels to train on, such as that of normal samples; empty: all")] = []
    target: Annotated[
        str | None,
        Field(
            description="what is to be restored, where that is not the sample itself: data with the same ids as source"
        ),
    ] = None
    targets: Annotated[
        dict[str, dict[str, Any]], Field(description="options of the source that opens target; the rest as for source")
    ] = {}


class EncoderSection(_Section):
    backbone: Annotated[str, Field(description="a backbone plugin; auto: by the kind of data")] = "auto"
    dim: Annotated[int, Field(ge=0, description="width of the embedding; 0: the backbone's features themselves")] = 64
    scaling: Annotated[
        Literal["auto", "unit", "standard", "none"], Field(description="of raw samples; auto: by their range")
    ] = "auto"
    normalize: Annotated[bool, Field(description="embeddings of length 1")] = False
    hidden: Annotated[
        list[Annotated[int, Field(ge=1)]],
        Field(description="widths of dense layers above the backbone's own stages, which count as stages"),
    ] = []
    weights: Annotated[
        str,
        Field(
            description="first weights: the folder of an aekit encoder or run, or what the backbone takes; else random"
        ),
    ] = ""
    frozen: Annotated[
        Literal["all"] | Annotated[int, Field(ge=0)],
        Field(description="stages, from the lowest, that keep their weights; all: the backbone's own"),
    ] = 0


class ObjectiveSection(_Section):
    variants: Annotated[list[str], Field(description="of the autoencoder, composed in this order")] = []
    pretexts: Annotated[list[str], Field(description="tasks trained instead of, or with, an autoencoder")] = []
    weights: Annotated[dict[str, float], Field(description="of each pretext, and of 'autoencoder', in their sum")] = {}
    loss: Annotated[
        Literal["auto", "bce", "mse", "gaussian", "logistic", "huber", "ssim"],
        Field(description="of the reconstruction; auto: bce for data in [0, 1], mse for the rest"),
    ] = "auto"


class LayerSettings(_Section):
    epochs: Annotated[int | None, Field(ge=0, description="passes for this layer; by default layerwise.epochs")] = None
    lr: Annotated[float | None, Field(gt=0, description="peak learning rate; by default train.lr")] = None
    variants: Annotated[list[str] | None, Field(description="of this layer; by default objective.variants")] = None


class LayerwiseSection(_Section):
    epochs: Annotated[
        int, Field(ge=0, description="passes for each layer, from the first, before the whole is trained; 0: none")
    ] = 0
    layers: Annotated[
        list[dict[str, Any]],
        Field(description="a table for each layer, from the first: epochs, lr, variants, and a table for each variant"),
    ] = []

    def layer(self, number: int) -> tuple[LayerSettings, Mapping[str, Mapping[str, Any]]]:
        """Settings of a layer, from 0, and the options of its variants."""
        own, tables = _parted(self.layers[number] if number < len(self.layers) else {})
        return LayerSettings.model_validate(own), tables


class EvaluateSection(_Section):
    evaluators: Annotated[list[str], Field(description="run at the end of the fit, on all splits")] = []
    baselines: Annotated[bool, Field(description="evaluate raw input, PCA and a random encoder too")] = True
    groups: Annotated[
        str | None, Field(description="regular expression: samples whose ids agree in what it finds stay in one part")
    ] = None
    target_type: Annotated[
        TargetType,
        Field(
            description="classes, or numbers on a scale; auto: fractions are numbers, and most whole numbers with gaps"
        ),
    ] = "auto"


SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSection,
    "encoder": EncoderSection,
    "objective": ObjectiveSection,
    "layerwise": LayerwiseSection,
    "train": Settings,
    "evaluate": EvaluateSection,
}


@dataclass(frozen=True)
class Recipe:
    """A validated recipe.

    Attributes:
        options: section -> plugin name -> its options, as given.
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
        """Whether there is anything to train: epochs, of the whole or of a layer."""
        layerwise = self.layerwise
        layers = any(layerwise.layer(number)[0].epochs for number in range(len(layerwise.layers)))
        return bool(self.train.epochs or layerwise.epochs or layers)

    def options_of(self, section: str, plugin: str) -> dict[str, Any]:
        return dict(self.options.get(section, {}).get(plugin, {}))

    def with_train(self, **changes: Any) -> Recipe:
        return replace(self, train=self.train.model_copy(update=changes))

    def with_objective(self, **changes: Any) -> Recipe:
        return replace(self, objective=self.objective.model_copy(update=changes))

    def with_encoder(self, **changes: Any) -> Recipe:
        return replace(self, encoder=self.encoder.model_copy(update=changes))

    def with_plugin_defaults(self) -> Recipe:
        """Every option of every plugin that is named, written out."""
        options = {section: dict(tables) for section, tables in self.options.items()}
        for section in SECTIONS:
            for kind, name, place in _named_plugins(section, getattr(self, section)):
                filled = validate_options(registry().get(kind, name, required_by=place), self.options_of(section, name))
                options.setdefault(section, {})[name] = filled
        loss = self.objective.loss
        if loss != "auto" and (own := _loss_model(loss)).model_fields:
            filled = own.model_validate(self.options_of("objective", loss)).model_dump()
            options.setdefault("objective", {})[loss] = filled
        layers = [
            _layer_with_defaults(table, f"layerwise.layers.{number}")
            for number, table in enumerate(self.layerwise.layers)
        ]
        layerwise = self.layerwise.model_copy(update={"layers": layers})
        return replace(self, options=options, layerwise=layerwise)

    def to_dict(self) -> dict[str, Any]:
        """As nested plain values, every default written out; what is None is left out, as TOML has no word for it."""
        sections = {name: getattr(self, name).model_dump() for name in SECTIONS}
        for name, tables in self.options.items():
            sections[name] |= {plugin: dict(options) for plugin, options in tables.items()}
        return _without_none(sections)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.to_dict())


def read_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Reads and validates a recipe file.

    Args:
        path: TOML. A relative path in ``data.source`` counts from the current folder, as on the command line.
        overrides: dotted name -> value, such as ``{"train.lr": 1e-3}``.

    Raises:
        RecipeError: with one line for each mistake.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError([f"{path}: cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError([f"{path}: is not TOML: {error}"]) from None
    return make_recipe(values, overrides, origin=str(path))


def make_recipe(values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, *, origin: str = "") -> Recipe:
    """Validates nested values, with overrides applied; `origin` says in messages where they came from."""
    merged: dict[str, Any] = {name: dict(v) if isinstance(v, Mapping) else v for name, v in values.items()}
    problems = apply_overrides(merged, overrides or {})
    sections: dict[str, BaseModel] = {}
    options: dict[str, dict[str, dict[str, Any]]] = {}
    problems += [f"{name}: no such section{closest_name(name, SECTIONS)}" for name in merged if name not in SECTIONS]
    for name, model in SECTIONS.items():
        given = merged.get(name, {})
        if not isinstance(given, Mapping):
            problems.append(f"{name} = {given!r}: should be a section, [{name}]")
            continue
        own = {
            key: value for key, value in given.items() if key in model.model_fields or not isinstance(value, Mapping)
        }
        found = validation_errors(model, own, name)
        problems += found
        if not found:
            sections[name] = model.model_validate(own)
            tables = {key: dict(value) for key, value in given.items() if key not in own}
            problems += _check_plugins(name, sections[name], tables)
            if name == "layerwise":
                problems += _check_layers(own.get("layers", []))
            options[name] = tables
    if problems:
        raise RecipeError([f"{origin}: {problem}" if origin else problem for problem in problems])
    return Recipe(**sections, options={name: tables for name, tables in options.items() if tables})  # type: ignore[arg-type]


def _named_plugins(section: str, settings: Any) -> list[tuple[str, str, str]]:
    """Kind, name and place of each plugin that a section names."""
    if section == "encoder":
        return [] if settings.backbone == "auto" else [("backbone", settings.backbone, "encoder.backbone")]
    if section == "objective":
        variants = [("variant", name, "objective.variants") for name in settings.variants]
        return variants + [("pretext", name, "objective.pretexts") for name in settings.pretexts]
    if section == "evaluate":
        return [("evaluator", name, "evaluate.evaluators") for name in settings.evaluators]
    return []


def _check_plugins(section: str, settings: Any, tables: Mapping[str, dict[str, Any]]) -> list[str]:
    """Problems with the plugins that a section names, and with the tables of options that it holds for them."""
    problems = []
    named = _named_plugins(section, settings)
    for kind, name, place in named:
        problems += _check_options(kind, name, place, tables.get(name, {}), f"{section}.{name}")
    free = {"data": "source", "encoder": "backbone"}.get(section) if not named else None
    allowed = {name for _, name, _ in named} | ({p.name for p in registry().by_kind(free)} if free else set())
    if section == "objective" and settings.loss != "auto":
        allowed.add(settings.loss)
        own = tables.get(settings.loss, {})
        problems += validation_errors(_loss_model(settings.loss), own, f"objective.{settings.loss}")
    known = allowed | set(SECTIONS[section].model_fields)
    for name in tables:
        if name not in allowed:
            problems.append(
                f"{section}.{name}: no such option, and no plugin that this recipe uses{closest_name(name, known)}"
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
    """The validator of a loss's own options."""
    kind: Any = LOSSES[name]
    return options_model(kind)


def _check_options(kind: str, name: str, named_in: str, options: Mapping[str, Any], place: str) -> list[str]:
    """Problems with a plugin that a recipe names, and with the options that it gives it."""
    try:
        plugin = registry().get(kind, name, required_by=named_in)
        return validation_errors(
            options_model(plugin.load()), options, place, f"{plugin.distribution} {plugin.version}"
        )
    except PluginError as error:
        return [str(error)]


def _check_layers(layers: list[dict[str, Any]]) -> list[str]:
    """Problems in the tables of ``layerwise.layers``."""
    problems = []
    for number, table in enumerate(layers):
        place = f"layerwise.layers.{number}"
        own, tables = _parted(table)
        problems += validation_errors(LayerSettings, own, place)
        variants = own.get("variants") or []
        for name in tables:
            if name not in variants:
                problems.append(f"{place}.{name}: not among the variants of this layer{closest_name(name, variants)}")
        for name in variants if isinstance(variants, list) else []:
            problems += _check_options("variant", name, f"{place}.variants", table.get(name, {}), f"{place}.{name}")
    return problems


def _parted(table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
    """A layer's own settings, and the tables of its variants."""
    tables = {name: value for name, value in table.items() if isinstance(value, Mapping)}
    return {name: value for name, value in table.items() if name not in tables}, tables


def _layer_with_defaults(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    filled = dict(table)
    for name in table.get("variants") or []:
        filled[name] = validate_options(registry().get("variant", name, required_by=place), dict(table.get(name, {})))
    return filled


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_none(inner) for inner in value]
    return value
