"""Set up variants, pretext tasks and backbones as objectives over small synthetic samples, as `aekit fit` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import Backbone
from aekit.encoder.encoder import Encoder, build_encoder, temporary_seed
from aekit.encoder.preprocessing import Preprocess, fit_preprocess
from aekit.errors import RecipeError
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Batch, Objective, Pretext, PretextObjective, Variant
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import validate_options
from aekit.testing.kit import Case
from aekit.testing.samples import COLOR, SPECS, low_rank
from aekit.training.batches import Batches
from aekit.training.build import find_autoencoder, make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.recipe import Recipe, make_recipe
from aekit.training.settings import Settings

DIM = 16
"""Width of the code."""


class Trial(Case):
    """A plugin that trains an encoder, on one kind of sample."""

    def __init__(self, plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path, spec: SampleSpec) -> None:
        super().__init__(plugin, name, options, folder)
        self.spec, self.label = spec, str(spec)

    @cached_property
    def samples(self) -> Samples:
        return load_samples(self.source, np.arange(len(self.source)), torch.device("cpu"))

    @cached_property
    def source(self) -> ArraySource:
        return ArraySource(low_rank(self.spec), kind=self.spec.kind)

    @cached_property
    def preprocess(self) -> Preprocess:
        return fit_preprocess(self.samples)[0]

    def settings(self, seed: int = 0, **changes: Any) -> Settings:
        fixed: dict[str, Any] = {"seed": seed, "precision": "fp32", "device": "cpu", "batch_size": 32, "warmup": 0.0}
        return Settings(**(fixed | changes))

    def objective(self, seed: int = 0) -> Objective:
        """Build a new objective, with weights from `seed`."""
        if self.plugin.kind == "backbone":
            return _wrap(self.encoder_with(self.spec, self.preprocess, seed))
        objective = make_objective(self.recipe(seed), self.samples.spec, self.preprocess)
        objective.start(self.samples)
        return objective

    def recipe(self, seed: int = 0) -> Recipe:
        """Return the recipe of a variant or a pretext task."""
        values = {
            "data": {"source": "kit"},
            "encoder": {"backbone": _plain_backbone(self.spec), "dim": DIM},
            "objective": {f"{self.plugin.kind}s": [self.name], self.name: self.options},
            "train": {"seed": seed},
        }
        return make_recipe(values, getattr(self.code, "requires", {}))

    def encoder_with(self, spec: SampleSpec, preprocess: Preprocess, seed: int = 0) -> Encoder:
        """Build an encoder with the tested backbone."""
        architecture = {
            "backbone": {"name": self.name, "options": validate_options(self.plugin, self.options)},
            "head": None,
            "dim": DIM,
            "normalize": False,
        }
        return build_encoder(spec, preprocess, architecture, seed=seed)

    def plugin_module(self, objective: Objective) -> Variant | Pretext | Backbone:
        """Return the plugin's module in an objective."""
        if isinstance(objective, PretextObjective):
            return objective.pretext
        if self.plugin.kind == "backbone":
            return objective.encoder.backbone
        autoencoder = find_autoencoder(objective)
        assert autoencoder is not None
        variant = next(iter(autoencoder.variants.values()))
        assert isinstance(variant, Variant)
        return variant

    @property
    def loss_sizes(self) -> tuple[int, ...]:
        # A last batch may hold one sample, unless the task says that it compares samples, or the backbone has batch norms.
        least = getattr(self.code, "min_batch", 1) if self.plugin.kind != "backbone" else 2
        return tuple(size for size in (1, 2, 7) if size >= least)

    def raw(self, count: int, start: int = 0) -> Tensor:
        """Return samples (count, *shape)."""
        return self.samples.batch(torch.arange(start, start + count))

    def steps(self, seed: int, count: int) -> Iterator[float]:
        """Yield the losses of the first `count` steps of a training run."""
        settings = self.settings(seed, epochs=2, batch_size=min(32, len(self.samples) // count))
        state = State.start(self.objective(seed), settings)
        for _, record in zip(range(count), train(state, Batches(self.samples, settings.batch_size, seed), settings)):
            yield record["loss"]


def trials(plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path) -> list[Trial]:
    """Return a trial for each kind of sample that the entry's tags name; without such tags, for each supported kind.

    Raises:
        ValueError: the plugin refuses all kinds, or one that its tags name.
    """
    tagged = [spec for kind, spec in SPECS.items() if kind in plugin.entry.tags]
    if plugin.kind == "backbone" and not tagged:
        raise ValueError(f"the entry's tags name no kind of sample; expected at least one of {', '.join(SPECS)}")
    accepted: list[Trial] = []
    refusals: dict[str, RecipeError] = {}
    specs = tagged or list(SPECS.values())
    for spec in [*specs, *([COLOR] if SPECS["image"] in specs else [])]:
        if any(trial.spec.kind == spec.kind for trial in accepted):
            continue
        trial = Trial(plugin, name, options, folder, spec)
        try:
            trial.objective()
            accepted.append(trial)
            refusals.pop(spec.kind, None)
        except RecipeError as error:
            if not isinstance(error.__cause__, ValueError):
                raise
            refusals.setdefault(spec.kind, error)
    if tagged and refusals:
        kind, refusal = next(iter(refusals.items()))
        raise ValueError(f"the entry's tags name {kind} samples, but it refuses them: {refusal}")
    if not accepted:
        raise ValueError(f"it refuses samples of every kind: {next(iter(refusals.values()))}")
    return accepted


def _wrap(encoder: Encoder) -> Autoencoder:
    """Build an autoencoder, with a linear decoder if the backbone has none."""
    with temporary_seed(1):
        try:
            decoder = encoder.decoder()
        except NotImplementedError:
            decoder = nn.Sequential(nn.Linear(encoder.dim, encoder.spec.size), nn.Unflatten(1, encoder.spec.shape))
    return Autoencoder(encoder, decoder, {}, "bce" if encoder.preprocess.unit else "mse")


def _plain_backbone(spec: SampleSpec) -> str:
    """Return the built-in backbone that supports most kinds of samples, to test variants and tasks on."""
    builtin = [p for p in registry().by_kind("backbone") if p.distribution == "aekit" and spec.kind in p.entry.tags]
    return max(builtin, key=lambda plugin: len(plugin.entry.tags)).qualified


def with_random_labels(raw: Tensor, seed: int) -> Batch:
    """Return a batch with random class labels, different for every seed, which self-supervised code must not use."""
    numbers = torch.randint(0, 5, (len(raw),), generator=torch.Generator().manual_seed(seed))
    return Batch(raw, numbers + 5 * seed)
