"""A pretrained network stands beside the baselines: named, found, left out with a reason, kept, and in the answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from commands import FAST, Command, Said
from safetensors.torch import load_file, save_file

import aekit
from aekit.data.source import ArraySource
from aekit.encoder.pretrained import networks_at_hand, open_pretrained
from aekit.errors import AekitError, RecipeError
from aekit.evaluation._backbone_features import backbone_features
from aekit.evaluation.baselines import _cache, _pretrained
from aekit.evaluation.baselines._pretrained import pretrained_baseline
from aekit.progress import SILENT
from aekit.registry.discovery import registry

MODEL = "test_resnet"
Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def photographs() -> Data:
    """Images of two classes, bright on the left or on the right."""
    labels = np.arange(120) % 2
    images = np.random.default_rng(0).integers(0, 120, (120, 3, 32, 32)).astype(np.uint8)
    images[labels == 0, :, :, :16] += 100
    images[labels == 1, :, :, 16:] += 100
    return images, np.where(labels, "right", "left")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as `$AEKIT_DATA/weights` holds them, of a network that nobody trained."""
    folder = tmp_path_factory.mktemp("data") / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(timm.create_model(MODEL, num_classes=5).state_dict(), folder / "tiny.safetensors")
    (folder / "tiny.json").write_text(json.dumps({"timm_architecture": MODEL}))
    (folder / "other.json").write_text("[1]")
    return folder / "tiny.safetensors"


@pytest.fixture
def at_hand(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing but these weights is on the machine."""
    monkeypatch.delenv("AEKIT_PRETRAINED")
    monkeypatch.setenv("AEKIT_DATA", str(weights.parents[1]))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return weights


@pytest.fixture(scope="module")
def encoder(photographs: Data) -> aekit.Encoder:
    return aekit.fit(photographs[0], dim=4, backbone="conv", overrides=FAST)


def evaluation(encoder: aekit.Encoder, data: Data, **options: object) -> aekit.Evaluation:
    embeddings = encoder.embed(data[0])
    return aekit.evaluate(embeddings, data[1], evaluators=["knn"], checks=False, **options)


def test_a_named_network_is_a_column_and_the_answer_names_it(
    encoder: aekit.Encoder, photographs: Data, weights: Path
) -> None:
    named = evaluation(encoder, photographs, pretrained=f"timm:{MODEL}@{weights}")
    assert list(named.results) == ["encoder", "raw", "pca-4", "random", "patch-dictionary", MODEL]
    assert list(named.compared_with) == [MODEL] and named.titles[MODEL] == f"pretrained {MODEL}"
    assert f"pretrained {MODEL} on k-nearest neighbors" in named.headline and "raw pixels" in named.headline
    assert f"{MODEL} is pretrained and frozen: timm:{MODEL} (tiny.safetensors); samples of 32x32 are" in named.notes[-1]
    network = open_pretrained(f"timm:{MODEL}@{weights}", encoder.spec, encoder.preprocess, place="test")
    assert not any(parameter.requires_grad for parameter in network.parameters())
    whole = timm.create_model(MODEL, num_classes=5)
    whole.load_state_dict(load_file(weights))
    assert network.record["weights"]["sha256"]
    raw = torch.from_numpy(photographs[0][:2])
    with torch.no_grad():
        shown = network.backbone.stages[0][0](raw / 255)  # type: ignore[index]
        expected = whole.eval().forward_head(whole.forward_features(shown), pre_logits=True)
        torch.testing.assert_close(network(raw), expected.flatten(1), rtol=1e-4, atol=1e-5)


def test_weights_at_hand_are_found_said_and_kept_for_the_next_evaluation(
    encoder: aekit.Encoder,
    photographs: Data,
    at_hand: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cached = tmp_path / "hub" / "models--timm--resnet18.a1_in1k" / "snapshots" / "1"
    cached.mkdir(parents=True)
    (cached / "model.safetensors").write_bytes(b"")
    (tmp_path / "hub" / "models--timm--interrupted.a1").mkdir()
    assert networks_at_hand() == [f"timm:{MODEL}@{at_hand}", "timm:resnet18.a1_in1k"]
    backbone = registry().get("backbone", "timm").load()
    assert backbone.pretrained_at_hand(encoder.spec) == [{"model": "resnet18.a1_in1k"}]
    monkeypatch.setattr(_cache, "MIN_SECONDS", 0)
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    first, second = Said(), Said()
    one = evaluation(encoder, photographs, progress=first)
    other = evaluation(encoder, photographs, progress=second)
    assert any(line.startswith(f"{MODEL} is pretrained and frozen") for line in first.lines)
    assert sum("baselines: read from" in line for line in second.lines) == 3
    assert one.results[MODEL]["knn"].metrics == other.results[MODEL]["knn"].metrics


def test_features_of_pretrained_networks_are_computed_on_the_free_cores(
    encoder: aekit.Encoder, photographs: Data, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    asked: list[str] = []
    source, rows = ArraySource(photographs[0]), np.arange(120)
    baseline = pretrained_baseline(
        f"timm:{MODEL}@{weights}", source, rows, encoder, [], SILENT, free_cores=lambda: asked.append("named") or 1
    )
    assert baseline is not None and baseline.features.shape[0] == 120 and set(asked) == {"named"}
    backbone_features(source, rows, encoder, free_cores=lambda: asked.append("bare") or 1)
    assert "bare" in asked


def test_what_is_not_compared_with_says_why(
    encoder: aekit.Encoder,
    photographs: Data,
    at_hand: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_pretrained, "MAX_SECONDS", 0.0)
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    slow = evaluation(encoder, photographs)
    assert MODEL not in slow.results
    assert "would take about 0 minutes for 120 samples; name it to evaluate it anyway" in slow.notes[-1]
    assert MODEL in evaluation(encoder, photographs, pretrained=f"timm:{MODEL}").results
    assert MODEL not in evaluation(encoder, photographs, pretrained="none").results
    alone = evaluation(encoder, photographs, pretrained=f"timm:{MODEL}", baselines=False)
    assert f"not compared with timm:{MODEL}, as there are no baselines" in alone.notes
    at_hand.with_suffix(".json").rename(at_hand.with_suffix(".kept"))
    try:
        said = Said()
        assert MODEL not in evaluation(encoder, photographs, progress=said).results
        assert any(
            "no weights are on this machine; name one as pretrained (--pretrained)" in line for line in said.lines
        )
    finally:
        at_hand.with_suffix(".kept").rename(at_hand.with_suffix(".json"))


def test_small_images_and_vectors_are_compared_with_a_network_only_if_it_is_named(
    at_hand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (60, 1, 16, 16)).astype(np.uint8)
    labels = np.arange(60) % 2
    small = aekit.fit(images, dim=4, backbone="mlp", overrides=FAST)
    assert list(evaluation(small, (images, labels)).results) == [
        "encoder",
        "raw",
        "pca-4",
        "random",
        "patch-dictionary",
    ]
    monkeypatch.setenv("AEKIT_PRETRAINED", f"timm:{MODEL}")
    assert MODEL in evaluation(small, (images, labels)).results
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    table = aekit.fit(vectors, dim=4, backbone="mlp", overrides=FAST)
    result = evaluation(table, (vectors, labels))
    assert MODEL not in result.results
    assert (
        "not compared with a pretrained network: pretrained = 'timm:test_resnet': backbone 'timm' cannot"
        in result.notes[-1]
    )


def test_an_encoder_that_is_the_network_is_not_compared_with_itself(photographs: Data, at_hand: Path) -> None:
    settings = {"encoder.weights": str(at_hand), "encoder.dim": 0, "train.epochs": 0, "encoder.timm.model": MODEL}
    unchanged = aekit.fit(photographs[0], backbone="timm", overrides=settings)
    result = evaluation(unchanged, photographs)
    assert MODEL not in result.results and "the encoder itself has the weights" in result.notes[-1]


def test_an_encoder_is_compared_with_another_one(encoder: aekit.Encoder, photographs: Data, tmp_path: Path) -> None:
    other = aekit.fit(photographs[0], dim=3, backbone="mlp", overrides=FAST | {"train.seed": 1})
    other.save(tmp_path / "other")
    named = f"encoder {other.digest[:12]}"
    assert named in evaluation(encoder, photographs, pretrained=tmp_path / "other").results
    with pytest.raises(RecipeError, match=r"takes image 3x32x32 uint8, but the data is image 1x16x16 uint8"):
        small = aekit.fit(np.zeros((9, 1, 16, 16), np.uint8) + np.arange(16, dtype=np.uint8), dim=2, overrides=FAST)
        open_pretrained(str(tmp_path / "other"), small.spec, small.preprocess, place="pretrained")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", "expected the folder of an aekit encoder, or BACKBONE:MODEL such as timm:resnet18.a1_in1k"),
        ("timm:", "expected the folder of an aekit encoder"),
        ("timm:test_resnett", "no such network in timm .*; did you mean 'test_resnet'?"),
        ("timm:test_resnet@nowhere.safetensors", "nowhere.safetensors: no such file of weights"),
        ("conv:resnet18", "backbone 'conv' has no pretrained networks"),
        ("timn:resnet18", "no backbone 'timn'; did you mean 'timm'?"),
    ],
)
def test_mistakes_are_reported_in_one_line(name: str, expected: str, encoder: aekit.Encoder, photographs: Data) -> None:
    with pytest.raises(AekitError, match=expected) as caught:
        evaluation(encoder, photographs, pretrained=name)
    assert "\n" not in str(caught.value) and repr(name) in str(caught.value)


def test_commands_take_the_name_and_a_recipe_is_checked_before_training(
    command: Command, photographs: Data, weights: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "photographs.npz", x=photographs[0], y=photographs[1])
    fast = [text for name, value in FAST.items() for text in ("--set", f"{name}={value}")]
    fit = (
        "fit",
        tmp_path / "photographs.npz",
        "--dim",
        4,
        *fast,
        "--set",
        "evaluate.evaluators=['knn']",
        "--no-report",
        "-o",
    )
    wrong = command(*fit, tmp_path / "wrong", "--set", "evaluate.pretrained=timm:test_resnett")
    assert "evaluate.pretrained = 'timm:test_resnett'" in wrong.error and not (tmp_path / "wrong").exists()
    command.ok(*fit, tmp_path / "run", "--set", f"evaluate.pretrained=timm:{MODEL}@{weights}")
    assert MODEL in json.loads((tmp_path / "run" / "results.json").read_text())["evaluation"]["results"]
    assert str(weights) not in (tmp_path / "run" / "recipe.toml").read_text()
    command.ok("embed", tmp_path / "run", tmp_path / "photographs.npz", "-o", tmp_path / "embeddings")
    name = f"timm:{MODEL}@{weights}"
    out = command.ok("evaluate", tmp_path / "embeddings", "--evaluator", "knn", "--no-checks", "--pretrained", name)
    assert f"worse than pretrained {MODEL}" in out or f"pretrained {MODEL} on" in out
    assert command("evaluate", tmp_path / "embeddings", "--pretrained", "resnet18").error.startswith(
        "pretrained = 'resnet18'"
    )
