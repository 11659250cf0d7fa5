"""Processes that share the weights of a backbone (FSDP2) train as a single one does."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchrun import TORCHRUN, Gate, finished, rank, started

import aekit
from aekit.errors import RecipeError, TrainingError
from aekit.progress import Progress

CONV: dict[str, Any] = {
    "encoder.backbone": "conv",
    "encoder.conv.channels": [4, 8],
    "encoder.conv.norm": "batch",
    "objective.variants": ["denoising", "sparse-kl"],
}
FIT: dict[str, Any] = {
    "encoder.dim": 5,
    "train.epochs": 2,
    "train.batch_size": 15,  # an odd number, so that the shares differ in size
    "train.precision": "fp32",
    "train.clip": 0.05,
    "train.checkpoint_seconds": 0.0,
    "evaluate.evaluators": [],
}
SHARED: dict[str, Any] = {"train.sharding": "full"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, np.random.default_rng(0).random((96, 1, 8, 8)).astype(np.float32))
    return path


def fit(data: Path, out: Path, **options: Any) -> aekit.Encoder:
    overrides = options.pop("overrides", {})
    overrides = FIT | ({} if "encoder.backbone" in overrides else CONV) | overrides
    return aekit.fit(data, overrides=overrides, out=out, report=False, **options)


def close(actual: aekit.Encoder, expected: aekit.Encoder) -> None:
    for name, tensor in expected.state_dict().items():
        assert torch.allclose(actual.state_dict()[name], tensor, rtol=1e-5, atol=1e-5), name


@pytest.fixture(scope="module")
def together(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in two processes that share weights, and that nothing has disturbed."""
    run = tmp_path_factory.mktemp("together") / "run"
    fit(data, run, overrides=SHARED, processes=2)
    return run


def assert_same_run(shared: Path, alone: Path) -> None:
    encoder, expected = aekit.load(shared), aekit.load(alone)
    close(encoder, expected)
    assert encoder.record["metrics"]["loss"] == pytest.approx(expected.record["metrics"]["loss"], rel=1e-5)
    for name in ("encoder", "decoder"):
        files = [sorted(path.name for path in (run / name).iterdir()) for run in (shared, alone)]
        assert files[0] == files[1]


def test_shared_weights_are_those_of_a_single_process(data: Path, together: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "alone")
    assert_same_run(together, tmp_path / "alone")


@pytest.mark.slow
def test_shared_weights_are_those_of_a_single_process_with_sgd(data: Path, tmp_path: Path) -> None:
    settings = {"train.optimizer": "sgd"}
    fit(data, tmp_path / "alone", overrides=settings)
    fit(data, tmp_path / "shared", overrides=settings | SHARED, processes=2)
    assert_same_run(tmp_path / "shared", tmp_path / "alone")


def command(data: Path, run: Path) -> list[object]:
    words = [f"{name}={value}".replace("'", '"') for name, value in (FIT | CONV | SHARED).items()]
    return ["-m", "aekit", "fit", data, "-o", run, "--no-report", *(part for word in words for part in ("--set", word))]


def test_a_killed_process_comes_back_from_a_checkpoint_of_whole_weights(
    data: Path, together: Path, tmp_path: Path
) -> None:
    run, gate = tmp_path / "run", Gate(tmp_path / "gate")
    process = started(*TORCHRUN, "--max-restarts", 1, *command(data, run), **gate.variables)
    with gate.closed(process):
        os.kill(rank(1, run), signal.SIGKILL)
    code, said = finished(process)
    assert code == 0 and said.count("resuming after step") == 1, said
    assert aekit.load(run).digest == aekit.load(together).digest


@pytest.mark.slow
def test_a_stopped_run_goes_on_in_any_number_of_processes(data: Path, together: Path, tmp_path: Path) -> None:
    run, gate = tmp_path / "run", Gate(tmp_path / "gate")
    process = started(sys.executable, *command(data, run), "--processes", 2, **gate.variables)
    with gate.closed(process):
        os.kill(rank(1, run), signal.SIGINT)
    code, said = finished(process)
    assert code == 130 and said.count("stopped at step") == 1, said
    shutil.copytree(run, tmp_path / "kept")
    expected = aekit.load(together)
    assert fit(data, run, overrides=SHARED, resume=True, processes=2).digest == expected.digest
    for number in (1, 3):
        kept = shutil.copytree(tmp_path / "kept", tmp_path / f"of {number}")
        close(fit(data, kept, overrides=SHARED, resume=True, processes=number), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"objective.pretexts": ["masked"]},  # which encodes the visible patches alone
        {"objective.pretexts": ["rotation"], "train.low_rank": 4},
        {"objective.pretexts": ["masked"], "train.precision": "bf16"},
    ],
    ids=["masked", "low-rank updates", "bf16"],
)
def test_a_vision_transformer_of_timm(settings: dict[str, Any], tmp_path: Path) -> None:
    data = tmp_path / "images.npy"
    np.save(data, np.random.default_rng(0).integers(0, 256, (24, 3, 32, 32), dtype=np.uint8))
    vit: dict[str, Any] = {
        "encoder.backbone": "timm",
        "encoder.timm.model": "vit_tiny_patch16_224",
        "encoder.timm.size": 32,
    }
    plain = {"train.optimizer": "sgd", "train.lr": 1e-3, "train.epochs": 1}
    settings = vit | plain | settings
    if "train.low_rank" in settings:  # they adapt a trained backbone
        fit(data, tmp_path / "before", overrides=vit | plain | {"objective.pretexts": ["rotation"]})
        settings["encoder.weights"] = str(tmp_path / "before")
    alone = fit(data, tmp_path / "alone", overrides=settings)
    close(fit(data, tmp_path / "shared", overrides=settings | SHARED, processes=2), alone)


def test_a_single_process_has_all_weights(data: Path, tmp_path: Path) -> None:
    """So a recipe for several processes runs in one, and a run of several goes on in one."""
    said = Said()
    encoder = fit(data, tmp_path / "run", overrides={"train.sharding": "full", "train.epochs": 1}, progress=said)
    assert "train.sharding: a single process has all weights" in said.lines
    assert encoder.digest == fit(data, tmp_path / "none", overrides={"train.epochs": 1}).digest


class Said(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_fine_tuning_refuses_to_share_weights(data: Path, tmp_path: Path) -> None:
    encoder = fit(data, tmp_path / "run", overrides={"train.epochs": 1})
    labels = np.arange(96) % 2
    with pytest.raises(
        RecipeError, match=r"^train.sharding = 'full': fine-tuning shares no weights; set it to 'none'$"
    ):
        aekit.finetune(encoder, data, labels=labels, sharding="full")


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"encoder.frozen": 1},
        {"train.optimizer": "lbfgs", "train.clip": 0.0, "objective.variants": ["plain"]},
        {"layerwise.epochs": 1},
        {"objective.variants": ["contractive"]},
    ],
)
def test_what_needs_whole_weights_is_one_line(settings: dict[str, Any], data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^train.sharding = 'full': "):
        fit(data, tmp_path / "run", overrides=settings | SHARED, processes=2)
