"""The candidates of a search: every registered objective and backbone that takes the data, with the ranges of their options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from aekit.data.spec import Kind, SampleSpec
from aekit.encoder.backbone import Backbone
from aekit.errors import AekitError
from aekit.registry.discovery import Plugin, registry
from aekit.registry.search_space import Choices, Range, choices, search_space

DEFAULT = "default"
"""The objective and the backbone that a recipe gets which names none."""
OBJECTIVE, BACKBONE, DIM, RATE, BATCH = "objective", "backbone", "encoder.dim", "train.lr", "train.batch_size"
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
        as_they_are: objective -> settings, for candidates without parameters: of the user, and pretrained networks.
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
                zoo = _is_zoo(plugin)
                if not zoo:
                    self._backbones[title] = plugin
                elif objective_is_open and not reconstructs:
                    self.as_they_are |= _pretrained(plugin, title, spec)
        self.objectives = [DEFAULT, *self.as_they_are, *self._plugins]
        self.backbones = [DEFAULT, *self._backbones]
        self._first = self._first_candidates(seed)
        self._options: dict[str, dict[str, Choices | Range]] = {}

    def first(self, number: int) -> dict[str, Any] | None:
        """Return the parameters of one of the first candidates: the default, what is ready, each objective with its defaults.

        From the fourth on, every other one is left to the sampler, which then has results to learn from.

        Args:
            number: number of the candidate, from 0.

        Returns:
            the parameters, or None where the sampler chooses.
        """
        expert = 3 + len(self.as_they_are)
        place = number if number < expert else expert + (number - expert) // 2
        if number >= expert and (number - expert) % 2:
            return None
        return self._first[place] if place < len(self._first) else None

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

    def defaults(self, objective: str, **changes: Any) -> dict[str, Any]:
        """Return the parameters of an objective with the defaults of all else.

        Args:
            objective: its name.
            changes: values of parameters, by name with underscores for dots.
        """
        if objective in self.as_they_are:
            return {OBJECTIVE: objective}
        parameters: dict[str, Any] = {OBJECTIVE: objective, BACKBONE: DEFAULT}
        for name, dimension in self._dimensions(objective, DEFAULT).items():
            parameters[name] = dimension.default
        return parameters | {name.replace("_", ".", 1): value for name, value in changes.items()}

    def _first_candidates(self, seed: int) -> list[dict[str, Any]]:
        self._options = {}
        usual = next((n for n, p in self._plugins.items() if f"default-{self.spec.kind}" in p.entry.tags), None)
        plain = next((n for n, p in self._plugins.items() if "default" in p.entry.tags), None)
        firsts = [self.defaults(DEFAULT), *(self.defaults(name) for name in self.as_they_are)]
        if usual and DIM in self._dimensions(usual, DEFAULT):
            firsts.append(self.defaults(usual, encoder_dim="0"))
        firsts += [self.defaults(plain)] if plain else []
        others = [name for name in self._plugins if name != plain]
        order = np.random.default_rng(seed).permutation(len(others))
        return firsts + [self.defaults(others[place]) for place in order]

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
    """Yield the name and the plugin of each that takes samples of this kind, by its tags."""
    plugins = registry().by_kind(kind)
    names = [plugin.name for plugin in plugins]
    for plugin in plugins:
        tags = [tag for tag in plugin.entry.tags if tag in get_args(Kind)]
        if not tags or spec.kind in tags:
            yield plugin.qualified if names.count(plugin.name) > 1 else plugin.name, plugin


def _is_zoo(plugin: Plugin) -> bool:
    """Return whether a backbone competes with pretrained weights alone."""
    try:
        factory = plugin.load()
    except AekitError:
        return False
    function = getattr(factory, "pretrained_at_hand", None)
    inherited: Any = Backbone.pretrained_at_hand
    return function is not None and getattr(function, "__func__", None) is not inherited.__func__


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
    return made


def _suggest(trial: Any, name: str, dimension: Choices | Range) -> Any:
    if isinstance(dimension, Choices):
        return json.loads(trial.suggest_categorical(name, dimension.values))
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
