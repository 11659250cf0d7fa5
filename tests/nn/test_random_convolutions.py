"""Random convolutions, written out entry by entry: alone, and as a backbone whose features are the embedding of series."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command, Said

import aekit
from aekit.errors import RecipeError
from aekit.nn.random_convolutions import RandomConvolutions
from aekit.workflows.comparing._differences import method_name

NAME = "random-convolutions"


def drawn(channels: int, steps: int, kernels: int, seed: int) -> RandomConvolutions:
    return RandomConvolutions(channels, steps, kernels, torch.Generator().manual_seed(seed))


def test_random_convolutions_are_those_of_the_paper() -> None:
    """Each kernel written out, entry by entry, from what was drawn."""
    convolutions = drawn(3, 25, 40, seed=1)
    x = np.random.default_rng(0).normal(3, 2, (4, 3, 25))
    features = convolutions(torch.from_numpy(x)).numpy()
    scaled = (x - x.mean(2, keepdims=True)) / x.std(2, keepdims=True)
    for number, (length, dilation, padding) in enumerate(convolutions.geometry):
        weights, bias = convolutions.weight[number].numpy(), float(convolutions.bias[number])
        assert length in (7, 9, 11) and 1 <= dilation <= 24 / (length - 1)
        assert padding in (0, (length - 1) * dilation // 2)
        used = np.flatnonzero(np.abs(weights).sum(1))
        assert 1 <= len(used) <= 3 and -1 <= bias <= 1
        np.testing.assert_allclose(weights[used, :length].mean(1), 0, atol=1e-6)
        assert not weights[:, length:].any()
        for row in range(4):
            outputs = []
            for start in range(-padding, 25 + padding - (length - 1) * dilation):
                places = [(start + step * dilation, step) for step in range(length)]
                inside = [(place, step) for place, step in places if 0 <= place < 25]
                outputs.append(
                    bias + sum(weights[c, step] * scaled[row, c, place] for c in range(3) for place, step in inside)
                )
            assert features[row, number] == pytest.approx(np.mean(np.array(outputs) > 0), abs=1e-9)
            assert features[row, 40 + number] == pytest.approx(max(outputs), abs=1e-5)


def test_kernels_differ_in_length_dilation_padding_and_channels() -> None:
    convolutions = drawn(4, 200, 300, seed=0)
    lengths, dilations, paddings = (set(column) for column in zip(*convolutions.geometry))
    assert lengths == {7, 9, 11} and min(dilations) == 1 and max(dilations) > 15 and len(paddings) > 10
    channels = (convolutions.weight != 0).any(2).sum(1)
    assert set(channels.tolist()) == {1, 2, 3, 4}


def test_random_convolutions_follow_from_their_seed_and_batch_nothing() -> None:
    x = torch.randn(6, 2, 50, generator=torch.Generator().manual_seed(0))
    first, again, other = (drawn(2, 50, 100, seed)(x) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    one_by_one = torch.cat([drawn(2, 50, 100, 0)(row[None]) for row in x])
    assert torch.allclose(one_by_one, first, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 11])
def test_random_convolutions_of_short_and_constant_series(steps: int) -> None:
    x = torch.randn(3, 1, steps, generator=torch.Generator().manual_seed(0))
    x[1] = 4.0
    assert drawn(1, steps, 50, 0)(x).isfinite().all()


def test_long_series_are_convolved_in_groups_of_few_kernels() -> None:
    x = torch.randn(2, 1, 40_000, generator=torch.Generator().manual_seed(0))
    convolutions = drawn(1, 40_000, 12, 0)
    assert all(stop - start == 1 for start, stop in convolutions.groups)
    assert [start for start, _ in convolutions.groups] == list(range(12)) and convolutions(x).shape == (2, 24)


# As a backbone


@pytest.fixture(scope="module")
def waves() -> tuple[np.ndarray, np.ndarray]:
    """Series of two classes, (120, 1, 64), that differ in their frequency and not in their phase or level."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    phase = generator.uniform(0, 2 * np.pi, (120, 1))
    time = np.arange(64) / 64 * 2 * np.pi
    waves = np.sin(time * np.where(labels == 1, 7, 6)[:, None] + phase) + generator.normal(0, 0.3, (120, 64))
    return waves[:, None].astype(np.float32), labels


def test_features_are_standardized_by_the_training_samples(waves: tuple[np.ndarray, np.ndarray]) -> None:
    options = {f"encoder.{NAME}.kernels": 50, f"encoder.{NAME}.levels": 0.2, "encoder.normalize": False}
    encoder = aekit.fit(waves[0], backbone=NAME, overrides=options, progress=False)
    vectors = np.asarray(encoder.embed(waves[0], progress=False))
    plain = RandomConvolutions(1, 64, 50)
    plain.load_state_dict(encoder.backbone.stages[0][0].parts[0].state_dict())
    x = encoder.preprocess(torch.from_numpy(waves[0]))
    features = torch.cat([plain(x), x.mean(2), torch.log(x.var(2, correction=0) + 0.01**2) / 2], 1).numpy()
    varied = features.std(0) > 1e-6
    expected = (features - features.mean(0)) / np.where(varied, features.std(0), 1)
    expected[:, 100:] *= np.sqrt(0.2 / 0.8 * 50)
    assert vectors.shape == (120, 102) and varied.sum() > 80
    np.testing.assert_allclose(vectors[:, varied], expected[:, varied], atol=2e-3)
    of_levels = vectors[:, 100:].var(0).sum()
    assert of_levels == pytest.approx(0.2 / 0.8 * 100, rel=0.01)
    assert vectors[:, :100].var(0).sum() == pytest.approx(varied[:100].sum(), rel=0.01)


@pytest.mark.parametrize("change", ["level", "scale"])
def test_levels_and_scales_of_series_are_features_unless_they_are_switched_off(change: str) -> None:
    x = np.random.default_rng(0).normal(size=(80, 2, 40)).astype(np.float32)
    other = x + 1 if change == "level" else x * 3
    moved = {}
    for levels in (0.0, 0.3):
        encoder = aekit.fit(x, backbone=NAME, overrides={f"encoder.{NAME}.levels": levels}, progress=False)
        before, after = (encoder.embed(part, progress=False, precision="fp32").vectors for part in (x, other))
        assert before.shape[1] == 2000 + (4 if levels else 0)
        moved[levels] = np.linalg.norm(after - before, axis=1).mean() / before.std() / before.shape[1] ** 0.5
    assert moved[0.0] < 0.02 and moved[0.3] > 1


def test_rounding_of_series_that_were_standardized_one_by_one_is_no_feature() -> None:
    x = np.random.default_rng(0).normal(size=(80, 1, 40))
    x = (x - x.mean(2, keepdims=True)) / x.std(2, keepdims=True)
    options = {"encoder.normalize": False}
    encoder = aekit.fit(x.astype(np.float32), backbone=NAME, overrides=options, progress=False)
    vectors = encoder.embed(x.astype(np.float32), progress=False).vectors
    assert np.abs(vectors[:, 2000:]).max() < 0.1 < vectors[:, :2000].std()


def test_the_seed_draws_other_kernels_and_the_same_one_the_same(waves: tuple[np.ndarray, np.ndarray]) -> None:
    first, again, other = (aekit.fit(waves[0], backbone=NAME, seed=seed, progress=False) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest


def test_it_is_not_trained_unless_a_dimension_is_asked_for(
    waves: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    np.savez(tmp_path / "waves.npz", x=waves[0], y=waves[1])
    said = Said()
    settings = {"evaluate.evaluators": ["probe"]}
    aekit.fit(tmp_path / "waves.npz", backbone=NAME, out=tmp_path / "run", overrides=settings, progress=said)
    text = "\n".join(said.lines)
    assert f"epochs: 0, as training does not change {NAME}" in text
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    subjects = results["evaluation"]["results"]
    assert {"raw", "encoder"} < set(subjects) and not {"random", NAME} & set(subjects)
    assert "random weights are not a baseline here: the encoder was not trained" in text
    assert subjects["encoder"]["probe"]["metrics"]["accuracy"]["value"] > 0.9
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "1,000 kernels" in text and "2002 dimensions, with random weights" in page and "trained on" not in page

    trained = aekit.fit(waves[0], backbone=NAME, dim=4, epochs=2, progress=False)
    assert trained.dim == 4 and trained.record["trained"]["samples"] == 120
    weights = {"encoder.weights": str(tmp_path / "run")}
    same = aekit.fit(waves[0][::3], epochs=0, overrides=weights, progress=False)
    assert same.digest == aekit.load(tmp_path / "run").digest, (
        "its features stay standardized by its own training samples"
    )
    again = aekit.load(tmp_path / "run")
    assert again.dim == 2002 and "trained" not in again.record


def test_a_trained_backbone_without_epochs_is_refused(waves: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(RecipeError, match="nothing to train"):
        aekit.fit(waves[0], backbone="conv", epochs=0, progress=False)


def test_the_command_and_the_name_in_tables(
    command: Command, waves: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    data, run = tmp_path / "waves.npz", tmp_path / "run"
    np.savez(data, x=waves[0], y=waves[1])
    command.ok("fit", data, "-o", run, "--backbone", NAME, "--no-report")
    command.ok("embed", run, data, "-o", tmp_path / "embeddings")
    command.ok("index", tmp_path / "embeddings", "-o", tmp_path / "index")
    command.ok("export", run, "-o", tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2").is_file()
    recipe = {"train.epochs": 0, "encoder.backbone": NAME, "encoder.weights": ""}
    assert method_name(recipe) == f"untrained {NAME}"


def test_series_get_it_by_default_and_an_autoencoder_reconstructs_them(
    command: Command, waves: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    data, run, trained = tmp_path / "waves.npz", tmp_path / "run", tmp_path / "trained"
    np.savez(data, x=waves[0], y=waves[1])
    said = command("fit", data, "-o", run, "--no-report")
    assert said.code == 0 and f"backbone: {NAME}, untrained" in said.err and "(--variant plain)" in said.err
    assert aekit.load(run).dim == 2002
    refused = command("apply", run, data, "-o", tmp_path / "applied", "--task", "reconstruct")
    assert refused.code == 2 and "has no decoder" in refused.error
    found = command("anomalies", run, data, "-o", tmp_path / "anomalies", "--normal", 0)
    assert found.code == 0 and "no reconstruction error" in found.out + found.err
    command.ok("fit", data, "-o", trained, "--variant", "plain", "--epochs", 1, "--no-report")
    command.ok("apply", trained, data, "-o", tmp_path / "applied", "--task", "reconstruct")


def test_images_are_refused_in_one_line(command: Command, tmp_path: Path) -> None:
    data = tmp_path / "images.npy"
    np.save(data, np.zeros((9, 3, 8, 8), np.uint8))
    refused = command("fit", data, "-o", tmp_path / "run", "--backbone", NAME)
    assert refused.code == 2
    assert f"backbone '{NAME}' cannot take image 3x8x8 uint8: expected series (C, T), found image" in refused.error
