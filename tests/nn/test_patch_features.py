"""Patches as a dictionary, written out patch by patch: alone, and as a backbone whose features are the embedding of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command, Said

import aekit
from aekit.errors import RecipeError
from aekit.nn.patch_features import CONTRAST, NOISE, PatchFeatures, default_stride
from aekit.plugin import from_array
from aekit.workflows.comparing._differences import method_name

NAME = "patch-dictionary"


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features_of(
    channels: int, size: tuple[int, int], patch: tuple[int, int], atoms: int, **options: Any
) -> PatchFeatures:
    return PatchFeatures(channels, size, patch, atoms, generator=seeded(0), **options)


def random_images(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((count, *shape))).float()


def normalized(patches: np.ndarray, floor: float) -> np.ndarray:
    centered = patches - patches.mean(1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(1, keepdims=True) + floor)


@pytest.mark.parametrize("stride", [1, 2])
def test_features_are_those_of_the_paper(stride: int) -> None:
    """Contrast, whitening, similarities, both thresholds and the means over cells, patch by patch in numpy."""
    images, atoms = random_images(6, 2, 9, 8), 5
    features = features_of(2, (9, 8), (3, 2), atoms, grid=2, threshold=0.3, stride=stride)
    patches = features.draw(images, 40, seeded(1))
    assert patches.shape == (240, 2, 3, 2)
    features.fit(patches, seeded(2))

    x = patches.flatten(1).numpy().astype(np.float64)
    floor = CONTRAST * x.var(1).mean()
    scaled = normalized(x, floor)
    mean = scaled.mean(0)
    values, vectors = np.linalg.eigh((scaled - mean).T @ (scaled - mean) / len(x))
    whitening = vectors / np.sqrt(values.clip(0) + NOISE) @ vectors.T
    order = torch.randperm(240, generator=seeded(2)).numpy()[:atoms]  # no patch of noise is flat
    dictionary = (scaled - mean)[order] @ whitening
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)

    output = features(images)
    assert features.width == 2 * atoms * 4 and output.shape == (6, features.width)
    rows, columns = (9 - 3) // stride + 1, (8 - 2) // stride + 1
    for number, image in enumerate(images.numpy().astype(np.float64)):
        similarities = np.empty((atoms, rows, columns))
        for row in range(rows):
            for column in range(columns):
                top, left = row * stride, column * stride
                patch = image[:, top : top + 3, left : left + 2].reshape(1, -1)
                similarities[:, row, column] = ((normalized(patch, floor) - mean) @ whitening @ dictionary.T)[0]
        expected = []
        for sign in (1, -1):
            above = np.maximum(sign * similarities - 0.3, 0)
            height, width = rows // 2, columns // 2
            for top in (0, height):
                for left in (0, width):
                    cell = above[:, top : top + rows - height, left : left + columns - width]
                    expected.append(np.sqrt(cell.mean((1, 2))))
        written = np.stack(expected).reshape(2, 4, atoms).transpose(0, 2, 1).ravel()
        np.testing.assert_allclose(output[number], written, atol=2e-3)


def test_patches_are_drawn_from_their_images() -> None:
    images = torch.arange(3 * 2 * 6 * 7, dtype=torch.float32).view(3, 2, 6, 7)
    patches = features_of(2, (6, 7), (3, 4), 1).draw(images, 30, seeded(0))
    windows = images.unfold(2, 3, 1).unfold(3, 4, 1)  # (3, 2, 4, 4, 3, 4)
    corners = set()
    for number, patch in enumerate(patches):
        places = [(r, c) for r in range(4) for c in range(4) if torch.equal(windows[number // 30, :, r, c], patch)]
        assert len(places) == 1
        corners.add(places[0])
    assert len(corners) == 16, "every corner can be drawn"


def test_flat_patches_become_no_atoms_and_constant_images_have_features() -> None:
    images = torch.zeros(8, 1, 12, 12)
    images[:, :, :4, :4] = random_images(8, 1, 4, 4)
    features = features_of(1, (12, 12), (3, 3), 20)
    features.fit(features.draw(images, 50, seeded(0)), seeded(0))
    assert (features.weight.flatten(1).norm(dim=1) > 0.1).all() and features(images).isfinite().all()
    for value in (0.0, 0.3, 1e6):
        constant = torch.full((8, 1, 12, 12), value)
        assert features(constant).isfinite().all()
        alone = features_of(1, (12, 12), (3, 3), 20)
        alone.fit(alone.draw(constant, 50, seeded(0)), seeded(0))
        assert alone(constant).isfinite().all() and alone(images).isfinite().all()


def test_brightness_and_contrast_of_an_image_hardly_change_its_features() -> None:
    images = random_images(20, 3, 16, 16)
    features = features_of(3, (16, 16), (4, 4), 30)
    features.fit(features.draw(images, 100, seeded(0)), seeded(0))
    output = features(images)
    torch.testing.assert_close(features(images + 5), output, atol=5e-3, rtol=0)
    assert (features(images * 3) - output).abs().mean() < 0.1 * output.std()


def test_autocast_does_not_round_the_features() -> None:
    images = random_images(4, 1, 12, 12) + 50
    features = features_of(1, (12, 12), (4, 4), 16)
    features.fit(features.draw(images, 100, seeded(0)), seeded(0))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(features(images), features(images))
        rounded = features(images)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, features(images))


def test_large_images_are_compared_at_about_a_thousand_places_by_few_atoms_at_a_time() -> None:
    assert default_stride((28, 28), (6, 6)) == 1 and default_stride((63, 63), (6, 6)) == 2
    features = features_of(1, (500, 300), (6, 6), 100)
    assert features.stride > 6 and features(random_images(1, 1, 500, 300)).shape == (1, 1800)
    assert features_of(1, (300, 300), (6, 6), 3, stride=1).at_once == 1


# As a backbone


@pytest.fixture(scope="module")
def stripes() -> tuple[np.ndarray, np.ndarray]:
    """Color images of two classes, (160, 3, 20, 24) uint8: stripes to one side or the other, of any phase and color."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 80)
    row, column = np.mgrid[:20, :24]
    angle = np.where(labels == 1, 1.0, -1.0)[:, None, None]
    phase = generator.uniform(0, 6, (160, 1, 1))
    waves = np.sin(row * 0.9 + angle * column * 0.9 + phase)[:, None] * generator.uniform(-60, 60, (160, 3, 1, 1))
    images = 128 + waves + generator.normal(0, 10, (160, 3, 20, 24))
    return images.clip(0, 255).astype(np.uint8), labels


def test_the_embedding_is_whitened_by_the_training_images(stripes: tuple[np.ndarray, np.ndarray]) -> None:
    options = {f"encoder.{NAME}.components": 20, f"encoder.{NAME}.atoms": 30, "encoder.normalize": False}
    encoder = aekit.fit(stripes[0], backbone=NAME, overrides=options, progress=False)
    vectors = np.asarray(encoder.embed(stripes[0], progress=False))
    assert vectors.shape == (160, 20) and vectors.var(0).sum() == pytest.approx(20, rel=1e-3)
    np.testing.assert_allclose(vectors.mean(0), 0, atol=1e-3)
    everything = aekit.fit(
        stripes[0], backbone=NAME, overrides=options | {f"encoder.{NAME}.components": 0}, progress=False
    )
    features = np.asarray(everything.embed(stripes[0], progress=False))
    assert features.shape == (160, 2 * 30 * 9 + 2 * 3 * 9)
    varied = features.std(0) > 1e-3
    np.testing.assert_allclose(features[:, :540][:, varied[:540]].std(0), 1, atol=1e-2)
    of_levels = features[:, 540:].var(0).sum() / features.var(0).sum()
    assert 0.02 < of_levels < 0.06, "less than 0.05 where deviations are smaller than the least one that is divided by"


def test_levels_of_images_are_features_unless_they_are_switched_off(stripes: tuple[np.ndarray, np.ndarray]) -> None:
    moved = {}
    for levels in (0.0, 0.3):
        options = {f"encoder.{NAME}.levels": levels, f"encoder.{NAME}.components": 0}
        encoder = aekit.fit(stripes[0], backbone=NAME, overrides=options, progress=False)
        before, after = (encoder.embed(x, progress=False).vectors for x in (stripes[0], stripes[0] // 2 + 64))
        moved[levels] = np.abs(after - before)[:, -54:].mean()
    assert moved[0.3] > 5 * moved[0.0]


def test_the_seed_draws_other_patches_and_the_same_one_the_same(stripes: tuple[np.ndarray, np.ndarray]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3, generator=torch.default_generator)
    torch.manual_seed(5)
    first, again, other = (aekit.fit(stripes[0], backbone=NAME, seed=seed, progress=False) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest
    assert torch.equal(torch.rand(3), expected), "the caller's random state stays as it is"


def test_it_is_not_trained_unless_a_dimension_is_asked_for(
    stripes: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    np.savez(tmp_path / "stripes.npz", x=stripes[0], y=stripes[1])
    said = Said()
    settings = {"evaluate.evaluators": ["probe", "knn"]}
    aekit.fit(tmp_path / "stripes.npz", backbone=NAME, out=tmp_path / "run", overrides=settings, progress=said)
    text = "\n".join(said.lines)
    assert f"epochs: 0, as training does not change {NAME}" in text
    assert "no training: the encoder keeps patches of the training images as its weights" in text
    subjects = json.loads((tmp_path / "run" / "results.json").read_text())["evaluation"]["results"]
    assert "random" not in subjects and "random weights are not a baseline here: the encoder was not trained" in text
    assert "the encoder was fitted, without labels, to the same samples that it is evaluated on" in text
    assert "decode" not in text, "there is no decoder"
    accuracy = {name: subjects["encoder"][name]["metrics"]["accuracy"]["value"] for name in ("probe", "knn")}
    assert accuracy["probe"] > 0.9 and accuracy["knn"] > 0.9
    lengths = np.linalg.norm(aekit.load(tmp_path / "run").embed(stripes[0], progress=False).vectors, axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "256 patches" in text and "512 dimensions, with patches of the training images as its weights" in page

    said = Said()
    trained = aekit.fit(stripes[0], backbone=NAME, dim=4, epochs=2, progress=said)
    assert "decoder: dense layers, as the backbone defines none" in said
    assert trained.dim == 4 and trained.record["trained"]["samples"] == 160
    weights = {"encoder.weights": str(tmp_path / "run")}
    same = aekit.fit(stripes[0][::3], epochs=0, overrides=weights, progress=False)
    assert same.digest == aekit.load(tmp_path / "run").digest, "its atoms stay those of its own training images"


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 40), (1, 5, 3), (4, 7, 9), (3, 65, 71)])
def test_images_of_any_size_and_channels(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((12, *shape)).astype(np.float32)
    x[3] = 0.5
    source = from_array(x, kind="image")
    vectors = aekit.fit(source, backbone=NAME, progress=False).embed(source, progress=False).vectors
    assert len(vectors) == 12 and np.isfinite(vectors).all() and vectors.std() > 0


def test_a_patch_larger_than_the_images_is_refused_in_one_line(
    command: Command, stripes: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    data = tmp_path / "stripes.npz"
    np.savez(data, x=stripes[0], y=stripes[1])
    refused = command("fit", data, "-o", tmp_path / "run", "--backbone", NAME, "--set", f"encoder.{NAME}.patch=21")
    assert refused.code == 2 and "patch = 21: the images have 20 x 24 pixels" in refused.error
    refused = command("fit", data, "-o", tmp_path / "run", "--backbone", NAME, "--set", f"encoder.{NAME}.reduction=21")
    assert refused.code == 2 and "reduction = 21: the images have 20 x 24 pixels" in refused.error
    with pytest.raises(RecipeError, match="expected images"):
        aekit.fit(np.zeros((20, 1, 30), np.float32), backbone=NAME, progress=False)


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_the_command_its_export_and_the_name_in_tables(
    command: Command, stripes: tuple[np.ndarray, np.ndarray], tmp_path: Path, name: str
) -> None:
    data, run = tmp_path / "stripes.npz", tmp_path / "run"
    np.savez(data, x=stripes[0], y=stripes[1])
    command.ok("fit", data, "-o", run, "--backbone", NAME, "--no-report")
    command.ok("embed", run, data, "-o", tmp_path / "embeddings")
    command.ok("index", tmp_path / "embeddings", "-o", tmp_path / "index")
    command.ok("export", run, "-o", tmp_path / name)
    assert (tmp_path / name).is_file()
    recipe = {"train.epochs": 0, "encoder.backbone": NAME, "encoder.weights": ""}
    assert method_name(recipe) == f"untrained {NAME}"


def test_images_get_it_by_default_and_an_autoencoder_reconstructs_them(
    command: Command, stripes: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    data, run, trained = tmp_path / "stripes.npz", tmp_path / "run", tmp_path / "trained"
    np.savez(data, x=stripes[0], y=stripes[1])
    said = command("fit", data, "-o", run, "--no-report")
    assert said.code == 0 and f"backbone: {NAME}, untrained, as on labeled images" in said.err
    assert aekit.load(run).dim == 512
    refused = command("apply", run, data, "-o", tmp_path / "applied", "--task", "reconstruct")
    assert refused.code == 2 and "has no decoder" in refused.error
    found = command("anomalies", run, data, "-o", tmp_path / "anomalies", "--normal", 0)
    assert found.code == 0 and "no reconstruction error" in found.out + found.err
    assert "no heat maps of patches" in found.out + found.err
    command.ok("fit", data, "-o", trained, "--variant", "plain", "--epochs", 1, "--no-report")
    command.ok("apply", trained, data, "-o", tmp_path / "applied", "--task", "reconstruct")
