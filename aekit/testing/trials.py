"""Variants, pretext tasks and backbones set up as objectives over small synthetic samples, as a fit would set them up."""

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
from aekit.training.recipe import make_recipe
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
        array = low_rank(self.spec)
        return load_samples(ArraySource(array, kind=self.spec.kind), np.arange(len(array)), torch.device("cpu"))

    @cached_property
    def preprocess(self) -> Preprocess:
        return fit_preprocess(self.samples)[0]

    def settings(self, seed: int = 0, **changes: Any) -> Settings:
        fixed: dict[str, Any] = {"seed": seed, "precision": "fp32", "device": "cpu", "batch_size": 32, "warmup": 0.0}
        return Settings(**(fixed | changes))

    def objective(self, seed: int = 0) -> Objective:
        """Built afresh, with weights from `seed`."""
        if self.plugin.kind == "backbone":
            return _around(self.encoder_with(self.spec, self.preprocess, seed))
        values = {
            "data": {"source": "kit"},
            "encoder": {"backbone": _plain_backbone(self.spec), "dim": DIM},
            "objective": {f"{self.plugin.kind}s": [self.name], self.name: self.options},
            "train": {"seed": seed},
        }
        recipe = make_recipe(values, getattr(self.code, "requires", {}))
        objective = make_objective(recipe, self.samples.spec, self.preprocess)
        objective.start(self.samples)
        return objective

    def encoder_with(self, spec: SampleSpec, preprocess: Preprocess, seed: int = 0) -> Encoder:
        """An encoder around the backbone that is tested."""
        architecture = {
            "backbone": {"name": self.name, "options": validate_options(self.plugin, self.options)},
            "head": None,
            "dim": DIM,
            "normalize": False,
        }
        return build_encoder(spec, preprocess, architecture, seed=seed)

    def plugin_module(self, objective: Objective) -> Variant | Pretext | Backbone:
        """The plugin's own module in an objective."""
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
        # What compares the samples of a batch, as batch norm and contrastive tasks do, needs two of them.
        return (1, 2, 7) if self.plugin.kind == "variant" else (2, 7)

    def raw(self, count: int, start: int = 0) -> Tensor:
        """(count, *shape) samples."""
        return self.samples.batch(torch.arange(start, start + count))

    def steps(self, seed: int, most: int) -> Iterator[float]:
        """Losses of the first steps of a training run."""
        settings = self.settings(seed, epochs=2, batch_size=min(32, len(self.samples) // most))
        state = State.start(self.objective(seed), settings)
        for _, record in zip(range(most), train(state, Batches(self.samples, settings.batch_size, seed), settings)):
            yield record["loss"]


def trials(plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path) -> list[Trial]:
    """One for each kind of sample that the entry's tags name; without such tags, for each that it does not refuse.

    Raises:
        ValueError: it refuses all of them, or one that its tags name.
    """
    tagged = [spec for kind, spec in SPECS.items() if kind in plugin.entry.tags]
    if plugin.kind == "backbone" and not tagged:
        raise ValueError(f"the entry's tags name no kind of sample; expected some of {', '.join(SPECS)}")
    found: list[Trial] = []
    refusals: dict[str, RecipeError] = {}
    wanted = tagged or list(SPECS.values())
    for spec in [*wanted, *([COLOR] if SPECS["image"] in wanted else [])]:
        if any(trial.spec.kind == spec.kind for trial in found):
            continue
        trial = Trial(plugin, name, options, folder, spec)
        try:
            trial.objective()
            found.append(trial)
            refusals.pop(spec.kind, None)
        except RecipeError as error:
            if not isinstance(error.__cause__, ValueError):
                raise
            refusals.setdefault(spec.kind, error)
    if tagged and refusals:
        kind, refusal = next(iter(refusals.items()))
        raise ValueError(f"the entry's tags name {kind} samples, but it refuses them: {refusal}")
    if not found:
        raise ValueError(f"it refuses samples of every kind: {next(iter(refusals.values()))}")
    return found


def _around(encoder: Encoder) -> Autoencoder:
    """An autoencoder, with a linear decoder where the backbone has no mirror image."""
    with temporary_seed(1):
        try:
            decoder = encoder.decoder()
        except NotImplementedError:
            decoder = nn.Sequential(nn.Linear(encoder.dim, encoder.spec.size), nn.Unflatten(1, encoder.spec.shape))
    return Autoencoder(encoder, decoder, {}, "bce" if encoder.preprocess.unit else "mse")


def _plain_backbone(spec: SampleSpec) -> str:
    """What variants and tasks are tested on: of aekit's own backbones, the one that asks least of a sample."""
    own = [p for p in registry().by_kind("backbone") if p.distribution == "aekit" and spec.kind in p.entry.tags]
    return max(own, key=lambda plugin: len(plugin.entry.tags)).qualified


def with_random_labels(raw: Tensor, seed: int) -> Batch:
    """A batch with random class numbers, others for every seed, that nothing without supervision may look at."""
    numbers = torch.randint(0, 5, (len(raw),), generator=torch.Generator().manual_seed(seed))
    return Batch(raw, numbers + 5 * seed)
