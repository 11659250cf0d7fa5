"""Objectives whose backbone several processes share (FSDP2) have the losses and the weights of a single process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aekit.registry.discovery import registry

PROGRAM = Path(__file__).parent / "sharded_training.py"
SECONDS = 600
REFUSED = {"contractive", "linear"}
Case = tuple[str, str, dict[str, Any], dict[str, Any]]


def compared(cases: list[Case], folder: Path, size: int = 2) -> dict[str, list[dict[str, Any]]]:
    """Return the results of all processes by the name of the plugin."""
    processes = []
    for rank in range(size):
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "TORCHELASTIC_RUN_ID": "test"}
        variables |= {"AEKIT_MEETING": folder / "meeting", "OMP_NUM_THREADS": 1}
        environment = os.environ | {name: str(value) for name, value in variables.items()}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        processes.append(subprocess.Popen([sys.executable, PROGRAM], env=environment, text=True, **pipes))  # type: ignore[call-overload]
    for process in processes:
        process.stdin.write(json.dumps(cases))
        process.stdin.close()
        process.stdin = None
    outputs = [process.communicate(timeout=SECONDS) for process in processes]
    assert all(process.returncode == 0 for process in processes), outputs[0][1][-2000:]
    return {name: results for name, *results in map(json.loads, outputs[0][0].splitlines())}


def check(results: list[dict[str, Any]], tolerance: float = 1e-5) -> None:
    for rank, result in enumerate(results):
        assert result["loss"] <= tolerance and result["weights"] <= tolerance, result
        assert abs(result["own"] - 1 / len(results)) < 0.2, result
        assert result["other files"] == [] and result["attributes"] == [] and result["hooks"] == 0, result
        assert result["gone"] == (rank > 0), result


def test_objectives_agree_with_a_single_process(tmp_path: Path) -> None:
    """A loss that compares samples, a teacher that follows the backbone, and Adam, whose state is in checkpoints."""
    adam = {"optimizer": "adamw", "momentum": 0.9, "lr": 1e-5}
    cases: list[Case] = [
        ("variant", "sparse-kl", {}, {}),
        ("variant", "plain", {}, adam),
        ("pretext", "dino", {}, {}),
        ("variant", "contractive", {}, {}),
    ]
    results = compared(cases, tmp_path)
    message = "train.sharding = 'full': contractive needs whole weights; use another objective, or 'none'"
    assert results.pop("contractive") == [{"refused": message}] * 2
    assert len(results) == 3
    for one in results.values():
        check(one)


@pytest.mark.slow
def test_every_objective_agrees_with_a_single_process(tmp_path: Path) -> None:
    cases = [(kind, one.name, {}, {}) for kind in ("variant", "pretext") for one in registry().by_kind(kind)]
    results = compared(cases, tmp_path)
    assert {name for name, (one, _) in results.items() if "refused" in one} == REFUSED
    for name in set(results) - REFUSED:
        check(results[name])


@pytest.mark.slow
def test_bfloat16_agrees_with_that_of_a_single_process(tmp_path: Path) -> None:
    names = {"variant": ["plain", "sparse-kl"], "pretext": ["masked", "distillation", "dino"]}
    results = compared([(kind, one, {}, {"precision": "bf16"}) for kind in names for one in names[kind]], tmp_path)
    for name, one in results.items():
        check(one, 1e-3 if name == "dino" else 1e-5)  # its center starts from outputs in bfloat16


@pytest.mark.slow
def test_three_processes_divide_rows_unevenly(tmp_path: Path) -> None:
    check(compared([("variant", "denoising", {}, {"optimizer": "adam", "lr": 1e-5})], tmp_path, size=3)["denoising"])
