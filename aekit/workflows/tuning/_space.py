"""The candidates of a search: every registered objective and backbone that takes the data, with the ranges of their options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from aekit.data.spec import Kind, SampleSpec
from aekit.encoder.backbone import Backbone
from aekit.encoder.pretrained import networks_at_hand
from aekit.encoder.untrained import FEATURES_AS_EMBEDDING
from aekit.errors import AekitError
from aekit.registry.discovery import Plugin, registry
from aekit.registry.search_space import Choices, Range, choices, search_space, varied_value

DEFAULT = "default"
"""The objective and the backbone that a recipe gets which names none."""
OBJECTIVE, BACKBONE, DIM, RATE, BATCH = "objective", "backbone", "encoder.dim", "train.lr", "train.batch_size"
FEATURES, WIDE = "0", "128"
"""Dimensions of the first candidates: the features of the backbone for pretext tasks, and a wide code for autoencoders."""
CYCLE = 4
"""Later candidates: an objective with its defaults, two that vary the best one, one by the sampler, and so on."""
GENERAL: dict[str, Choices | Range] = {
    DIM: choices([0, 32, 128, 256], None),
    RATE: Range(3e-4, 1e-2, log=True, whole=False, default=2e-3),
    BATCH: choices([32, 64, 256], None),
}
"""Settings that every trained candidate has."""


class Space:
    """The candidates, and the parameters that a sampler chooses for them.

    Args:
        spec: spec of the samples.
        fixed: settings of all candidates by dotted name, which are not searched.
        recipes: name -> settings of candidates of the user.
        reconstructs: whether only autoencoders compete.
        seed: seed of the order of the first candidates.

    Attributes:
        objectives: names of the objectives, the default first.
        as_they_are: objective -> settings, for candidates without parameters: of the user, and networks that are not trained.
    """

    def __init__(
        self,
        spec: SampleSpec,
        fixed: Mapping[str, Any],
        recipes: Mapping[str, Mapping[str, Any]],
        *,
        reconstructs: bool = False,
        seed: int = 0,
    ) -> None:
        self.spec, self.fixed = spec, dict(fixed)
        self.as_they_are: dict[str, dict[str, Any]] = {f"recipe {name}": dict(s) for name, s in recipes.items()}
        self._plugins: dict[str, Plugin] = {}
        self._backbones: dict[str, Plugin] = {}
        backbone_is_open = not any(name.startswith(("encoder.backbone", "encoder.weights")) for name in fixed)
        objective_is_open = not any(name.startswith("objective.") for name in fixed)
        if objective_is_open:
            kinds = ("variant",) if reconstructs else ("variant", "pretext")
            self._plugins = {f"{p.kind} {title}": p for kind in kinds for title, p in _fitting(kind, spec)}
        if backbone_is_open:
            for title, plugin in _fitting("backbone", spec):
                untrained = _untrained(plugin, title)
                if not untrained and not _is_zoo(plugin):
                    self._backbones[title] = plugin
                elif objective_is_open and not reconstructs:
                    self.as_they_are |= untrained or _pretrained(plugin, title, spec)
        self.objectives = [DEFAULT, *self.as_they_are, *self._plugins]
        self.backbones = [DEFAULT, *self._backbones]
        self._options: dict[str, dict[str, Choices | Range]] = {}
        self._first = self._first_candidates(seed)

    def first(self, number: int) -> dict[str, Any] | None:
        """Return the parameters of one of the first candidates: the default, what is ready, what is often good on this kind of
        data, each objective with its defaults, which is then one candidate in `CYCLE`.

        Args:
            number: number of the candidate, from 0.

        Returns:
            the parameters, or None where the sampler chooses.
        """
        expert = self._certain
        place = number if number < expert else expert + (number - expert) // CYCLE
        if number >= expert and (number - expert) % CYCLE:
            return None
        return self._first[place] if place < len(self._first) else None

    def varies(self, number: int) -> bool:
        """Return whether a candidate after the first varies the best one, rather than being left to the sampler."""
        return (number - self._certain) % CYCLE != CYCLE - 1

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Return the settings of a candidate, by dotted name, whose parameters an `optuna.trial.Trial` suggests."""
        objective = trial.suggest_categorical(OBJECTIVE, self.objectives)
        if objective in self.as_they_are:
            return dict(self.as_they_are[objective])
        backbone = trial.suggest_categorical(BACKBONE, self.backbones)
        settings = self._named(objective, backbone)
        for name, dimension in self._dimensions(objective, backbone).items():
            value = _suggest(trial, name, dimension)
            if value is not None:
                settings[name] = value
        return settings

    def defaults(self, objective: str, *, dim: str | None = None, backbone: str = DEFAULT) -> dict[str, Any]:
        """Return the parameters of an objective with the defaults of all else.

        Args:
            objective: its name.
            dim: dimension of the embedding as JSON, unless it is fixed; None: the default.
            backbone: name of the backbone.
        """
        if objective in self.as_they_are:
            return {OBJECTIVE: objective}
        parameters: dict[str, Any] = {OBJECTIVE: objective, BACKBONE: backbone}
        for name, dimension in self._dimensions(objective, backbone).items():
            parameters[name] = dim if name == DIM and dim is not None else dimension.default
        return parameters

    def varied(self, parameters: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Any]:
        """Return the parameters of a candidate with one to three of them changed.

        Args:
            parameters: of a candidate that is trained.
            generator: draws which are changed, and how.
        """
        objective, varied = parameters[OBJECTIVE], dict(parameters)
        for _ in range(generator.integers(1, 4)):
            dimensions = self._dimensions(objective, varied[BACKBONE])
            general = [name for name in dimensions if name in GENERAL]
            special = [BACKBONE, *(name for name in dimensions if name not in GENERAL)]
            names = general if general and generator.random() < 0.5 else special
            name = names[generator.integers(len(names))]
            if name == BACKBONE:
                varied[BACKBONE] = self.backbones[generator.integers(len(self.backbones))]
            else:
                varied[name] = varied_value(dimensions[name], varied.get(name, dimensions[name].default), generator)
        dimensions = self._dimensions(objective, varied[BACKBONE])
        defaults = {name: dimension.default for name, dimension in dimensions.items()}
        chosen = {name: varied.get(name, default) for name, default in defaults.items()}
        return {OBJECTIVE: objective, BACKBONE: varied[BACKBONE]} | chosen

    def _first_candidates(self, seed: int) -> list[dict[str, Any]]:
        default = next((n for n, p in self._plugins.items() if f"default-{self.spec.kind}" in p.entry.tags), None)
        plain = next((n for n, p in self._plugins.items() if "default" in p.entry.tags), None)
        firsts = [self.defaults(DEFAULT), *(self.defaults(name) for name in self.as_they_are)]
        early = [n for n, p in self._plugins.items() if f"early-{self.spec.kind}" in p.entry.tags and n != default]
        for name in filter(None, [default, *early]):
            if self._plugins[name].kind == "pretext":
                firsts.append(self.defaults(name, dim=FEATURES))
            elif self.spec.is_vector:
                firsts += self._on_wide_network(name)
            if self._plugins[name].kind == "variant" or name == default:  # features may be too wide to score in time
                firsts.append(self.defaults(name, dim=WIDE))
        self._certain = max(3 + len(self.as_they_are), len(firsts))
        firsts += [self.defaults(plain)] if plain and plain not in early else []
        later = [name for name in self._plugins if name != plain and name not in early]
        order = np.random.default_rng(seed).permutation(len(later))
        return firsts + [self.defaults(later[place]) for place in order]

    def _on_wide_network(self, objective: str) -> list[dict[str, Any]]:
        """Return the parameters of an objective on the widest layers of the first backbone, with its features as embedding."""
        for backbone in self._backbones:
            parameters = self.defaults(objective, dim=FEATURES, backbone=backbone)
            for name, dimension in self._dimensions(objective, backbone).items():
                layers = [json.loads(value) for value in getattr(dimension, "values", ())]
                lists = [value for value in layers if isinstance(value, list)]
                if name.startswith(f"encoder.{backbone}.") and lists:
                    return [parameters | {name: json.dumps(max(lists, key=lambda widths: (len(widths), sum(widths))))}]
        return []

    def _named(self, objective: str, backbone: str) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        if objective != DEFAULT:
            settings[f"objective.{self._plugins[objective].kind}s"] = [objective.partition(" ")[2]]
        if backbone != DEFAULT:
            settings["encoder.backbone"] = backbone
        return settings

    def _dimensions(self, objective: str, backbone: str) -> dict[str, Choices | Range]:
        """Return the parameters of an objective on a backbone, by dotted name of the setting."""
        dimensions = {name: dimension for name, dimension in GENERAL.items() if name not in self.fixed}
        named = {f"objective.{objective.partition(' ')[2]}": self._plugins.get(objective)}
        named |= {f"encoder.{backbone}": self._backbones.get(backbone)}
        for place, plugin in named.items():
            if plugin is not None:
                for option, dimension in self._space_of(plugin).items():
                    dimensions[f"{place}.{option}"] = dimension
        return {name: dimension for name, dimension in dimensions.items() if name not in self.fixed}

    def _space_of(self, plugin: Plugin) -> dict[str, Choices | Range]:
        key = f"{plugin.kind} {plugin.qualified}"
        if key not in self._options:
            try:
                self._options[key] = search_space(plugin.load())
            except (AekitError, TypeError, NameError):  # a broken plugin: the candidate that uses it says so
                self._options[key] = {}
        return self._options[key]


def _fitting(kind: str, spec: SampleSpec) -> Iterator[tuple[str, Plugin]]:
    """Yield the name and the plugin of each that takes samples of this kind and is to be searched, by its tags."""
    plugins = registry().by_kind(kind)
    names = [plugin.name for plugin in plugins]
    for plugin in plugins:
        tags = [tag for tag in plugin.entry.tags if tag in get_args(Kind)]
        if "unsearched" not in plugin.entry.tags and (not tags or spec.kind in tags):
            yield plugin.qualified if names.count(plugin.name) > 1 else plugin.name, plugin


def _is_zoo(plugin: Plugin) -> bool:
    """Return whether a backbone competes with pretrained weights alone."""
    function = getattr(_factory(plugin), "pretrained_at_hand", None)
    inherited: Any = Backbone.pretrained_at_hand
    return function is not None and getattr(function, "__func__", None) is not inherited.__func__


def _untrained(plugin: Plugin, title: str) -> dict[str, dict[str, Any]]:
    """Return the candidate of a backbone that training does not change: name -> settings; none for other backbones."""
    if getattr(_factory(plugin), "trains", True):
        return {}
    features = {f"encoder.{name}": value for name, value in FEATURES_AS_EMBEDDING.items()}
    return {f"untrained {title}": {"encoder.backbone": title, **features, "train.epochs": 0}}


def _factory(plugin: Plugin) -> Any:
    """Return the code of a plugin, or None if it is broken: the candidate that uses it says so."""
    try:
        return plugin.load()
    except AekitError:
        return None


def _pretrained(plugin: Plugin, title: str, spec: SampleSpec) -> dict[str, dict[str, Any]]:
    """Return the candidates of a backbone with pretrained weights at hand: name -> settings; they are not trained."""
    try:
        at_hand: Sequence[Mapping[str, Any]] = plugin.load().pretrained_at_hand(spec)
    except Exception as error:
        raise plugin.failure(error) from error
    made = {}
    for options in at_hand:
        name = f"pretrained {title} {' '.join(str(value) for value in options.values())}".rstrip()
        settings = {f"encoder.{title}.{option}": value for option, value in options.items()}
        general = {"encoder.backbone": title, "encoder.weights": "pretrained", DIM: 0, "train.epochs": 0}
        made[name] = general | settings
    for named in networks_at_hand():
        backbone, _, model = named.partition(":")
        model, _, file = model.partition("@")
        if backbone == title and file:
            general = {"encoder.backbone": title, "encoder.weights": file, DIM: 0, "train.epochs": 0}
            made[f"pretrained {title} {model}"] = general | {f"encoder.{title}.model": model}
    return made


def _suggest(trial: Any, name: str, dimension: Choices | Range) -> Any:
    if isinstance(dimension, Choices):
        return json.loads(trial.suggest_categorical(name, dimension.values))
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
