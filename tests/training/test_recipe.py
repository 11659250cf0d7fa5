"""Test recipes: every mistake is reported with its place and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import aekit
from aekit.errors import RecipeError
from aekit.registry.overrides import nest, parse_override
from aekit.training.recipe import make_recipe, read_recipe

GOOD = {
    "data": {"source": "sklearn:digits"},
    "encoder": {"backbone": "conv", "dim": 16, "conv": {"channels": [8, 16]}},
    "objective": {"variants": ["denoising"], "denoising": {"noise": "gaussian", "level": 0.1}},
}


def problems(values: dict, overrides: dict | None = None) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        make_recipe(values, overrides)
    return caught.value.problems


def test_defaults_are_written_out_and_survive_the_round_trip(tmp_path: Path) -> None:
    recipe = make_recipe(GOOD)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    again = read_recipe(tmp_path / "recipe.toml")
    assert again.to_dict() == recipe.to_dict()
    assert again.to_dict()["train"]["lr"] == 2e-3
    assert again.options_of("encoder", "conv") == {"channels": [8, 16]}


def test_three_mistakes_are_three_lines_with_place_value_and_nearest_name() -> None:
    found = problems(
        {
            "data": {"source": "sklearn:digits"},
            "encoder": {"backbone": "konv"},
            "objective": {"variants": ["denoising"], "denoising": {"level": -1, "nois": "gaussian"}},
            "train": {"epochs": -1, "lr": "fast"},
        }
    )
    text = "\n".join(found)
    assert "encoder.backbone: no backbone 'konv'; did you mean 'conv'?" in text
    assert "objective.denoising.level = -1: expected greater than 0 (aekit 0.1.0)" in text
    assert "objective.denoising.nois: no such option; did you mean 'noise'? (aekit 0.1.0)" in text
    assert "train.epochs = -1" in text and "train.lr = 'fast'" in text
    assert len(found) == 5


def test_options_of_an_unused_plugin_are_an_error() -> None:
    (found,) = problems({**GOOD, "objective": {"variants": ["plain"], "denoising": {"level": 0.1}}})
    assert found.startswith("objective.denoising: neither an option nor a plugin that this recipe uses")


def test_unknown_sections_and_missing_data() -> None:
    found = problems({"trian": {"lr": 1}, "encoder": 3})
    assert "trian: no such section; did you mean 'train'?" in found
    assert "data.source: is required" in found
    assert any(line.startswith("encoder = 3: expected a section") for line in found)


def test_weights_name_parts_of_the_objective() -> None:
    (found,) = problems({**GOOD, "objective": {"variants": ["denoising"], "weights": {"autoencodr": 1.0}}})
    assert "did you mean 'autoencoder'" in found


def test_overrides_are_dotted_and_typed() -> None:
    overrides = dict(map(parse_override, ["train.lr=1e-2", "encoder.conv.channels=[4]", "data.source=sklearn:iris"]))
    recipe = make_recipe(GOOD, overrides)
    assert recipe.train.lr == 1e-2
    assert recipe.options_of("encoder", "conv") == {"channels": [4]}
    assert recipe.data.source == "sklearn:iris"
    with pytest.raises(RecipeError, match="expected NAME=VALUE"):
        parse_override("train.lr")


def test_a_value_is_not_a_section() -> None:
    with pytest.raises(RecipeError, match="is a value, not a section"):
        nest({"images.size": 3, "images.size.x": 4})


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[data\n")
    with pytest.raises(RecipeError, match=r"recipe\.toml: is not TOML"):
        read_recipe(path)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "nowhere.toml")


def test_evaluators_by_a_group() -> None:
    recipe = make_recipe({"data": {"source": "sklearn:iris"}, "evaluate": {"evaluators": ["quick", "knn", "hdbscan"]}})
    filled = recipe.with_plugin_defaults().options["evaluate"]
    assert set(filled) == {"probe", "knn", "retrieval", "kmeans", "hdbscan"}
    everything = make_recipe(
        {"data": {"source": "sklearn:iris"}, "evaluate": {"evaluators": ["all"]}}
    ).with_plugin_defaults()
    assert {"svm", "mlp-head"} < set(everything.options["evaluate"])
    assert recipe.evaluate.evaluators == ["quick", "knn", "hdbscan"], "a recipe keeps what was written"


def test_an_encoder_without_anything_to_train_is_refused() -> None:
    samples = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    with pytest.raises(RecipeError, match=r"encoder\.dim = 0: backbone 'linear' has no layers .* set a dimension"):
        aekit.fit(samples, dim=0, backbone="linear", epochs=1, progress=False)
