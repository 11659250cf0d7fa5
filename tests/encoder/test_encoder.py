"""The encoder: identity, saving, loading, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import FAST
from resealing import reseal
from safetensors.torch import load_file, save_file

import aekit
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.loading import open_encoder
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import DataError, IdentityError, OutputError, PluginError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 1, 9, 11), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder(images: np.ndarray) -> aekit.Encoder:
    return aekit.fit(images, variants=["denoising"], dim=5, overrides=FAST)


@pytest.fixture
def saved(encoder: aekit.Encoder, tmp_path: Path) -> Path:
    return encoder.save(tmp_path / "encoder")


def test_an_encoder_opens_from_an_object_or_any_folder_that_holds_it(
    encoder: aekit.Encoder, saved: Path, images: np.ndarray, tmp_path: Path
) -> None:
    assert open_encoder(encoder) is encoder
    run = tmp_path / "run"
    encoder.save(run / "encoder")
    embeddings = encoder.embed(images, out=tmp_path / "embeddings")
    aekit.build_index(embeddings, tmp_path / "index")
    for folder in (saved, run, tmp_path / "embeddings", tmp_path / "index"):
        assert open_encoder(folder).digest == open_encoder(str(folder)).digest == encoder.digest
    assert open_encoder(saved, device="meta").device.type == "meta"
    with pytest.raises(DataError, match="no encoder here"):
        open_encoder(tmp_path / "none")


def test_copies_of_an_encoder_keep_its_card(saved: Path, images: np.ndarray, tmp_path: Path) -> None:
    (saved / "README.md").write_text("the card, with an evaluation")
    loaded = aekit.load(saved)
    loaded.embed(images, out=tmp_path / "embeddings")
    aekit.build_index(tmp_path / "embeddings", tmp_path / "index")
    aekit.build_index(loaded.embed(images), tmp_path / "index of memory")
    for folder in ("embeddings", "index", "index of memory"):
        assert (tmp_path / folder / "encoder" / "README.md").read_text() == "the card, with an evaluation"
    loaded.record["note"] = "changed since"
    loaded.embed(images, out=tmp_path / "changed")
    assert (tmp_path / "changed" / "encoder" / "README.md").read_text().startswith("---")


@pytest.mark.parametrize("value", [None, 3, np.zeros((2, 2))])
def test_other_types_are_not_encoders(value: Any) -> None:
    with pytest.raises(
        DataError, match=r"encoder of type \w+: expected an Encoder or the path of an encoder, a run, .*$"
    ):
        open_encoder(value)


def test_saved_and_loaded_it_is_the_same_to_the_bit(encoder: aekit.Encoder, saved: Path, images: np.ndarray) -> None:
    again = aekit.load(saved)
    assert again.digest == encoder.digest
    assert np.array_equal(again.embed(images).vectors, encoder.embed(images).vectors)
    assert again.record["metrics"] == encoder.record["metrics"]
    assert sorted(p.name for p in saved.iterdir()) == ["README.md", "encoder.json", "weights.safetensors"]
    assert encoder.digest in (saved / "README.md").read_text()


def test_a_loaded_encoder_is_trained_as_a_part_of_another_network(saved: Path, images: np.ndarray) -> None:
    loaded = aekit.load(saved)
    network = torch.nn.Sequential(loaded, torch.nn.Linear(5, 2))
    network(torch.from_numpy(images[:4])).square().sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())
    with torch.no_grad():
        assert not loaded(torch.from_numpy(images[:4])).requires_grad


def test_digest_changes_with_any_weight_and_any_setting(encoder: aekit.Encoder, images: np.ndarray) -> None:
    before = encoder.digest
    other = encoder.with_random_weights(1)
    assert other.digest != before
    assert encoder.with_random_weights(1).digest == other.digest
    name, weight = next(iter(other.named_parameters()))
    digest = other.digest
    with torch.no_grad():
        weight.view(-1)[0] += 1e-6
    assert other.digest != digest, name
    normalized = aekit.fit(images, variants=["denoising"], dim=5, overrides=FAST | {"encoder.normalize": True})
    assert normalized.digest != before
    lengths = np.linalg.norm(normalized.embed(images).vectors, axis=1)
    assert lengths == pytest.approx(np.ones(40), abs=1e-5)


def test_a_changed_weight_is_found_out(saved: Path) -> None:
    weights = load_file(saved / "weights.safetensors")
    weights["head.bias"] += 1e-3
    save_file(weights, saved / "weights.safetensors")
    with pytest.raises(IdentityError, match="it has been changed"):
        aekit.load(saved)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"not weights"), "weights do not load"),
        (lambda f: (f / "encoder.json").write_text("{"), "is damaged"),
        (lambda f: (f / "encoder.json").write_text('{"format": 99}'), "encoder format 99"),
    ],
    ids=["no weights", "damaged weights", "damaged json", "another format"],
)
def test_damage_is_one_clear_line(saved: Path, damage, message: str) -> None:
    damage(saved)
    with pytest.raises(IdentityError, match=message) as caught:
        aekit.load(saved)
    assert "\n" not in str(caught.value)


def test_weights_load_strictly(saved: Path) -> None:
    weights = load_file(saved / "weights.safetensors")
    save_file({k: v for k, v in weights.items() if k != "head.bias"}, saved / "weights.safetensors")
    with pytest.raises(IdentityError, match="do not load"):
        aekit.load(saved)


def test_code_that_changed_under_the_same_weights_is_found_out(saved: Path) -> None:
    described = json.loads((saved / "encoder.json").read_text())
    reseal(saved / "encoder.json", check=[value + 0.1 for value in described["check"]])
    with pytest.raises(PluginError, match="computes other embeddings than when it was saved"):
        aekit.load(saved)


def test_a_missing_plugin_is_answered_with_what_to_install(saved: Path) -> None:
    plugin = {"kind": "backbone", "name": "wavelet", "distribution": "aekit-wavelet", "version": "2.1"}
    reseal(saved / "encoder.json", plugins=[plugin])
    with pytest.raises(PluginError, match=r"not installed: pip install 'aekit-wavelet==2\.1'"):
        aekit.load(saved)


def test_nothing_is_overwritten(encoder: aekit.Encoder, saved: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        encoder.save(saved)
    with pytest.raises(DataError, match="no encoder here"):
        aekit.load(saved.parent / "nowhere")


def test_saving_twice_gives_the_same_bytes(encoder: aekit.Encoder, tmp_path: Path) -> None:
    first, second = (encoder.save(tmp_path / name) for name in ("a", "b"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    shutil.rmtree(first)


def profile(array: np.ndarray, mode: str = "auto"):
    return fit_preprocess(load_samples(ArraySource(array), np.arange(len(array)), CPU), mode)  # type: ignore[arg-type]


def test_eight_bit_images_keep_their_natural_range() -> None:
    dim_images = np.random.default_rng(0).integers(10, 200, (20, 3, 8, 8), dtype=np.uint8)
    preprocess, why = profile(dim_images)
    assert preprocess.unit and why == "0..255 is scaled to 0..1"
    assert torch.allclose(preprocess(torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)), torch.ones(1, 3, 8, 8))


@pytest.mark.parametrize("levels", [2, 16, 129])
def test_eight_bit_images_of_few_gray_levels_are_white_at_the_largest(levels: int) -> None:
    images = np.random.default_rng(0).integers(0, levels, (20, 1, 8, 8), dtype=np.uint8)
    images[0, 0, 0, 0] = levels - 1
    preprocess, why = profile(images)
    seen = preprocess(torch.from_numpy(images))
    assert preprocess.unit and seen.min() == 0 and seen.max() == 1
    scaled = "0..1 stays as it is" if levels == 2 else f"0..{levels - 1} is scaled to 0..1"
    assert why == f"{scaled}, as no value of these 8-bit samples is above {levels - 1}"


@pytest.mark.parametrize("top, mode", [(0.01, "standard"), (0.5, "standard"), (0.6, "unit"), (1.0, "unit")])
def test_floats_that_are_nearly_black_are_standardized(top: float, mode: str) -> None:
    images = np.random.default_rng(0).random((20, 1, 8, 8), np.float32) * top
    images[0, 0, 0, 0] = top
    preprocess, _ = profile(images)
    assert preprocess.mode == mode and preprocess.unit == (mode == "unit")
    brightest = profile(images, "unit")[0](torch.from_numpy(images)).max().item()
    assert brightest == pytest.approx(top if mode == "unit" else 1)


def test_black_images_are_scaled_as_other_eight_bit_ones() -> None:
    assert profile(np.zeros((4, 1, 8, 8), np.uint8))[1] == "0..255 is scaled to 0..1"


@pytest.mark.parametrize("shape", [(20, 1, 8, 8), (20, 12)])
@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_zeros_and_ones_are_not_taken_for_shades_of_black(shape: tuple[int, ...], dtype: str) -> None:
    masks = np.random.default_rng(0).random(shape) < 0.5
    preprocess, why = (
        profile(masks.astype(np.uint8)) if dtype == "uint8" else profile(aekit.open_data(masks).read(np.arange(20))[0])
    )
    assert preprocess.unit and why.startswith("0..1 stays as it is")
    assert preprocess(torch.from_numpy(masks.astype(np.uint8))).unique().tolist() == [0, 1]


def test_sixteen_bit_images_are_scaled_by_their_own_range_and_keep_their_depth() -> None:
    rays = np.random.default_rng(0).integers(0, 4096, (20, 1, 8, 8)).astype(np.uint16)
    rays[0, 0, 0, 0], rays[1, 0, 0, 0] = 0, 4095
    preprocess, _ = profile(rays)
    seen = preprocess(torch.from_numpy(rays))
    assert seen.min() == 0 and seen.max() == 1
    assert len(seen.unique()) == len(np.unique(rays)), "gray levels were merged"


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_columns_are_standardized_each_by_itself(offset: float) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(500, 3)) * [1, 100, 0] + [offset, 5, 7]
    preprocess, _ = profile(table)
    seen = preprocess(torch.from_numpy(table)).double().numpy()
    assert seen.mean(0) == pytest.approx([0, 0, 0], abs=2e-3)
    assert seen.std(0) == pytest.approx([1, 1, 0], abs=1e-3)
    assert preprocess.inverse(torch.from_numpy(seen)).numpy() == pytest.approx(table, rel=1e-3, abs=1e-2)


def test_moments_agree_with_numpy_over_several_chunks() -> None:
    series = np.random.default_rng(0).normal(3, 2, (2500, 2, 7)).astype(np.float32)
    preprocess, _ = profile(series)
    seen = preprocess(torch.from_numpy(series)).numpy()
    expected = (series - series.mean((0, 2), keepdims=True)) / series.std((0, 2), keepdims=True)
    assert seen == pytest.approx(expected, abs=1e-4)


def test_statistics_come_from_the_training_split_only(tmp_path: Path) -> None:
    train, test = np.zeros((50, 4)), np.full((50, 4), 1000.0)
    train[:25] = 2.0
    np.savez(tmp_path / "split.npz", x_train=train, x_test=test)
    encoder = aekit.fit(str(tmp_path / "split.npz"), dim=2, overrides=FAST)
    low, high = encoder.preprocess.raw_range()
    assert low.tolist() == pytest.approx([0] * 4) and high.tolist() == pytest.approx([2] * 4)


def test_data_of_another_dtype_or_shape_is_refused(encoder: aekit.Encoder, images: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        encoder.embed(images.astype(np.float32) / 255)
    with pytest.raises(DataError, match="9x11"):
        encoder.embed(images[:, :, :8])


def test_spec_round_trips() -> None:
    spec = SampleSpec("image", (3, 20, 30), "uint16", "crop")
    assert SampleSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.size == 1800 and spec.nbytes == 3600


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"spec": {"kind": "image", "shape": [1, 2**31, 8], "dtype": "uint8", "resize": None}},
            "spec.shape.1: Input should",
        ),
        ({"spec": {"kind": "image", "shape": [1, 2**20, 2**20], "dtype": "uint8", "resize": None}}, "values; expected"),
        ({"spec": {"kind": "image", "shape": [64], "dtype": "uint8", "resize": None}}, "shape of 1 axes; expected 3"),
        ({"check": [0.0] * 17}, "check: List should have at most 16 items"),
        ({"check": [float("nan")]}, "check.0: Input should be a finite number"),
        ({"plugins": []}, "plugins: List should have at least 1 item"),
        ({"programs": {"head": "../x.pt2"}}, "sha256: has no entry for '../x.pt2'"),
        (
            {"programs": {"head": "../x.pt2"}, "sha256": {"../x.pt2": "0" * 64}},
            "'../x.pt2' is not a name inside the folder",
        ),
    ],
)
def test_a_description_is_checked_before_anything_is_built(changes: dict[str, Any], problem: str, saved: Path) -> None:
    reseal(saved / "encoder.json", **changes)
    with pytest.raises(IdentityError, match=re.escape(problem)):
        aekit.load(saved)


def test_a_layer_that_the_file_cannot_fill_is_refused_before_its_memory_is_filled(saved: Path) -> None:
    architecture = json.loads((saved / "encoder.json").read_text())["architecture"]
    reseal(saved / "encoder.json", architecture=architecture | {"dim": 2**17})
    with pytest.raises(IdentityError, match=r"a network of [\d,]+ values is described, its file has"):
        aekit.load(saved)


@pytest.mark.parametrize(
    "trained, white, says",
    [
        (1, 255, "images reach values of about 255, and white is 1 to the encoder"),
        (255, 1, "images reach values of about 1, and white is 255 to the encoder"),
        (1, 1, ""),
        (255, 255, ""),
        (255, 60, ""),
        (60, 100, ""),
    ],
)
def test_images_on_another_scale_are_said_to_be_also_one_alone(trained: int, white: int, says: str) -> None:
    masks = np.random.default_rng(0).random((20, 1, 8, 8)) < 0.4
    encoder = aekit.fit((masks * trained).astype(np.uint8), backbone="mlp", variants="plain", dim=2, epochs=1)
    for count in (20, 1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            encoder.embed((masks[:count] * white).astype(np.uint8))
        assert [says in str(one.message) for one in caught] == ([True] if says else [])
