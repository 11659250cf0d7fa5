"""Resolve every ``auto`` of a recipe from the data, and report each choice with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from aekit.data.samples import Samples
from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import Backbone
from aekit.encoder.identity import find_encoder_folder, read_description
from aekit.encoder.preprocessing import Preprocess
from aekit.encoder.untrained import FEATURES_AS_EMBEDDING, untrained_default
from aekit.errors import RecipeError
from aekit.registry.discovery import Plugin, default_plugin, registry
from aekit.training.build import auto_loss
from aekit.training.recipe import Recipe
from aekit.training.settings import MACHINE_SETTINGS, uses_bf16

TARGET_STEPS = 3000
VECTORS = "default-vector"
"""Tag of the variant that keeps an autoencoder on vectors from copying them."""
MIN_SAMPLES = 64
"""Samples from which a contrastive task is added by default."""
AUTOENCODER_WEIGHT = 10.0
"""Weight of the mean reconstruction error of an entry, relative to a task of weight 1: the autoencoder's loss is a sum over the
entries of a sample, of the order of 0.1 to 1 each, and the loss of a task is of the order of 1 per sample."""

Say = Callable[[str], None]


def resolve_defaults(
    recipe: Recipe, samples: Samples, preprocess: Preprocess, targets: Samples | None, device: torch.device, say: Say
) -> Recipe:
    """Return the recipe without any ``auto`` and with every option of every plugin written out.

    Args:
        recipe: as given.
        samples: training samples.
        preprocess: their preprocessing.
        targets: the clean samples, if the objective restores them from `samples`.
        device: device of the training.
        say: receives a line for each choice, with its reason.

    Raises:
        RecipeError: no backbone supports the data.
    """
    spec, count = samples.spec, len(samples)
    needs = _needs_of(recipe.objective.variants)
    recipe = _as_pretrained(recipe, say)
    if targets is None:
        recipe = _with_untrained_backbone(recipe, spec, say)
    recipe = _with_backbone(recipe, spec, needs, say)
    recipe = _without_training(recipe, say)
    denoising = None if targets is not None else _denoising(recipe, spec)
    if denoising:
        recipe = _with_denoising(recipe, spec, denoising, say)
    recipe = _with_dim(recipe, spec, say)
    if targets is None and count >= MIN_SAMPLES:
        recipe = _with_objective(recipe, spec, say)
    recipe = _with_loss(recipe, preprocess, needs, say)
    recipe = _with_schedule(recipe, count, say)
    return _with_precision(recipe, spec, device, say).with_plugin_defaults()


def _needs_of(variants: Sequence[str]) -> dict[str, Any]:
    """Return the recipe settings that the named variants require: dotted name -> value."""
    needs: dict[str, Any] = {}
    for name in variants:
        code = registry().get("variant", name, required_by="objective.variants").load()
        needs |= getattr(code, "requires", {})  # what is no variant is refused where it is built
    return needs


def _as_pretrained(recipe: Recipe, say: Say) -> Recipe:
    """Take the network of the encoder whose weights the recipe names, where the recipe does not describe it."""
    section = recipe.encoder
    if not section.weights or not Path(section.weights).is_dir():
        return recipe
    architecture = read_description(find_encoder_folder(section.weights))["architecture"]
    name = architecture["backbone"]["name"]
    if section.backbone not in ("auto", name) or recipe.options_of("encoder", name):
        return recipe
    say(f"backbone: {name}, as in {section.weights}")
    recipe = recipe.with_encoder(backbone=name).with_options("encoder", name, architecture["backbone"]["options"])
    if "normalize" not in section.model_fields_set:
        recipe = recipe.with_encoder(normalize=architecture["normalize"])
    # Layers above frozen ones are new.
    takes_dim = "dim" not in section.model_fields_set and not section.frozen
    return recipe.with_encoder(dim=architecture["dim"]) if takes_dim else recipe


def _with_untrained_backbone(recipe: Recipe, spec: SampleSpec, say: Say) -> Recipe:
    """Take the backbone that is better untrained than a trained network on this kind of samples, if the recipe asks for none.

    On labeled sets of series and images this is better (recipes/series-defaults, recipes/patches).
    """
    plugin = untrained_default(spec)
    if plugin is None:
        return recipe
    labeled = "labeled series" if spec.is_series else f"labeled {spec.kind}s"
    if described := _described(recipe):
        if described == {"encoder.dim"} and recipe.encoder.dim:
            better = f"{plugin.name}, which is not trained and better on {labeled}"
            say(
                f"encoder.dim = {recipe.encoder.dim}: a network is trained; without it, the embedding is that of {better}"
            )
        return recipe
    say(
        f"backbone: {plugin.name}, untrained, as on {labeled} this is better than trained networks; "
        "variants=['plain'] (--variant plain) trains an autoencoder, which reconstructs samples too"
    )
    return recipe.with_encoder(backbone=plugin.name)


def _described(recipe: Recipe) -> set[str]:
    """Return what a recipe sets about the network and how it is trained, other than the machine and the seed."""
    fields = {
        "encoder": recipe.encoder.model_fields_set - {"scaling", "normalize"},
        "train": recipe.train.model_fields_set - MACHINE_SETTINGS - {"seed"},
        "objective": recipe.objective.model_fields_set,
        "layerwise": recipe.layerwise.model_fields_set,
    }
    described = {f"{section}.{name}" for section, names in fields.items() for name in names}
    return described | {section for section in ("encoder", "objective") if recipe.options.get(section)}


def _with_backbone(recipe: Recipe, spec: SampleSpec, needs: dict[str, Any], say: Say) -> Recipe:
    if recipe.encoder.backbone != "auto":
        return recipe
    name, reason = needs.get("encoder.backbone"), "as the variant requires it"
    if name is None:
        # Backbones are registered in order of preference, and built-in ones are preferred.
        fitting = [p for p in registry().by_kind("backbone") if spec.kind in p.entry.tags]
        if not fitting:
            raise RecipeError(
                [f"encoder.backbone: no backbone supports {spec.kind} samples; choose one as backbone (--backbone)"]
            )
        name = next((p for p in fitting if p.distribution == "aekit"), fitting[0]).name
        reason = f"made for {spec.kind} samples"
    say(f"backbone: {name}, {reason}")
    return recipe.with_encoder(backbone=name)


def _backbone_of(recipe: Recipe) -> Plugin:
    return registry().get("backbone", recipe.encoder.backbone, required_by="encoder.backbone")


def _without_training(recipe: Recipe, say: Say) -> Recipe:
    """Make the features the embedding, without epochs, if training does not change the backbone, and the recipe asks for none.

    They are scaled to length 1, unless the recipe forbids it. Anomaly scores use the vectors before that.
    """
    section, layerwise = recipe.objective, recipe.layerwise
    asked_for = section.variants or section.pretexts or layerwise.epochs or layerwise.layers
    if asked_for or "dim" in recipe.encoder.model_fields_set or "epochs" in recipe.train.model_fields_set:
        return recipe
    backbone = _backbone_of(recipe)
    if getattr(backbone.load(), "trains", True):
        return recipe
    settings = dict(FEATURES_AS_EMBEDDING)
    if "normalize" in recipe.encoder.model_fields_set:
        settings["normalize"] = recipe.encoder.normalize
    scaled = ", scaled to length 1," if settings["normalize"] else ""
    features = f"its features{scaled} are the embedding, unless encoder.dim is set"
    say(f"epochs: 0, as training does not change {backbone.name}; {features}")
    return recipe.with_encoder(**settings).with_train(epochs=0)


def _denoising(recipe: Recipe, spec: SampleSpec) -> Plugin | None:
    """Return the variant that vectors are trained with: if the recipe names it, or no objective, and the backbone is for it.

    A recipe that says ``variants = []`` means the plain autoencoder: so do those of runs from when that was the default.
    """
    variant = default_plugin("variant", VECTORS)
    if variant is None or not spec.is_vector or not _is_whole_network(recipe) or recipe.objective.pretexts:
        return None
    section = recipe.objective
    fits = section.variants == [variant.name] or "variants" not in section.model_fields_set
    return variant if fits and _wide_options(recipe, spec) else None


def _wide_options(recipe: Recipe, spec: SampleSpec) -> dict[str, Any]:
    """Return the options that the backbone names for denoising vectors, {} if none, without building it."""
    factory: Any = _backbone_of(recipe).load()
    return dict(getattr(factory, "wide_options", Backbone.wide_options)(spec))


def _with_denoising(recipe: Recipe, spec: SampleSpec, variant: Plugin, say: Say) -> Recipe:
    """Train a denoising autoencoder on vectors, with a wide layer as the embedding unless the recipe describes the network.

    On labeled tables this is better than a plain autoencoder with a narrow code (recipes/tables).
    """
    if not recipe.objective.variants:
        say(f"objective: {variant.name} ({variant.entry.summary}); variants=['plain'] (--variant plain) adds no noise")
        recipe = recipe.with_objective(variants=[variant.name])
    section, name = recipe.encoder, recipe.encoder.backbone
    if section.hidden or section.weights or recipe.options_of("encoder", name):
        return recipe
    options = _wide_options(recipe, spec)
    written = ", ".join(f"{option} = {value}" for option, value in options.items())
    say(f"network: {written}; to denoise vectors")
    recipe = recipe.with_options("encoder", name, options)
    if "dim" in section.model_fields_set:
        return recipe
    say("dim: 0, so that the features of the network are the embedding; dim=N (--dim N) gives N dimensions")
    return recipe.with_encoder(dim=0)


def _with_dim(recipe: Recipe, spec: SampleSpec, say: Say) -> Recipe:
    """Make the embedding of vectors narrower than they are: an autoencoder as wide as its input can copy it.

    Wide vectors, and samples of other kinds, keep the default.
    """
    narrow = max(1, spec.size // 2)
    if "dim" in recipe.encoder.model_fields_set or not spec.is_vector or narrow >= recipe.encoder.dim:
        return recipe
    say(f"dim: {narrow}, half of the {spec.size} entries of a sample, so that the code is a bottleneck")
    return recipe.with_encoder(dim=narrow)


def _with_objective(recipe: Recipe, spec: SampleSpec, say: Say) -> Recipe:
    """Add the default task for the kind of samples to the plain autoencoder, if the recipe names neither variants nor tasks.

    Recipes with layer-wise training, frozen layers or L-BFGS, which only an autoencoder supports, are unchanged.
    """
    section = recipe.objective
    if section.variants or section.pretexts or not _is_whole_network(recipe):
        return recipe
    task = default_plugin("pretext", f"default-{spec.kind}")
    plain = default_plugin("variant", "default")
    if task is None or plain is None:
        return recipe
    if not _decodes(_backbone_of(recipe)):
        say(f"objective: {task.name} ({task.entry.summary}), as the backbone has no decoder")
        return recipe.with_objective(pretexts=[task.name])
    weights = {"autoencoder": float(f"{AUTOENCODER_WEIGHT / spec.size:.2g}")} | section.weights
    hint = f"variants=['{plain.name}'] (--variant {plain.name}) trains only the autoencoder"
    say(f"objective: an autoencoder and {task.name} ({task.entry.summary}); {hint}")
    return recipe.with_objective(variants=[plain.name], pretexts=[task.name], weights=weights)


def _with_loss(recipe: Recipe, preprocess: Preprocess, needs: dict[str, Any], say: Say) -> Recipe:
    """Choose the reconstruction loss that the variant requires, or the one for the range of the values."""
    if recipe.objective.loss != "auto" or recipe.encoder.frozen:
        return recipe
    loss, reason = needs.get("objective.loss"), "the variant requires it"
    if loss is None:
        loss = auto_loss(preprocess)
        reason = "values lie in [0, 1]" if preprocess.unit else "values are not limited to [0, 1]"
    reconstructs = recipe.objective.variants or not recipe.objective.pretexts
    if recipe.trains and reconstructs:
        say(f"loss: {'binary cross-entropy' if loss == 'bce' else 'squared error'}, as {reason}")
    return recipe.with_objective(loss=loss)


def _with_schedule(recipe: Recipe, count: int, say: Say) -> Recipe:
    """Choose smaller batches for few samples, and the number of epochs, where the recipe leaves them open."""
    train, is_set = dict[str, Any](), recipe.train.model_fields_set
    if "batch_size" not in is_set and count < 10 * recipe.train.batch_size:
        train["batch_size"] = max(min(16, count), count // 10)
    if "epochs" not in is_set:
        per_epoch = max(1, count // train.get("batch_size", recipe.train.batch_size))
        train["epochs"] = min(100, max(5, TARGET_STEPS // per_epoch))
        say(f"epochs: {train['epochs']} of {per_epoch} steps each")
    return recipe.with_train(**train)


def _with_precision(recipe: Recipe, spec: SampleSpec, device: torch.device, say: Say) -> Recipe:
    precision = "bf16" if uses_bf16(recipe.train, spec, device) else "fp32"
    if recipe.trains:
        unsafe = precision == "bf16" and spec.is_clip and device.type == "cpu"
        warning = "; gradients of clips may be wrong in bf16 on CPUs, use precision = 'auto'" if unsafe else ""
        say(f"training on {device.type} in {precision}{warning}")
    return recipe.with_train(precision=precision)


def _is_whole_network(recipe: Recipe) -> bool:
    """Tell whether a recipe trains the whole network by gradients of batches, which every objective supports."""
    layerwise = recipe.layerwise
    apart = layerwise.epochs or layerwise.layers or recipe.encoder.frozen or recipe.train.optimizer == "lbfgs"
    return recipe.trains and not apart


def _decodes(backbone: Plugin) -> bool:
    """Tell whether a backbone has a decoder, without building it; True if that is not known."""
    factory = backbone.load()
    if not (isinstance(factory, type) and issubclass(factory, Backbone)):
        return True
    return factory.mirror is not Backbone.mirror or factory.decoder is not Backbone.decoder
