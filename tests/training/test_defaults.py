"""Defaults that follow from the data: objective, backbone, loss, number of epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import Kind
from aekit.encoder.preprocessing import fit_preprocess
from aekit.registry.discovery import registry
from aekit.training.defaults import AUTOENCODER_WEIGHT, MIN_SAMPLES, resolve_defaults
from aekit.training.recipe import Recipe, make_recipe

CPU = torch.device("cpu")
SHAPES: dict[Kind, tuple[int, ...]] = {"image": (1, 8, 8), "series": (2, 30), "vector": (9,), "clip": (1, 4, 8, 8)}


def resolve(
    kind: Kind, count: int = 100, targets: bool = False, **sections: dict[str, Any]
) -> tuple[Recipe, list[str]]:
    """Return the resolved recipe and the messages, for random samples of a kind."""
    array = np.random.default_rng(0).random((count, *SHAPES[kind])).astype(np.float32)
    samples = load_samples(ArraySource(array, kind=kind), np.arange(count), CPU)
    recipe, messages = make_recipe({"data": {"source": "memory"}} | sections), list[str]()
    preprocess = fit_preprocess(samples, recipe.encoder.scaling)[0]
    return resolve_defaults(recipe, samples, preprocess, samples if targets else None, CPU, messages.append), messages


@pytest.mark.parametrize("kind", ["image", "series"])
def test_images_and_series_get_simclr_with_the_autoencoder(kind: Kind) -> None:
    recipe, messages = resolve(kind)
    assert (recipe.objective.variants, recipe.objective.pretexts) == (["plain"], ["simclr"])
    size = int(np.prod(SHAPES[kind]))
    assert recipe.objective.weights["autoencoder"] == pytest.approx(AUTOENCODER_WEIGHT / size, rel=0.05)
    summary = registry().get("pretext", "simclr").entry.summary
    hint = "variants=['plain'] (--variant plain) trains only the autoencoder"
    assert f"objective: an autoencoder and simclr ({summary}); {hint}" in messages
    again, _ = resolve(kind, **{n: v for n, v in recipe.to_dict().items() if n != "data"})
    assert again.to_dict() == recipe.to_dict(), "a resolved recipe does not change"


@pytest.mark.parametrize("kind", ["vector", "clip"])
def test_other_samples_get_only_an_autoencoder(kind: Kind) -> None:
    recipe, messages = resolve(kind)
    assert not recipe.objective.pretexts and not any("objective" in line for line in messages)


@pytest.mark.parametrize(
    "sections",
    [
        {"objective": {"variants": ["denoising"]}},
        {"objective": {"variants": ["plain"]}},
        {"objective": {"pretexts": ["rotation"]}},
        {"layerwise": {"epochs": 1}},
        {"train": {"optimizer": "lbfgs", "precision": "fp32"}},
        {"encoder": {"frozen": 1}},
    ],
    ids=lambda sections: " ".join(f"{name} {value}" for name, value in sections.items()),
)
def test_explicit_objectives_and_those_that_need_an_autoencoder_stay_unchanged(sections: dict[str, Any]) -> None:
    recipe, _ = resolve("image", **sections)
    before = make_recipe({"data": {"source": "memory"}} | sections).objective
    assert (recipe.objective.variants, recipe.objective.pretexts) == (before.variants, before.pretexts)


def test_few_samples_and_pairs_get_only_an_autoencoder() -> None:
    assert not resolve("image", count=MIN_SAMPLES - 1)[0].objective.pretexts
    assert not resolve("image", targets=True)[0].objective.pretexts
    assert resolve("image", count=MIN_SAMPLES)[0].objective.pretexts


def test_an_explicit_weight_is_kept() -> None:
    recipe, _ = resolve("image", objective={"weights": {"autoencoder": 0.5}})
    assert recipe.objective.weights["autoencoder"] == 0.5 and recipe.objective.pretexts


def test_a_backbone_without_a_decoder_gets_only_the_task() -> None:
    recipe, messages = resolve("image", encoder={"backbone": "resnet"})
    assert (recipe.objective.variants, recipe.objective.pretexts) == ([], ["simclr"])
    assert "as the backbone has no decoder" in " ".join(messages)


def test_epochs_and_batch_size_follow_from_the_number_of_samples() -> None:
    recipe, messages = resolve("vector", count=100)
    assert recipe.train.batch_size == 16 and recipe.train.epochs == 100
    assert "epochs: 100 of 6 steps each" in messages
    assert resolve("vector", count=100, train={"epochs": 3})[0].train.epochs == 3


def test_the_code_of_a_vector_is_a_bottleneck_by_default() -> None:
    recipe, messages = resolve("vector")
    assert recipe.encoder.dim == 4
    assert "dim: 4, half of the 9 entries of a sample, so that the code is a bottleneck" in messages
    assert resolve("vector", encoder={"dim": 64})[0].encoder.dim == 64
    assert resolve("image")[0].encoder.dim == 64
