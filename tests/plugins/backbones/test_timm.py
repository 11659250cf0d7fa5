"""timm as a backbone: stages that compose, weights that load whole or not at all, images as timm prepares them."""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import aekit_plugins.backbones.timm_backbone as timm_backbone
import numpy as np
import pytest
import timm
import torch
from commands import Command, Said
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import aekit
from aekit.data._cropping import crop_geometry
from aekit.data.framing import Framing
from aekit.data.spec import SampleSpec
from aekit.encoder.encoder import Encoder, build_encoder
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import AekitError, DataError, RecipeError
from aekit.io.weights import read_weights
from aekit.nn.stages import NotSequentialError, build_stages, disable_dropout, groups_by_name, plan_stages
from aekit.nn.upsampling import Upsampling
from aekit.testing import check
from aekit.training.initial_weights import load_pretrained

LITE = "efficientnet_lite0_in1k.safetensors"
SMALL = SampleSpec("image", (3, 20, 28), "uint8")


def encoder_of(model: str, spec: SampleSpec = SMALL, *, dim: int = 0, seed: int = 0, **options: Any) -> Encoder:
    profile = torch.ones(spec.shape[0], 1, 1)
    preprocess = Preprocess("unit", True, profile / 255, 0 * profile, 0 * profile, profile)
    backbone = {"name": "timm", "options": {"model": model, **options}}
    architecture = {"backbone": backbone, "head": None, "dim": dim, "normalize": False}
    return build_encoder(spec, preprocess, architecture, seed=seed).eval()


def trained(model: str, path: Path, *, classes: int = 7, **options: Any) -> nn.Module:
    """A network of timm with a classifier and changed weights, saved as timm saves it."""
    network = timm.create_model(model, num_classes=classes, **options).eval()
    generator = torch.Generator().manual_seed(1)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator) - 0.05)
    save_file(network.state_dict(), path)
    return network


def images(count: int = 24, shape: tuple[int, ...] = (3, 20, 28)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


STAGES = {
    "test_efficientnet": 6,
    "test_resnet": 5,
    "test_convnext": 5,
    "test_byobnet": 5,
    "test_vit": 7,
    "test_mambaout": 5,
    "test_vit_relpos": 10,
    "regnetx_002": 5,
    "mobilenetv3_small_050": 7,
    "eva02_tiny_patch14_224": 13,
    "levit_128s": 1,
}


@pytest.mark.parametrize("model", STAGES)
def test_stages_one_after_the_other_are_timms_own_pass(model: str, tmp_path: Path) -> None:
    network = trained(model, tmp_path / "w.safetensors")
    encoder = encoder_of(model)
    load_pretrained(encoder, str(tmp_path / "w.safetensors"))
    backbone, x = encoder.backbone, torch.rand(2, 3, 20, 28)
    with torch.no_grad():
        shown = backbone.stages[0][0](x)  # type: ignore[index]
        expected = network.forward_head(network.forward_features(shown), pre_logits=True)
        assert expected.isfinite().all()
        # Not to the last bit: which kernel multiplies depends on where in memory a tensor lies.
        torch.testing.assert_close(backbone(x), expected.flatten(1), rtol=1e-4, atol=1e-5)
    assert shown.shape[1:] == network.pretrained_cfg["input_size"]
    left_out = encoder.record["weights"]["left out"]
    sizes = [parameter.numel() for name, parameter in network.named_parameters() if name not in left_out]
    assert sum(p.numel() for p in backbone.parameters()) == sum(sizes), "a weight is in no stage, or in two"
    assert len(backbone.stages) == STAGES[model]
    assert all(any(True for _ in stage.parameters()) for stage in backbone.stages)
    assert (STAGES[model] > 1) != ("one stage" in backbone.note)
    assert encoder.features_dim == expected.flatten(1).shape[1] == encoder.dim
    assert all(name.startswith(("head", "fc", "classifier")) for name in left_out) and len(left_out) >= 2


def test_stages_are_ordered_from_the_stem_to_the_top() -> None:
    names = [name for name, _ in encoder_of("test_vit").backbone.named_parameters()]
    stage = [int(name.split(".")[1]) for name in names]
    assert stage == sorted(stage)
    assert {name.split(".")[-1] for name in names if name.startswith("stages.0.")} >= {"cls_token", "pos_embed"}
    assert [name for name in names if name.startswith("stages.6.")][-1].endswith(".bias")
    resnet = encoder_of("test_resnet").backbone
    assert isinstance(resnet.stages[0][1][0][0], nn.Conv2d)  # type: ignore[index]


@pytest.mark.parametrize("model", ["test_vit", "eva02_tiny_patch14_224", "test_resnet"])
def test_a_copy_is_whole_and_shares_nothing(model: str) -> None:
    encoder, raw = encoder_of(model), torch.from_numpy(images(2))
    copy = deepcopy(encoder)
    with torch.no_grad():
        before = encoder(raw)
        assert torch.equal(copy(raw), before)
        for parameter in copy.parameters():
            parameter.zero_()
        assert torch.equal(encoder(raw), before) and not torch.equal(copy(raw), before)
        moved = deepcopy(
            encoder
        ).backbone.double()  # as to another device: what it needs moves with it, tables included
        assert torch.allclose(moved(encoder.preprocess(raw).double()).float(), before, atol=1e-4)


@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("pooling", ["auto", "avg", "max", "token", "none"])
@pytest.mark.parametrize("model", ["test_vit", "test_convnext", "test_mambaout"])
def test_the_lowest_stages_and_another_pooling(model: str, pooling: str, layer: int) -> None:
    if pooling == "token" and model != "test_vit":
        with pytest.raises(RecipeError, match=f"pooling = 'token': {model} has no class token"):
            encoder_of(model, pooling=pooling, layer=layer)
        return
    cut, whole = encoder_of(model, pooling=pooling, layer=layer), encoder_of(model)
    x = torch.rand(2, 3, 20, 28)
    with torch.no_grad():
        out = x
        for stage in whole.backbone.stages[:layer]:
            out = stage(out)
        out = out.permute(0, 3, 1, 2) if model == "test_mambaout" else out
        features = cut.backbone(x)
    if pooling == "none":
        assert cut.backbone.features_shape == tuple(out.shape[1:])
        expected = out
    elif out.ndim == 3:
        places = out[:, 1:]
        expected = {"max": places.amax(1), "token": out[:, 0]}.get(pooling, places.mean(1))
    else:
        expected = out.amax((2, 3)) if pooling == "max" else out.mean((2, 3))
    assert torch.allclose(features, expected.flatten(1), atol=1e-6)
    assert len(cut.backbone.stages) == layer
    assert len(cut.state_dict()) < len(whole.state_dict()), "unused parts are kept"


def test_there_is_no_dropout() -> None:
    network = nn.Sequential(nn.Dropout(0.5), timm.layers.DropPath(0.5), timm.layers.DropBlock2d(0.5)).train()
    x = torch.rand(2, 3, 20, 28)
    assert not torch.equal(network(x), x)
    assert torch.equal(disable_dropout(network)(x), x)


# The input of a network.


@pytest.mark.parametrize("size", [(256, 256), (200, 300), (300, 200), (57, 33), (20, 28), (224, 224), (225, 224)])
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
def test_framing_is_torchvisions_resize_and_center_crop(size: tuple[int, int], kernel: Any) -> None:
    from torchvision.transforms import v2

    x = torch.rand(2, 3, *size)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    framed = Framing(size, (224, 224), mean, std, crop_pct=0.875, kernel=kernel)(x)
    steps = [v2.Resize(256, v2.InterpolationMode(kernel), antialias=True), v2.CenterCrop(224)]
    expected = v2.Compose([*([] if size == (224, 224) else steps), v2.Normalize(mean, std)])(x)
    assert torch.allclose(framed, expected, atol=1e-4), (framed - expected).abs().max()
    assert framed.is_contiguous(memory_format=torch.channels_last)


def test_framing_of_oblong_and_squashed_images() -> None:
    assert crop_geometry((100, 100), (224, 224), 1.0) == ((224, 224), (0, 0))
    assert crop_geometry((200, 301), (224, 224), 0.875) == ((256, 385), (16, 80))  # 80.5 to the even, as Python rounds
    assert crop_geometry((100, 400), (96, 192), 1.0) == ((96, 384), (0, 96))
    assert crop_geometry((100, 400), (96, 96), 0.75, squash=True) == ((128, 128), (16, 16))


def test_framing_keeps_its_precision_under_autocast() -> None:
    framing, x = Framing((30, 40), (24, 24), [0.5] * 3, [0.5] * 3), torch.rand(2, 3, 30, 40)
    with torch.autocast("cpu", torch.bfloat16):
        framed = framing(x)
    assert framed.dtype == torch.float32 and torch.equal(framed, framing(x))


@pytest.mark.parametrize("size", [(300, 200), (199, 300), (640, 480), (224, 224), (90, 500)])
def test_images_are_read_as_timm_reads_them(tmp_path: Path, size: tuple[int, int]) -> None:
    from timm.data import create_transform

    grain = np.random.default_rng(0).integers(0, 256, (size[1] // 4 + 1, size[0] // 4 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(grain).resize(size, Image.Resampling.BICUBIC)
    image.save(tmp_path / "a.jpg", quality=90)
    for interpolation, share in (("bicubic", 0.875), ("bilinear", 0.95)):
        options = {"size": 224, "resize": "torchvision", "crop_pct": share, "interpolation": interpolation}
        source = aekit.open_data(tmp_path, {"images": options})
        rows, ok = source.read(np.array([0]))
        plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        transform = create_transform((3, 224, 224), crop_pct=share, interpolation=interpolation, **plain)
        expected = (transform(Image.open(tmp_path / "a.jpg").convert("RGB")) * 255).round().numpy()
        assert ok.all() and np.array_equal(rows[0], expected.astype(np.uint8))
        again = SampleSpec.from_dict(source.spec.to_dict())
        assert again == source.spec and aekit.open_data(tmp_path, like=again).spec == again


def test_a_spec_of_before_is_written_as_it_was() -> None:
    spec = SampleSpec("image", (3, 8, 8), "uint8", "crop")
    assert spec.to_dict() == {"kind": "image", "shape": [3, 8, 8], "dtype": "uint8", "resize": "crop"}
    with pytest.raises(DataError, match=r"crop_pct = 0.5: expected 1 with data.images.resize = 'pad'"):
        aekit.open_data("images:.", {"images": {"crop_pct": 0.5, "resize": "pad"}})


def test_the_note_says_how_images_should_be_read() -> None:
    odd = SampleSpec("image", (3, 64, 64), "uint8", "crop")
    assert encoder_of("test_efficientnet", odd).backbone.note == (
        "test_efficientnet: 6 stages; samples of 64x64 are resized to its input of 160x160; its pretrained weights expect "
        "images read with size = 160, resize = 'torchvision', crop_pct = 0.95, interpolation = 'bicubic'"
    )
    right = SampleSpec("image", (3, 160, 160), "uint8", "torchvision", 0.95)
    assert encoder_of("test_efficientnet", right).backbone.note == "test_efficientnet: 6 stages"


# Weights.


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    import os

    folder = Path(os.environ.get("AEKIT_DATA", "nowhere")) / "weights"
    if not (folder / LITE).is_file():
        pytest.skip("no EfficientNet-Lite0 in AEKIT_DATA")
    with np.load(folder / "efficientnet_lite0_reference.npz") as file:
        return {**file, "weights": np.array(str(folder / LITE)), "json": np.array(str(folder / LITE)[:-11] + "json")}


def lite(
    reference: dict[str, np.ndarray], model: str = "tf_efficientnet_lite0", **options: Any
) -> tuple[Encoder, float]:
    """The encoder, and the largest distance of its embeddings from the reference."""
    encoder = encoder_of(model, SampleSpec("image", (3, 224, 224), "uint8"), **options)
    load_pretrained(encoder, str(reference["weights"]))
    with torch.inference_mode():
        embeddings = encoder(torch.from_numpy(reference["crops"].transpose(0, 3, 1, 2).copy()))
    return encoder, float((embeddings - torch.from_numpy(reference["embeddings"])).abs().max())


def test_efficientnet_lite_gives_what_it_gave_elsewhere(reference: dict[str, np.ndarray]) -> None:
    encoder, away = lite(reference)
    assert away < 1e-3
    described = json.loads(Path(str(reference["json"])).read_text())
    assert encoder.record["weights"]["sha256"] == described["sha256"]
    framing = encoder.backbone.stages[0][0]  # type: ignore[index]
    assert framing.mean.flatten().tolist() == described["mean"] and framing.std.flatten().tolist() == described["std"]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("tf_efficientnet_lite0", {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}),
        ("tf_efficientnet_lite0", {"mean": [0.49]}),
        ("efficientnet_lite0", {"mean": [0.5], "std": [0.5]}),
    ],
)
def test_the_reference_tells_wrong_settings_and_the_wrong_sibling(
    reference: dict[str, np.ndarray], model: str, options: dict[str, Any]
) -> None:
    _, away = lite(reference, model, **options)
    assert away > 0.05, "the comparison with the reference would not notice"


def test_mean_and_deviation_can_be_given(reference: dict[str, np.ndarray]) -> None:
    encoder, _ = lite(reference, mean=[0.0], std=[1.0])
    wave = np.sin(0.01 * np.arange(3 * 224 * 224, dtype=np.float64)).reshape(1, 3, 224, 224)
    with torch.inference_mode():
        embedding = encoder.encode(torch.from_numpy(wave.astype(np.float32)))
    assert np.abs(embedding.numpy() - reference["synthetic_embedding"]).max() < 1e-3


@pytest.mark.parametrize("wrapping", ["", "state_dict", "model"])
def test_files_of_torch_are_read_without_running_them(tmp_path: Path, wrapping: str) -> None:
    network = trained("test_resnet", tmp_path / "w.safetensors")
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({wrapping: state, "epoch": 3} if wrapping else state, tmp_path / "w.pth")
    ours, theirs = encoder_of("test_resnet"), encoder_of("test_resnet", seed=1)
    load_pretrained(ours, str(tmp_path / "w.safetensors"))
    load_pretrained(theirs, str(tmp_path / "w.pth"))
    assert ours.digest == theirs.digest, "the path of the weights is not part of the identity"
    assert theirs.record["weights"].get("part", "") == wrapping
    torch.save({"state_dict": network}, tmp_path / "code.bin")
    with pytest.raises(DataError, match=r"code.bin: cannot be read as weights: holds more than weights"):
        read_weights(tmp_path / "code.bin")


def test_weights_load_whole_or_not_at_all(tmp_path: Path) -> None:
    network = trained("test_resnet", tmp_path / "w.safetensors")
    state = network.state_dict()
    encoder = encoder_of("test_resnet")
    before = encoder.digest
    state["layer1.0.extra"] = torch.ones(1)
    state["conv1.0.weight"] = torch.ones(1, 3, 3, 3)
    del state["conv1.1.bias"]
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(RecipeError) as failure:
        load_pretrained(encoder, str(tmp_path / "bad.safetensors"))
    missing, extra, shape = failure.value.problems
    assert "for test_resnet: weights missing (1): conv1.1.bias" in missing
    assert "weights unexpected (1): layer1.0.extra" in extra
    assert "weights of another shape (1): conv1.0.weight of (1, 3, 3, 3) instead of" in shape
    assert encoder.digest == before and "weights" not in encoder.record


@pytest.mark.parametrize(("channels", "spread"), [(1, 3.0), (5, 1.0)])
def test_other_channels_than_three(tmp_path: Path, channels: int, spread: float) -> None:
    network = trained("test_resnet", tmp_path / "w.safetensors")
    encoder = encoder_of("test_resnet", SampleSpec("image", (channels, 32, 32), "uint8"), size=32)
    load_pretrained(encoder, str(tmp_path / "w.safetensors"))
    weight = next(p for p in encoder.backbone.parameters() if p.ndim == 4)
    theirs = network.conv1[0].weight
    assert weight.shape[1] == channels
    if channels == 1:
        assert torch.allclose(weight, theirs.sum(1, keepdim=True))
    with torch.no_grad():
        assert encoder(torch.zeros(2, channels, 32, 32, dtype=torch.uint8)).isfinite().all()


def test_pretrained_comes_from_timms_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = trained("test_resnet", tmp_path / "w.safetensors", classes=1000)
    asked = []

    def fetched(where: str, **_: Any) -> dict[str, Tensor]:
        asked.append(where)
        return dict(network.state_dict())

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fetched)
    encoder, local = encoder_of("test_resnet"), encoder_of("test_resnet")
    load_pretrained(encoder, "pretrained")
    load_pretrained(local, str(tmp_path / "w.safetensors"))
    assert asked == ["timm/test_resnet.r160_in1k"] == [encoder.record["weights"]["hub"]]
    assert encoder.digest == local.digest


def test_a_missing_hub_gives_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect\nlong\nexplanation")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    with pytest.raises(RecipeError, match=r"encoder.weights = 'pretrained': cannot load test_resnet: \w+"):
        load_pretrained(encoder_of("test_resnet"), "pretrained")


def test_an_encoder_no_longer_needs_its_initial_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained("test_vit", tmp_path / "w.safetensors")
    encoder = encoder_of("test_vit", dim=4)
    load_pretrained(encoder, str(tmp_path / "w.safetensors"))
    encoder.save(tmp_path / "encoder")
    (tmp_path / "w.safetensors").unlink()
    monkeypatch.setattr(
        type(encoder.backbone), "load_pretrained", lambda *_: pytest.fail("asks for its first weights again")
    )
    again = aekit.load(tmp_path / "encoder")
    assert again.digest == encoder.digest and again.record["weights"] == encoder.record["weights"]
    assert again.with_random_weights(1).digest != again.digest
    assert "| initial weights | from = " in (tmp_path / "encoder" / "README.md").read_text()


# Runs.

FAST = {
    "encoder.timm.model": "test_resnet",
    "encoder.timm.size": 32,
    "train.precision": "fp32",
    "train.batch_size": 8,
}


def test_training_goes_on_from_an_earlier_encoder(tmp_path: Path) -> None:
    data = images()
    aekit.fit(data, backbone="timm", dim=4, epochs=1, overrides=FAST, out=tmp_path / "first")
    first = aekit.load(tmp_path / "first")
    overrides = {**FAST, "encoder.weights": str(tmp_path / "first")}
    messages = Said()
    untrained = aekit.fit(
        data[:8], backbone="timm", dim=4, epochs=0, overrides=overrides, out=tmp_path / "kept", progress=messages
    )
    assert untrained.digest == first.digest, "without training, with the scaling of the first encoder"
    assert "no training: the encoder keeps the weights of" in messages
    assert not (tmp_path / "kept" / "decoder").exists() and "trained" not in untrained.record
    assert untrained.record["weights"]["digest"] == first.digest
    assert "not trained further" in (tmp_path / "kept" / "report.html").read_text()
    further = aekit.fit(data, backbone="timm", dim=4, epochs=1, overrides=overrides | {"train.lr": 1e-9})
    names = [name for name, _ in first.named_parameters()]
    old, new = first.state_dict(), further.state_dict()
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in names)
    with pytest.raises(RecipeError, match=r"has another architecture: dim was 4, now 5"):
        aekit.fit(data, backbone="timm", dim=5, epochs=1, overrides=overrides)
    with pytest.raises(RecipeError, match=r"was trained on image 3x20x28 uint8, but the data is image 3x9x9 uint8"):
        aekit.fit(images(shape=(3, 9, 9)), backbone="timm", dim=4, epochs=1, overrides=overrides)


def test_any_backbone_goes_on_from_its_own(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(3, 2, (40, 6)).astype(np.float32)
    first = aekit.fit(rows, dim=2, epochs=1, overrides={"train.precision": "fp32"}, out=tmp_path / "first")
    untrained = aekit.fit(rows[:20], dim=2, epochs=0, overrides={"encoder.weights": str(tmp_path / "first")})
    assert untrained.digest == first.digest
    with pytest.raises(RecipeError, match=r"encoder.weights = 'w.pth': backbone 'mlp' has no weights of that name"):
        aekit.fit(rows, dim=2, epochs=1, overrides={"encoder.weights": "w.pth"})
    with pytest.raises(DataError, match="no encoder here"):
        aekit.fit(rows, dim=2, epochs=1, overrides={"encoder.weights": str(tmp_path)})


@pytest.mark.parametrize(
    "settings", [{}, {"encoder.hidden": [6]}, {"encoder.timm.pooling": "none"}, {"encoder.dim": 0}]
)
def test_it_learns_as_an_autoencoder(settings: dict[str, Any]) -> None:
    messages = Said()
    overrides = FAST | {"train.lr": 1e-2, "encoder.dim": 4} | settings
    encoder = aekit.fit(images(), backbone="timm", epochs=3, overrides=overrides, progress=messages)
    assert encoder.record["metrics"]["explained"] > -0.5
    assert "backbone: test_resnet: 5 stages; samples of 20x28 are resized to its input of 32x32" in messages


def test_frozen_stages_and_finetuning(tmp_path: Path) -> None:
    data, labels = images(60), np.arange(60) % 3
    frozen = {"encoder.frozen": "all", "encoder.dim": 3}
    trained("test_resnet", tmp_path / "w.safetensors")
    overrides = FAST | frozen | {"encoder.weights": str(tmp_path / "w.safetensors")}
    encoder = aekit.fit(data, backbone="timm", epochs=1, overrides=overrides)
    expected_encoder, theirs = encoder_of("test_resnet", size=32), encoder.backbone.state_dict()
    load_pretrained(expected_encoder, str(tmp_path / "w.safetensors"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in expected_encoder.backbone.state_dict().items())
    settings: dict[str, Any] = {"epochs": 1, "precision": "fp32", "baselines": False}
    # With two labels a class there is no validation sample that could prefer the frozen encoder.
    tuned = aekit.finetune(encoder, data, labels=labels, layers=2, per_class=2, **settings)
    changed = {
        int(name.split(".")[1])
        for name, parameter in tuned.classifier.encoder.backbone.named_parameters()
        if not torch.equal(parameter, theirs[name])
    }
    assert changed == {4}
    assert tuned.classifier.encoder.record["weights"] == encoder.record["weights"]


@pytest.mark.parametrize(("model", "ending"), [("test_efficientnet", "onnx"), ("test_vit", "pt2")])
def test_the_export_has_the_preprocessing_inside(tmp_path: Path, model: str, ending: str) -> None:
    if ending == "onnx":
        pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    export = aekit.export_encoder(encoder_of(model, dim=4), tmp_path / f"m.{ending}", data=images())
    assert export["difference"] <= export["tolerance"]


def test_it_keeps_the_contract_when_it_is_cut() -> None:
    report = check("backbone", "aekit/timm", {"model": "test_vit", "size": 32, "pooling": "avg", "layer": 3})
    assert report.ok, str(report)


# Mistakes.


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            "encoder.timm.model=resnet1888",
            "encoder.timm.model = 'resnet1888': no such network in timm {v}; did you mean 'resnet18",
        ),
        ("encoder.timm.model=zzzzzzzz", "encoder.timm.model = 'zzzzzzzz': no such network in timm {v}"),
        ("encoder.timm.layer=9", "encoder.timm.layer = 9: expected 1 to 5, the number of stages of test_resnet"),
        (
            "encoder.timm.mean=[0.5,0.5]",
            "backbone 'timm' cannot take image 3x20x28 uint8: mean = [0.5, 0.5], std = None",
        ),
        (
            "encoder.weights=w.pth",
            "encoder.weights = 'w.pth': expected 'pretrained', a file of weights, or the folder of",
        ),
        (
            "encoder.scaling=standard",
            "encoder.weights = 'pretrained': test_resnet needs samples in [0, 1]; set encoder.scaling",
        ),
    ],
)
def test_mistakes_give_one_line_errors(command: Command, tmp_path: Path, settings: str, expected: str) -> None:
    np.save(tmp_path / "x.npy", images())
    base = ["--set", "encoder.timm.model=test_resnet", "--set", "encoder.weights=pretrained"]
    outcome = command("fit", tmp_path / "x.npy", "-o", tmp_path / "run", "--backbone", "timm", *base, "--set", settings)
    assert outcome.error.startswith(expected.format(v=timm.__version__))
    assert not (tmp_path / "run").exists()


def test_series_and_unfit_sizes_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"backbone 'timm' cannot take series 2x16 uint8: expected images"):
        encoder_of("test_resnet", SampleSpec("series", (2, 16), "uint8"))
    with pytest.raises(RecipeError, match=r"test_vit: cannot be built for images of 7x9|greater than or equal to 8"):
        encoder_of("test_vit", size=[7, 9])


def test_missing_timm_gives_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    expected = r"backbone 'timm' needs the package timm: pip install timm torchvision$"
    with pytest.raises(AekitError, match=expected):
        encoder_of("test_resnet")


# Stages of any network, and a decoder for it.


class Toy(nn.Module):
    """Three linear maps, and something between the second and the third."""

    def __init__(self, between: str) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 3)
        self.between = between

    def add(self, x: Tensor) -> Tensor:
        return x + 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        if self.between == "copy":
            y = y + 1
        elif self.between == "in place":
            y += 1
        elif self.between == "skip":
            y = y + x
        elif self.between == "method":
            y = self.add(y)
        return self.c(y) * 2 if self.between == "end" else self.c(y)


@pytest.mark.parametrize("between", ["nothing", "copy", "in place", "skip", "method", "end"])
def test_what_happens_between_modules_is_noticed(between: str) -> None:
    toy = Toy(between).eval()
    groups = groups_by_name([name for name, _ in toy.named_parameters()])
    assert groups == {f"{n}.{w}": g for g, n in enumerate(["a", "b.0", "c"]) for w in ("weight", "bias")}
    x = torch.rand(2, 3)
    if between in ("copy", "in place", "skip", "end"):
        where = "end of the network" if between == "end" else "before c"
        with pytest.raises(NotSequentialError, match=where):
            plan_stages(toy, toy.forward, x, groups=groups, candidates=[["add"]])
        return
    stages = build_stages(toy, plan_stages(toy, toy.forward, x, groups=groups, candidates=[["add"]]), lambda step: None)
    assert len(stages) == 3
    with torch.no_grad():
        assert torch.equal(stages[2](stages[1](stages[0](x))), toy(x))


@pytest.mark.parametrize(
    ("features_shape", "shape"),
    [
        ((7,), (3, 224, 192)),
        ((7,), (1, 9, 17)),
        ((5,), (2, 13)),
        ((5,), (3, 5, 13, 10)),
        ((8, 7, 7), (3, 100, 60)),
        ((3,), (1, 1, 1)),
    ],
)
def test_upsampling_gives_any_shape(features_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
    decoder = Upsampling(features_shape, shape)
    assert decoder(torch.randn(2, *features_shape)).shape == (2, *shape)
    with pytest.raises(NotImplementedError, match=r"cannot upsample to vectors \(4,\)"):
        Upsampling(features_shape, (4,))


def test_a_network_is_traced_once_for_equal_options(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[str] = []
    trace = timm_backbone.plan_stages

    def counted(network: nn.Module, *args: Any, **kwargs: Any) -> Any:
        traced.append(type(network).__name__)
        return trace(network, *args, **kwargs)

    monkeypatch.setattr(timm_backbone, "plan_stages", counted)
    monkeypatch.setattr(timm_backbone, "_SKETCHES", {})
    spec = SampleSpec("image", (3, 160, 160), "uint8")
    first, second = (encoder_of("test_vit", spec).backbone for _ in range(2))
    assert len(traced) == 1 and not set(map(id, first.parameters())) & set(map(id, second.parameters()))
    x = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(first(x), second(x))
    assert (first.patch, first.tokens_dim) == (second.patch, second.tokens_dim) == ((16, 16), 64)
    assert first.features_shape == second.features_shape
    cut = encoder_of("test_vit", spec, layer=2).backbone
    assert len(traced) == 2 and len(cut.stages) == 2, "other options are traced anew"
    for size in range(16, 16 * timm_backbone.MAX_SKETCHES + 32, 16):
        encoder_of("test_resnet", size=[32, size])
    assert len(timm_backbone._SKETCHES) <= timm_backbone.MAX_SKETCHES
