"""From a recipe to an encoder and what trains it."""

from __future__ import annotations

from typing import Any

from aekit.autoencoder import Autoencoder
from aekit.encoder import Encoder, assemble, seeded
from aekit.errors import RecipeError, nearest
from aekit.objective import Objective, Pretext, PretextObjective, Variant, WeightedSum
from aekit.options import validated
from aekit.preprocess import Preprocess
from aekit.recipe import Recipe
from aekit.reconstruction import LOSSES
from aekit.registry import registry
from aekit.samples import SampleSpec


def make_objective(recipe: Recipe, spec: SampleSpec, preprocess: Preprocess) -> Objective:
    """Builds the encoder and what trains it, with first weights that depend on ``train.seed`` alone.

    Raises:
        RecipeError: options that do not fit the data or one another.
    """
    section = recipe.objective
    variants: dict[str, Variant] = {}
    heads: dict[str, dict[str, Any]] = {}
    with seeded(recipe.train.seed):
        for name in section.variants:
            plugin = registry().get("variant", name, wanted_by="objective.variants")
            options = validated(plugin, recipe.options_of("objective", name), f"objective.{name}")
            variants[plugin.name] = plugin.load()(**options)
            variants[plugin.name].prepare(preprocess)
            if type(variants[plugin.name]).head is not Variant.head:
                heads[name] = options
    bounds = [name for name, variant in variants.items() if type(variant).bound is not Variant.bound]
    for what, names in {"give the encoder a head": list(heads), "replace the reconstruction error": bounds}.items():
        if len(names) > 1:
            raise RecipeError([f"objective.variants: {' and '.join(names)} each {what}; at most one can"])
    name = recipe.encoder.backbone
    backbone = registry().get("backbone", name, wanted_by="encoder.backbone")
    options = validated(backbone, recipe.options_of("encoder", name), f"encoder.{name}")
    architecture = {
        "backbone": {"name": name, "options": options},
        "head": next(({"variant": variant, "options": chosen} for variant, chosen in heads.items()), None),
        "dim": recipe.encoder.dim,
        "normalize": recipe.encoder.normalize,
    }
    encoder = assemble(spec, preprocess, architecture, seed=recipe.train.seed)
    parts: dict[str, Objective] = {}
    with seeded(recipe.train.seed + 1):
        if section.variants or not section.pretexts:
            parts["autoencoder"] = _autoencoder(encoder, variants, recipe, preprocess)
        for name in section.pretexts:
            plugin = registry().get("pretext", name, wanted_by="objective.pretexts")
            options = validated(plugin, recipe.options_of("objective", name), f"objective.{name}")
            try:
                pretext: Pretext = plugin.load()(encoder, **options)
            except ValueError as error:
                raise RecipeError([f"pretext {name!r} cannot take {spec}: {error}"]) from error
            parts[plugin.name] = PretextObjective(encoder, pretext)
    return WeightedSum(parts, section.weights) if len(parts) > 1 else next(iter(parts.values()))


def _autoencoder(encoder: Encoder, variants: dict[str, Variant], recipe: Recipe, preprocess: Preprocess) -> Autoencoder:
    try:
        decoder = encoder.decoder()
    except NotImplementedError as error:
        raise RecipeError([f"encoder.backbone = {recipe.encoder.backbone!r}: {error}; use a pretext task"]) from error
    loss = recipe.objective.loss
    if loss == "auto":
        loss = auto_loss(preprocess)
    if loss not in LOSSES:
        raise RecipeError([f"objective.loss = {loss!r}: no such loss{nearest(loss, LOSSES)}"])
    if LOSSES[loss].unit and not preprocess.unit:
        raise RecipeError(
            [f"objective.loss = {loss!r}: needs data in [0, 1]; set encoder.scaling = 'unit', or loss = 'mse'"]
        )
    try:
        return Autoencoder(encoder, decoder, variants, loss)
    except ValueError as error:
        raise RecipeError([f"objective.loss = {loss!r}: {error}"]) from error


def auto_loss(preprocess: Preprocess) -> str:
    """What ``objective.loss = "auto"`` means for data that is scaled so."""
    return "bce" if preprocess.unit else "mse"


def autoencoder_of(objective: Objective) -> Autoencoder | None:
    """The autoencoder in an objective, if there is one."""
    return next((module for module in objective.modules() if isinstance(module, Autoencoder)), None)
