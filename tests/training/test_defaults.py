"""Defaults that follow from the data: objective, backbone, loss, number of epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aekit
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import Kind
from aekit.encoder.preprocessing import fit_preprocess
from aekit.registry.discovery import registry
from aekit.training.defaults import AUTOENCODER_WEIGHT, MIN_SAMPLES, resolve_defaults
from aekit.training.recipe import Recipe, make_recipe

CPU = torch.device("cpu")
REMAINING = {"tied": False, "initial_weights": "scaled"}
"""Further options of `mlp`, as they are by default."""
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


UNTRAINED: dict[Kind, str] = {"series": "random-convolutions", "image": "patch-dictionary"}
"""Kind of samples -> backbone that is better untrained than trained networks."""
TRAINED = {"encoder": {"backbone": "conv"}}


def test_images_get_simclr_with_the_autoencoder_on_a_network_that_is_trained() -> None:
    recipe, messages = resolve("image", **TRAINED)
    assert (recipe.objective.variants, recipe.objective.pretexts) == (["plain"], ["simclr"])
    size = int(np.prod(SHAPES["image"]))
    assert recipe.objective.weights["autoencoder"] == pytest.approx(AUTOENCODER_WEIGHT / size, rel=0.05)
    summary = registry().get("pretext", "simclr").entry.summary
    hint = "variants=['plain'] (--variant plain) trains only the autoencoder"
    assert f"objective: an autoencoder and simclr ({summary}); {hint}" in messages
    again, _ = resolve("image", **{n: v for n, v in recipe.to_dict().items() if n != "data"})
    assert again.to_dict() == recipe.to_dict(), "a resolved recipe does not change"


@pytest.mark.parametrize("kind", UNTRAINED)
@pytest.mark.parametrize("count", [2, 100])
def test_series_and_images_get_a_backbone_that_is_not_trained(kind: Kind, count: int) -> None:
    recipe, messages = resolve(kind, count=count)
    assert (recipe.encoder.backbone, recipe.encoder.dim, recipe.train.epochs) == (UNTRAINED[kind], 0, 0)
    assert (recipe.objective.variants, recipe.objective.pretexts) == ([], []) and not recipe.trains
    told = [line for line in messages if line.startswith("backbone:")]
    assert len(told) == 1 and "untrained" in told[0] and "variants=['plain'] (--variant plain)" in told[0]
    assert f"on labeled {'series' if kind == 'series' else 'images'} this is better" in told[0]
    again, _ = resolve(kind, count=count, **{n: v for n, v in recipe.to_dict().items() if n != "data"})
    assert again.to_dict() == recipe.to_dict(), "a resolved recipe does not change"
    same, _ = resolve(kind, train={"seed": 3, "device": "cpu"}, encoder={"scaling": "none"})
    assert same.encoder.backbone == UNTRAINED[kind] and same.train.seed == 3


@pytest.mark.parametrize("kind", UNTRAINED)
def test_a_number_of_dimensions_alone_says_what_there_is_without_it(kind: Kind) -> None:
    recipe, messages = resolve(kind, encoder={"dim": 4})
    assert recipe.trains and recipe.encoder.dim == 4
    assert any(
        line.startswith("encoder.dim = 4: a network is trained") and UNTRAINED[kind] in line for line in messages
    )
    assert not any("a network is trained" in line for line in resolve(kind, encoder={"dim": 4}, train={"epochs": 2})[1])


@pytest.mark.parametrize("kind", UNTRAINED)
@pytest.mark.parametrize(
    "sections",
    [
        {"encoder": {"dim": 8}},
        {"encoder": {"conv": {"channels": [8]}}},
        {"objective": {"loss": "huber"}},
        {"train": {"lr": 1e-3}},
        {"train": {"epochs": 3}},
    ],
    ids=lambda sections: " ".join(f"{name} {value}" for name, value in sections.items()),
)
def test_they_get_a_trained_network_where_a_recipe_sets_anything_of_it(kind: Kind, sections: dict[str, Any]) -> None:
    recipe, _ = resolve(kind, **sections)
    assert recipe.encoder.backbone == "conv" and recipe.trains
    assert (recipe.objective.variants, recipe.objective.pretexts) == (["plain"], ["simclr"])


@pytest.mark.parametrize("kind", UNTRAINED)
def test_targets_and_named_objectives_get_a_trained_network(kind: Kind) -> None:
    assert resolve(kind, targets=True)[0].encoder.backbone == "conv"
    named = [{"variants": ["plain"]}, {"variants": []}, {"pretexts": ["masked"]}, {"pretexts": []}]
    for section in named:
        assert resolve(kind, objective=section)[0].encoder.backbone == "conv", section


def test_clips_get_only_an_autoencoder() -> None:
    recipe, messages = resolve("clip")
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
    assert not resolve("image", count=MIN_SAMPLES - 1, **TRAINED)[0].objective.pretexts
    assert not resolve("image", targets=True)[0].objective.pretexts
    assert resolve("image", count=MIN_SAMPLES, **TRAINED)[0].objective.pretexts


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


def test_vectors_get_a_denoising_autoencoder_on_a_wide_layer_that_is_the_embedding() -> None:
    recipe, messages = resolve("vector")
    options = recipe.options_of("encoder", "mlp")
    assert (recipe.objective.variants, recipe.objective.pretexts, recipe.encoder.dim) == (["denoising"], [], 0)
    assert options == {"hidden": [64], "activation": "tanh", **REMAINING}
    summary = registry().get("variant", "denoising").entry.summary
    assert f"objective: denoising ({summary}); variants=['plain'] (--variant plain) adds no noise" in messages
    assert "network: hidden = [64], activation = tanh; to denoise vectors" in messages
    assert (
        "dim: 0, so that the features of the network are the embedding; dim=N (--dim N) gives N dimensions" in messages
    )


def test_a_resolved_recipe_of_vectors_does_not_change() -> None:
    recipe, _ = resolve("vector")
    again, messages = resolve("vector", **{n: v for n, v in recipe.to_dict().items() if n != "data"})
    assert again.to_dict() == recipe.to_dict()
    assert not any(line.startswith(("dim:", "network:", "objective:")) for line in messages)


def test_the_recipe_of_a_run_on_a_table_trains_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the recipe of a run names data in the current folder by its file alone
    np.save("table.npy", np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))
    encoder = aekit.fit("table.npy", epochs=1, out="run", report=False)
    again = aekit.fit("run/recipe.toml", out="again", report=False)
    assert encoder.dim == 64 and again.digest == encoder.digest
    assert aekit.load_autoencoder("run").errors(encoder.preprocess.scale.new_zeros(3, 5)).shape == (3,)


def test_the_recipe_of_a_run_from_before_denoising_was_the_default_keeps_its_meaning() -> None:
    former = {
        "encoder": {"backbone": "mlp", "dim": 4, "mlp": {"activation": "relu", "tied": False}},
        "objective": {"variants": [], "pretexts": [], "loss": "mse"},
    }
    recipe, _ = resolve("vector", **former)
    assert recipe.objective.variants == [] and recipe.encoder.dim == 4
    assert recipe.options_of("encoder", "mlp") == {"hidden": None, "activation": "relu", **REMAINING}


def test_a_named_denoising_autoencoder_of_vectors_gets_the_same_network() -> None:
    recipe, messages = resolve("vector", objective={"variants": ["denoising"], "denoising": {"noise": "masking"}})
    assert recipe.encoder.dim == 0 and recipe.options_of("objective", "denoising")["noise"] == "masking"
    assert recipe.options_of("encoder", "mlp") == resolve("vector")[0].options_of("encoder", "mlp")
    assert not any(line.startswith("objective:") for line in messages)


def test_a_dimension_that_is_set_is_kept() -> None:
    for dim in (0, 2, 64):
        recipe, messages = resolve("vector", encoder={"dim": dim})
        assert recipe.encoder.dim == dim and recipe.options_of("encoder", "mlp").items() >= wide_options().items()
        assert recipe.objective.variants == ["denoising"] and not any(line.startswith("dim:") for line in messages)
    assert resolve("image", **TRAINED)[0].encoder.dim == 64


@pytest.mark.parametrize(
    "encoder",
    [{"backbone": "mlp", "mlp": {"hidden": [20]}}, {"backbone": "mlp", "mlp": {"tied": True}}, {"hidden": [20]}],
)
def test_a_network_that_a_recipe_describes_is_kept(encoder: dict[str, Any]) -> None:
    recipe, messages = resolve("vector", encoder=encoder)
    options = recipe.options_of("encoder", "mlp")
    assert options == {"hidden": None, "activation": "relu", **REMAINING} | encoder.get("mlp", {})
    assert (recipe.objective.variants, recipe.encoder.dim) == (["denoising"], 4)
    assert not any(line.startswith("network:") for line in messages)


@pytest.mark.parametrize(
    "sections",
    [
        {"objective": {"variants": ["plain"]}},
        {"objective": {"variants": ["denoising", "contractive"]}},
        {"objective": {"pretexts": ["simclr"]}},
        {"encoder": {"backbone": "linear"}},
        {"encoder": {"frozen": 1}},
        {"layerwise": {"epochs": 1}},
        {"train": {"optimizer": "lbfgs", "precision": "fp32"}},
    ],
    ids=str,
)
def test_other_objectives_and_networks_for_vectors_stay_unchanged(sections: dict[str, Any]) -> None:
    recipe, messages = resolve("vector", **sections)
    assert recipe.encoder.dim == 4 and recipe.options_of("encoder", "mlp").get("hidden") is None
    assert "dim: 4, half of the 9 entries of a sample, so that the code is a bottleneck" in messages
    named = make_recipe({"data": {"source": "memory"}} | sections).objective
    assert (recipe.objective.variants, recipe.objective.pretexts) == (named.variants, named.pretexts)


def test_vectors_whose_targets_are_other_samples_get_the_plain_autoencoder() -> None:
    recipe, _ = resolve("vector", targets=True)
    assert recipe.encoder.dim == 4 and not recipe.objective.variants


@pytest.mark.parametrize("size, units", [(1, 64), (16, 64), (17, 68), (64, 256), (5000, 256)])
def test_the_layer_that_denoises_vectors_is_wider_than_most_of_them(size: int, units: int) -> None:
    assert wide_options(size) == {"hidden": [units], "activation": "tanh"}


def wide_options(size: int = 9) -> dict[str, Any]:
    """Return what the backbone names for vectors of so many entries."""
    spec = ArraySource(np.zeros((2, size), np.float32), kind="vector").spec
    options: dict[str, Any] = registry().get("backbone", "mlp").load().wide_options(spec)  # type: ignore[attr-defined]
    return options
