"""Training that does not fit into memory is refused before its first step, and what fits is not changed by the look at it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from PIL import Image

import aekit
from aekit.errors import AekitWarning, OutOfMemoryError
from aekit.io import memory
from aekit.training import _step_memory, phases
from aekit.training._live_bytes import LiveBytes
from aekit.training._step_memory import MemoryWarning, StepMemory

MIB = 2**20
FP32 = {"train.precision": "fp32", "evaluate.evaluators": []}


def limited(monkeypatch: pytest.MonkeyPatch, megabytes: float) -> None:
    monkeypatch.setattr(_step_memory, "spendable_memory", lambda: int(megabytes * MIB))
    monkeypatch.setattr(_step_memory, "LIBRARIES", 0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write 48 images of 48 x 48."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(48):
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Let every step be measured; receives (samples of a step, what it takes)."""
    seen: list[Any] = []
    needs = _step_memory._needs

    def record(state: Any, batches: Any, *rest: Any) -> StepMemory | None:
        result = needs(state, batches, *rest)
        seen.append((batches, result))
        return result

    monkeypatch.setattr(_step_memory, "_needs", record)
    monkeypatch.setattr(_step_memory, "HEAVIEST", 2**60)
    yield seen


def test_a_step_that_cannot_fit_is_refused_and_the_advice_helps(
    photos: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limited(monkeypatch, 40)
    fit = ["fit", photos, "-o", tmp_path / "run", "--epochs", "1", "--no-report", "--set", "train.precision=fp32"]
    fit += ["--set", "evaluate.evaluators=[]", "--set"]
    refused = command(*fit, "train.batch_size=48")
    assert refused.code == 2 and refused.err.count("error: ") == 1 and not (tmp_path / "run").exists()
    said = re.search(
        r"error: train.batch_size = 48: a training step takes about ([\d.]+) MiB of memory, and 40.0 MiB are free; "
        r"expected train.batch_size = (\d+) or less or (data\.\S+\.size) = (\d+) or less; set AEKIT_MEMORY",
        refused.err,
    )
    assert said and float(said[1]) > 44 and 1 <= int(said[2]) < 48 and 8 <= int(said[4]) < 48
    command.ok(*fit, "train.batch_size=48", "--set", f"{said[3]}={said[4]}")
    command.ok("fit", photos, "-o", tmp_path / "other", *fit[4:], f"train.batch_size={said[2]}")


def test_a_step_that_nearly_takes_all_memory_is_announced(monkeypatch: pytest.MonkeyPatch, measured: list[Any]) -> None:
    data = np.random.default_rng(0).normal(size=(64, 3, 200)).astype(np.float32)
    aekit.fit(data, epochs=1, overrides=FP32)
    batches, needs = measured[-1]
    needed = needs.at(batches.batch_size)
    for share in (0.95, 1.2):
        limited(monkeypatch, needed / MIB / share)
        if share < 1:
            with pytest.warns(MemoryWarning, match="the system ends the process if it does not fit"):
                aekit.fit(data, epochs=1, overrides=FP32)
        else:
            with pytest.raises(OutOfMemoryError, match=r"expected train.batch_size = \d+ or less"):
                aekit.fit(data, epochs=1, overrides=FP32)


def test_weights_alone_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0.1)
    data = np.random.default_rng(0).normal(size=(64, 100)).astype(np.float32)
    with pytest.raises(OutOfMemoryError, match="expected a smaller network; set AEKIT_MEMORY"):
        aekit.fit(data, epochs=1, overrides=FP32)


OBJECTIVES: dict[str, dict[str, Any]] = {
    "autoencoder": {},
    "denoising": {"variants": ["denoising"]},
    "variational": {"variants": ["vae"]},
    "codebook": {"variants": ["vq"]},
    "simclr": {"pretexts": ["simclr"]},
    "dino": {"pretexts": ["dino"]},
    "masked": {"pretexts": ["masked"]},
    "both": {"variants": ["contractive"], "pretexts": ["rotation"]},
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_nothing_is_changed_and_the_estimate_is_that_of_a_whole_step(
    name: str, measured: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.random.default_rng(0).integers(0, 256, (36, 16, 16, 3), dtype=np.uint8)
    options: dict[str, Any] = {"batch_size": 12, "epochs": 2, "backbone": "conv", "dim": 4, "overrides": FP32}
    states: list[Any] = []
    check = phases.check_step_memory

    def keep(state: Any, batches: Any, settings: Any, size: Any) -> None:
        check(state, batches, settings, size)
        weights = sum(p.numel() * p.element_size() for p in state.objective.trained())
        whole = _step_memory._trace(_step_memory._copy(state.objective), batches, batches.batch_size, False, weights)
        states.append(max(whole) + 2 * weights)

    monkeypatch.setattr(phases, "check_step_memory", keep)
    torch.manual_seed(5)
    digest = aekit.fit(data, **options, **OBJECTIVES[name]).digest
    drawn = torch.rand(2)
    (batches, needs), (whole,) = measured[-1], states
    # Where samples are drawn for augmentations, what the network takes is counted for each sample.
    assert needs is not None and 0.9 * whole < needs.at(batches.batch_size) < 1.5 * whole

    monkeypatch.setattr(phases, "check_step_memory", lambda *arguments: None)
    torch.manual_seed(5)
    assert aekit.fit(data, **options, **OBJECTIVES[name]).digest == digest
    assert torch.equal(torch.rand(2), drawn)


def test_a_small_network_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_step_memory, "_trace", lambda *arguments: pytest.fail("measured"))
    aekit.fit(np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32), epochs=1, overrides=FP32)


def test_what_cannot_be_measured_is_trained(measured: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("needs more samples")

    monkeypatch.setattr(_step_memory, "_trace", fail)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AekitWarning)
        aekit.fit(np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32), epochs=1, overrides=FP32)
    assert measured[-1][1] is None


def test_the_largest_batch_is_that_of_the_moment_that_grows_most() -> None:
    needs = StepMemory(100, [(50.0, 1.0), (0.0, 10.0)])
    assert [needs.at(0), needs.at(5), needs.at(10)] == [150, 155, 200]
    assert needs.most_samples(200) == 10 and needs.most_samples(140) == 0
    assert StepMemory(0, _step_memory._moments([[5, 9], [7, 9]], (2, 4), 1)).at(10) == 13
    assert StepMemory(0, _step_memory._moments([[5, 9], [7, 9, 12]], (2, 4), 2)).at(8) == 22  # other operations


def test_tensors_are_counted_until_they_are_freed() -> None:
    x = torch.zeros(100)
    with LiveBytes() as live:
        y = x + 1
        z = y.view(10, 10)[:5]
        del y, z
        x.mul_(2)
    assert live.after[0] == 400 and live.after[-1] == 0 and live.total == 400


def test_memory_that_linux_lets_a_process_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_meminfo", lambda: {"MemAvailable": 700, "SwapFree": 200})
    for by_group, stated, expected in ((None, "", 900), (300, "", 300), (300, "600", 600), (None, "600", 900)):
        monkeypatch.setattr(memory, "unused_memory", lambda by_group=by_group: by_group)
        monkeypatch.setenv("AEKIT_MEMORY", stated) if stated else monkeypatch.delenv("AEKIT_MEMORY", raising=False)
        assert memory.spendable_memory() == expected
    monkeypatch.setattr(memory, "_meminfo", dict)
    assert memory.spendable_memory() is None


def test_processes_share_the_memory_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = SimpleNamespace(batch_size=100, local_size=50, ranks=SimpleNamespace(size=2))
    said = _step_memory._message(StepMemory(0, [(0.0, 10.0 * MIB)]), batches, 200 * MIB, 1, None)  # type: ignore[arg-type]
    assert said == (
        "train.batch_size = 100: the share of each of 2 processes in a training step takes about 500.0 MiB of memory, and "
        "200.0 MiB are free; expected train.batch_size = 6 or less"
    )
