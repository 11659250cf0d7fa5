"""What a recipe leaves open follows from the data: each ``auto`` is settled, and said, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from aekit.data.samples import Samples
from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import Backbone
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import RecipeError
from aekit.registry.discovery import Plugin, registry
from aekit.training.build import auto_loss
from aekit.training.recipe import Recipe
from aekit.training.settings import uses_bf16

TARGET_STEPS = 3000
FEWEST = 64
"""Samples that a task which tells them apart needs."""
STEPS_SHARE = 10.0
"""Of an entry's error in the loss, beside a task of weight 1: an autoencoder's loss is a sum over the sample's entries, of the
order of .1 to 1 each, and a task's is of the order of 1 a sample."""

Say = Callable[[str], None]


def resolve_defaults(
    recipe: Recipe, samples: Samples, preprocess: Preprocess, targets: Samples | None, device: torch.device, say: Say
) -> Recipe:
    """The recipe without any ``auto``, with every option of every plugin written out.

    Args:
        samples: to train on.
        preprocess: of them.
        targets: what is to be restored, where that is not the samples themselves.
        device: that will train.
        say: receives what was chosen and why, in a line each.

    Raises:
        RecipeError: nothing fits the data.
    """
    spec, count = samples.spec, len(samples)
    wanted = _needs_of(recipe.objective.variants)
    recipe = _with_backbone(recipe, spec, wanted, say)
    if targets is None and count >= FEWEST:
        recipe = _with_objective(recipe, spec, say)
    if recipe.objective.loss == "auto" and not recipe.encoder.frozen:
        kind, why = wanted.get("objective.loss"), "the variant needs it"
        if kind is None:
            kind = auto_loss(preprocess)
            why = "values lie in [0, 1]" if preprocess.unit else "values are not confined to [0, 1]"
        if recipe.trains and (recipe.objective.variants or not recipe.objective.pretexts):
            say(f"loss: {'binary cross-entropy' if kind == 'bce' else 'squared error'}, as {why}")
        recipe = recipe.with_objective(loss=kind)
    train: dict[str, Any] = {}
    if "batch_size" not in recipe.train.model_fields_set and count < 10 * recipe.train.batch_size:
        train["batch_size"] = max(min(16, count), count // 10)
    if "epochs" not in recipe.train.model_fields_set:
        per_epoch = max(1, count // train.get("batch_size", recipe.train.batch_size))
        train["epochs"] = min(100, max(5, TARGET_STEPS // per_epoch))
        say(f"epochs: {train['epochs']}, of {per_epoch} steps each")
    precision = "bf16" if uses_bf16(recipe.train, spec, device) else "fp32"
    if recipe.trains:
        wrong = precision == "bf16" and spec.is_clip and device.type == "cpu"
        doubt = ", as asked; gradients of clips may be wrong, which auto avoids" if wrong else ""
        say(f"training on {device.type} in {precision}{doubt}")
    return recipe.with_train(**train, precision=precision).with_plugin_defaults()


def _needs_of(variants: Sequence[str]) -> dict[str, Any]:
    """Recipe settings that the named variants cannot do without, for those that are left to aekit."""
    found: dict[str, Any] = {}
    for name in variants:
        found |= registry().get("variant", name, required_by="objective.variants").load().requires
    return found


def _with_backbone(recipe: Recipe, spec: SampleSpec, wanted: dict[str, Any], say: Say) -> Recipe:
    if recipe.encoder.backbone != "auto":
        return recipe
    name, why = wanted.get("encoder.backbone"), "as the variant needs it"
    if name is None:
        # Backbones are registered in the order of preference, and those that come along are preferred.
        fitting = [p for p in registry().by_kind("backbone") if spec.kind in p.entry.tags]
        if not fitting:
            raise RecipeError([f"no backbone for {spec.kind} samples; name one with --backbone"])
        name = next((p for p in fitting if p.distribution == "aekit"), fitting[0]).name
        why = f"made for {spec.kind} samples"
    say(f"backbone: {name}, {why}")
    return recipe.with_encoder(backbone=name)


def _with_objective(recipe: Recipe, spec: SampleSpec, say: Say) -> Recipe:
    """What is trained where the recipe names neither variants nor tasks: beside the plain autoencoder, which such recipes are
    of, the task that its entry's tags say is usual for such samples.

    Nothing where the recipe asks for what an autoencoder alone can do: layer-wise training, frozen layers, L-BFGS.
    """
    section, layerwise = recipe.objective, recipe.layerwise
    if section.variants or section.pretexts or not recipe.trains or layerwise.epochs or layerwise.layers:
        return recipe
    if recipe.encoder.frozen or recipe.train.optimizer == "lbfgs":
        return recipe
    task = _default_plugin("pretext", f"default-{spec.kind}")
    plain = _default_plugin("variant", "default")
    if task is None or plain is None:
        return recipe
    if not _decodes(registry().get("backbone", recipe.encoder.backbone, required_by="encoder.backbone")):
        say(f"objective: {task.name}, which {task.entry.summary}, as the backbone has no decoder")
        return recipe.with_objective(pretexts=[task.name])
    weights = {"autoencoder": float(f"{STEPS_SHARE / spec.size:.2g}")} | section.weights
    alone = f"--variant {plain.name} trains the autoencoder alone"
    say(f"objective: an autoencoder, and {task.name}, which {task.entry.summary}; {alone}")
    return recipe.with_objective(variants=[plain.name], pretexts=[task.name], weights=weights)


def _default_plugin(kind: str, tag: str) -> Plugin | None:
    """The plugin of aekit's own whose entry has the tag."""
    return next((p for p in registry().by_kind(kind) if p.distribution == "aekit" and tag in p.entry.tags), None)


def _decodes(backbone: Plugin) -> bool:
    """Whether it has a decoder, as far as can be told without building it."""
    found = backbone.load()
    if not (isinstance(found, type) and issubclass(found, Backbone)):
        return True
    return found.mirror is not Backbone.mirror or found.decoder is not Backbone.decoder
