"""Build the encoder and its training objective from a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from aekit.data.spec import Kind, SampleSpec
from aekit.encoder.backbone import Decoder
from aekit.encoder.encoder import Encoder, build_encoder, temporary_seed
from aekit.encoder.freezing import freeze, trained_part
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import PluginError, RecipeError
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Objective, Pretext, PretextObjective, Untrained, Variant
from aekit.objectives.layerwise import LayerwiseObjective
from aekit.objectives.losses import LOSSES
from aekit.objectives.restoration import RestorationTask
from aekit.objectives.weighted_sum import WeightedSum
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import validate_options
from aekit.registry.signatures import signature_problem
from aekit.training.initial_weights import load_pretrained
from aekit.training.low_rank_updates import add_low_rank_updates
from aekit.training.recipe import LayerSettings, Recipe

Part = TypeVar("Part", Variant, Pretext)


def make_objective(recipe: Recipe, spec: SampleSpec, preprocess: Preprocess) -> Objective:
    """Build the encoder and its objective, with initial weights that depend on ``train.seed`` alone.

    Raises:
        RecipeError: options do not fit the data or each other.
    """
    section = recipe.objective
    with temporary_seed(recipe.train.seed):
        variants = make_variants(section.variants, recipe.options.get("objective", {}), place="objective")
    architecture = _architecture(recipe, variants)
    encoder = build_encoder(spec, preprocess, architecture, seed=recipe.train.seed).to(preprocess.scale.device)
    load_pretrained(encoder, recipe.encoder.weights, frozen=bool(recipe.encoder.frozen))
    if not recipe.trains:
        return Untrained(encoder)
    if next(encoder.parameters(), None) is None:
        problem = f"backbone {recipe.encoder.backbone!r} has no layers of its own, so nothing is trained"
        raise RecipeError([f"encoder.dim = {recipe.encoder.dim}: {problem}; set a dimension or another backbone"])
    freeze(encoder, _frozen(recipe, encoder))
    parts: dict[str, Objective] = {}
    with temporary_seed(recipe.train.seed + 1):
        if recipe.train.low_rank:
            _add_low_rank_updates(recipe, encoder)
        if section.variants or not section.pretexts:
            modules = {name: variant for name, (variant, _) in variants.items()}
            parts["autoencoder"] = _autoencoder(encoder, modules, recipe)
        for name in section.pretexts:
            plugin = registry().get("pretext", name, required_by="objective.pretexts")
            parts[plugin.name] = _pretext_objective(encoder, plugin, recipe.options_of("objective", name))
    return WeightedSum(parts, section.weights) if len(parts) > 1 else next(iter(parts.values()))


def _architecture(recipe: Recipe, variants: Mapping[str, tuple[Variant, dict[str, Any]]]) -> dict[str, Any]:
    """Return the architecture that `build_encoder` takes; of the variants it holds the one that defines the head, if any."""
    heads = {name: options for name, (variant, options) in variants.items() if variant.implements("head")}
    losses = [name for name, (variant, _) in variants.items() if variant.implements("reconstruction_loss")]
    for action, names in {"define the encoder's head": list(heads), "replace the reconstruction loss": losses}.items():
        if len(names) > 1:
            raise RecipeError([f"objective.variants: {' and '.join(names)} each {action}; at most one can"])
    section = recipe.encoder
    backbone = registry().get("backbone", section.backbone, required_by="encoder.backbone")
    options = recipe.options_of("encoder", section.backbone)
    return {
        "backbone": {
            "name": section.backbone,
            "options": validate_options(backbone, options, f"encoder.{section.backbone}"),
        },
        "head": next(({"variant": name, "options": settings} for name, settings in heads.items()), None),
        "dim": section.dim,
        "normalize": section.normalize,
        **({"hidden": list(section.hidden)} if section.hidden else {}),
    }


def _pretext_objective(encoder: Encoder, plugin: Plugin, options: Mapping[str, Any]) -> PretextObjective:
    options = validate_options(plugin, options, f"objective.{plugin.name}")
    try:
        return PretextObjective(encoder, _made(plugin, Pretext, encoder, **options), plugin, options)
    except ValueError as error:
        raise RecipeError([f"pretext {plugin.name!r} cannot take {encoder.spec}: {error}"]) from error


def _add_low_rank_updates(recipe: Recipe, encoder: Encoder) -> None:
    """Train the backbone by low-rank updates, and note which."""
    layerwise = recipe.layerwise
    if layerwise.epochs or any(table.get("epochs") for table in layerwise.layers):
        raise RecipeError(
            [f"train.low_rank = {recipe.train.low_rank}: cannot train single layers; set layerwise.epochs = 0"]
        )
    line = add_low_rank_updates(encoder, recipe.train.low_rank)
    encoder.backbone.note = "; ".join(filter(None, [encoder.backbone.note, line]))


def make_variants(
    names: list[str], tables: Mapping[str, Mapping[str, Any]], place: str
) -> dict[str, tuple[Variant, dict[str, Any]]]:
    """Build variants from their tables of options: name -> variant and its validated options.

    Args:
        names: plugins, in order.
        tables: name -> options.
        place: section of the recipe that names them, for messages.
    """
    variants = {}
    for name in names:
        plugin = registry().get("variant", name, required_by=f"{place}.variants")
        options = validate_options(plugin, dict(tables.get(name, {})), f"{place}.{name}")
        variants[plugin.name] = _made(plugin, Variant, **options), options
    return variants


def _made(plugin: Plugin, kind: type[Part], /, *args: Any, **options: Any) -> Part:
    """Call the code of a plugin.

    Raises:
        RecipeError: code of the session raises, or gives something else.
        PluginError: code of another distribution raises, or the part cannot be used.
        ValueError: as the plugin.
    """
    part = plugin.made(*args, **options)
    if not isinstance(part, kind):
        expected = f"an aekit.plugin.{kind.__name__}"
        raise RecipeError([f"{plugin} returned {type(part).__name__}; expected {expected}"])
    task = part if isinstance(part, RestorationTask) else None
    if problem := signature_problem(type(part), RestorationTask if task else kind):
        raise PluginError(f"{plugin}: {problem}")
    if isinstance(part, Pretext) and type(part).loss is Pretext.loss:
        raise PluginError(f"{plugin} defines no loss(x, generator)")
    if task and type(task).loss is RestorationTask.loss and type(task).damage is RestorationTask.damage:
        raise PluginError(f"{plugin} defines no damage(x, generator)")
    return part


def make_layers(recipe: Recipe, objective: Objective) -> list[tuple[LayerwiseObjective, LayerSettings]]:
    """Build the objectives that train single layers before the whole network, in order; none unless the recipe asks for it.

    Raises:
        RecipeError: the objective or the backbone has no layers, or the recipe has settings for more layers than there are.
    """
    layerwise = recipe.layerwise
    if not layerwise.epochs and not any(table.get("epochs") for table in layerwise.layers):
        return []
    autoencoder = find_autoencoder(objective)
    if autoencoder is None or autoencoder is not objective or not isinstance(autoencoder.decoder, Decoder):
        raise RecipeError(
            ["layerwise: only an autoencoder whose backbone has a mirrored decoder can be trained layer by layer"]
        )
    count = len(autoencoder.encoder.layers) - autoencoder.encoder.frozen
    if len(layerwise.layers) > count:
        raise RecipeError(
            [f"layerwise.layers: has {len(layerwise.layers)} tables, but the encoder has {count} layers to train"]
        )
    layers = []
    for number in range(count):
        settings, tables = layerwise.layer(number)
        names, place = settings.variants, f"layerwise.layers.{number}"
        if names is None:
            names, tables, place = recipe.objective.variants, recipe.options.get("objective", {}), "objective"
        with temporary_seed(recipe.train.seed + 2 + number):
            built = make_variants(names, tables, place)
        variants = {name: variant for name, (variant, _) in built.items()}
        if settings.variants is None and number < count - 1:  # only the last layer has a head
            variants = {name: variant for name, variant in variants.items() if not variant.implements("head")}
        epochs = layerwise.epochs if settings.epochs is None else settings.epochs
        layer = LayerwiseObjective(autoencoder, number, variants, autoencoder.loss_name)
        used = [name for name in names if registry().get("variant", name).name in variants]
        _check_kind(used, layer.spec, f"layer {number + 1}")
        layers.append((layer.to(autoencoder.encoder.device), settings.model_copy(update={"epochs": epochs})))
    return layers


def _check_kind(names: Iterable[str], spec: SampleSpec, part: str) -> None:
    """Reject variants that do not support the samples that `part` takes, which may be the output of other layers."""
    for name in names:
        tags = registry().get("variant", name).entry.tags
        kinds = [tag for tag in tags if tag in get_args(Kind)]
        if kinds and spec.kind not in kinds:
            raise RecipeError(
                [f"variant {name!r} cannot take {spec}, the input of {part}; expected {', '.join(kinds)} samples"]
            )


def _frozen(recipe: Recipe, encoder: Encoder) -> int:
    """Return the number of lowest layers that ``encoder.frozen`` freezes."""
    frozen, stages = recipe.encoder.frozen, len(encoder.backbone.stages)
    count = stages - len(recipe.encoder.hidden) if frozen == "all" else frozen
    if count > stages:
        raise RecipeError(
            [f"encoder.frozen = {frozen}: expected 'all' or 0 to {stages}, the number of stages of the backbone"]
        )
    if count and count == len(encoder.layers):
        raise RecipeError([f"encoder.frozen = {frozen!r}: leaves nothing to train; set encoder.dim or encoder.hidden"])
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
        hint = "; set encoder.scaling = 'unit' or" if part is encoder else ", but the frozen features are not; set"
        raise RecipeError([f"objective.loss = {loss!r}: needs data in [0, 1]{hint} loss = 'mse'"])
    try:
        return Autoencoder(encoder, decoder, variants, loss, part, recipe.options_of("objective", loss))
    except ValueError as error:
        raise RecipeError([f"objective.loss = {loss!r}: {error}"]) from error


def auto_loss(preprocess: Preprocess) -> str:
    """Return the loss that ``objective.loss = "auto"`` means for preprocessed data."""
    return "bce" if preprocess.unit else "mse"


def find_autoencoder(objective: Objective) -> Autoencoder | None:
    """Return the autoencoder in an objective, or None."""
    return next((module for module in objective.modules() if isinstance(module, Autoencoder)), None)
