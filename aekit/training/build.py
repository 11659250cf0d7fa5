"""From a recipe to an encoder and what trains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from aekit.data.spec import Kind, SampleSpec
from aekit.encoder.backbone import Decoder
from aekit.encoder.encoder import Encoder, build_encoder, temporary_seed
from aekit.encoder.freezing import freeze, trained_part
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import RecipeError
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Objective, Pretext, PretextObjective, Untrained, Variant, WeightedSum
from aekit.objectives.layerwise import LayerwiseObjective
from aekit.objectives.losses import LOSSES
from aekit.registry.discovery import registry
from aekit.registry.options import validate_options
from aekit.training.initial_weights import load_pretrained
from aekit.training.recipe import LayerSettings, Recipe


def make_objective(recipe: Recipe, spec: SampleSpec, preprocess: Preprocess) -> Objective:
    """Builds the encoder and what trains it, with first weights that depend on ``train.seed`` alone.

    Raises:
        RecipeError: options that do not fit the data or one another.
    """
    section = recipe.objective
    with temporary_seed(recipe.train.seed):
        variants = make_variants(section.variants, recipe.options.get("objective", {}), place="objective")
    heads = {name: options for name, (variant, options) in variants.items() if variant.implements("head")}
    bounds = [name for name, (variant, _) in variants.items() if variant.implements("reconstruction_loss")]
    for what, names in {"give the encoder a head": list(heads), "replace the reconstruction error": bounds}.items():
        if len(names) > 1:
            raise RecipeError([f"objective.variants: {' and '.join(names)} each {what}; at most one can"])
    name = recipe.encoder.backbone
    backbone = registry().get("backbone", name, required_by="encoder.backbone")
    options = validate_options(backbone, recipe.options_of("encoder", name), f"encoder.{name}")
    architecture: dict[str, Any] = {
        "backbone": {"name": name, "options": options},
        "head": next(({"variant": variant, "options": chosen} for variant, chosen in heads.items()), None),
        "dim": recipe.encoder.dim,
        "normalize": recipe.encoder.normalize,
    }
    if recipe.encoder.hidden:
        architecture["hidden"] = list(recipe.encoder.hidden)
    encoder = build_encoder(spec, preprocess, architecture, seed=recipe.train.seed).to(preprocess.scale.device)
    load_pretrained(encoder, recipe.encoder.weights, frozen=bool(recipe.encoder.frozen))
    if not recipe.trains:
        return Untrained(encoder)
    freeze(encoder, _frozen(recipe, encoder))
    parts: dict[str, Objective] = {}
    with temporary_seed(recipe.train.seed + 1):
        if section.variants or not section.pretexts:
            given = {name: variant for name, (variant, _) in variants.items()}
            parts["autoencoder"] = _autoencoder(encoder, given, recipe)
        for name in section.pretexts:
            plugin = registry().get("pretext", name, required_by="objective.pretexts")
            options = validate_options(plugin, recipe.options_of("objective", name), f"objective.{name}")
            try:
                pretext: Pretext = plugin.load()(encoder, **options)
            except ValueError as error:
                raise RecipeError([f"pretext {name!r} cannot take {spec}: {error}"]) from error
            parts[plugin.name] = PretextObjective(encoder, pretext, plugin, options)
    return WeightedSum(parts, section.weights) if len(parts) > 1 else next(iter(parts.values()))


def make_variants(
    names: list[str], tables: Mapping[str, Mapping[str, Any]], place: str
) -> dict[str, tuple[Variant, dict[str, Any]]]:
    """Name -> variant and its options, from a table each; `place` is where in the recipe they stand."""
    made = {}
    for name in names:
        plugin = registry().get("variant", name, required_by=f"{place}.variants")
        options = validate_options(plugin, dict(tables.get(name, {})), f"{place}.{name}")
        made[plugin.name] = plugin.load()(**options), options
    return made


def make_layers(recipe: Recipe, objective: Objective) -> list[tuple[LayerwiseObjective, LayerSettings]]:
    """What layer-wise training trains before the whole, in order; nothing where the recipe does not ask for it.

    Raises:
        RecipeError: an objective or a backbone without layers, or settings for more layers than there are.
    """
    layerwise = recipe.layerwise
    wanted = [layerwise.layer(number)[0].epochs for number in range(len(layerwise.layers))]
    if not layerwise.epochs and not any(wanted):
        return []
    whole = find_autoencoder(objective)
    if whole is None or whole is not objective or not isinstance(whole.decoder, Decoder):
        raise RecipeError(
            ["layerwise: only an autoencoder whose backbone mirrors its stages can be trained layer by layer"]
        )
    count = len(whole.encoder.layers) - whole.encoder.frozen
    if len(layerwise.layers) > count:
        raise RecipeError([f"layerwise.layers: has {len(layerwise.layers)} tables, but the encoder has {count} layers"])
    layers = []
    for number in range(count):
        settings, tables = layerwise.layer(number)
        names, place = settings.variants, f"layerwise.layers.{number}"
        if names is None:
            names, tables, place = recipe.objective.variants, recipe.options.get("objective", {}), "objective"
        with temporary_seed(recipe.train.seed + 2 + number):
            made = make_variants(names, tables, place)
        variants = {name: variant for name, (variant, _) in made.items()}
        if settings.variants is None and number < count - 1:  # only the last layer has a head
            variants = {name: variant for name, variant in variants.items() if not variant.implements("head")}
        epochs = layerwise.epochs if settings.epochs is None else settings.epochs
        layer = LayerwiseObjective(whole, number, variants, whole.loss_name)
        used = [name for name in names if registry().get("variant", name).name in variants]
        _check_kind(used, layer.spec, f"layer {number + 1}")
        layers.append((layer.to(whole.encoder.device), settings.model_copy(update={"epochs": epochs})))
    return layers


def _check_kind(names: Iterable[str], spec: SampleSpec, what: str) -> None:
    """Refuses variants that are not made for the kind of sample that `what` takes in, which may be the output of layers."""
    for name in names:
        tags = registry().get("variant", name).entry.tags
        kinds = [tag for tag in tags if tag in get_args(Kind)]
        if kinds and spec.kind not in kinds:
            raise RecipeError(
                [f"variant {name!r} cannot take {spec}, as {what} does: made for {', '.join(kinds)} samples"]
            )


def _frozen(recipe: Recipe, encoder: Encoder) -> int:
    """How many of the encoder's lowest layers ``encoder.frozen`` means."""
    given, stages = recipe.encoder.frozen, len(encoder.backbone.stages)
    count = stages - len(recipe.encoder.hidden) if given == "all" else given
    if count > stages:
        raise RecipeError(
            [f"encoder.frozen = {given}: expected 0 to {stages}, as the backbone has {stages} stages, or 'all'"]
        )
    if count and count == len(encoder.layers):
        raise RecipeError(
            [f"encoder.frozen = {given!r}: leaves nothing of the encoder to train; set encoder.dim or encoder.hidden"]
        )
    return count


def _autoencoder(encoder: Encoder, variants: dict[str, Variant], recipe: Recipe) -> Autoencoder:
    try:
        part = trained_part(encoder)
        decoder = part.decoder()
    except NotImplementedError as error:
        raise RecipeError([f"encoder.backbone = {recipe.encoder.backbone!r}: {error}; use a pretext task"]) from error
    _check_kind(recipe.objective.variants, part.spec, "the autoencoder")
    for variant in variants.values():
        variant.prepare(part.preprocess)
    loss: str = recipe.objective.loss
    if loss == "auto":
        loss = auto_loss(part.preprocess)
    if LOSSES[loss].unit and not part.preprocess.unit:
        needs = "set encoder.scaling = 'unit', or" if part is encoder else "what the frozen stages give is not; set"
        raise RecipeError([f"objective.loss = {loss!r}: needs data in [0, 1]; {needs} loss = 'mse'"])
    try:
        return Autoencoder(encoder, decoder, variants, loss, part, recipe.options_of("objective", loss))
    except ValueError as error:
        raise RecipeError([f"objective.loss = {loss!r}: {error}"]) from error


def auto_loss(preprocess: Preprocess) -> str:
    """What ``objective.loss = "auto"`` means for data that is scaled so."""
    return "bce" if preprocess.unit else "mse"


def find_autoencoder(objective: Objective) -> Autoencoder | None:
    """The autoencoder in an objective, if there is one."""
    return next((module for module in objective.modules() if isinstance(module, Autoencoder)), None)
