"""The script for a machine with a GPU runs here on the CPU, and ends with a table whatever fails."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.syspath_prepend(str(FOLDER))
    import gpu

    yield gpu
    for name in ("gpu", "gpu_cases", "gpu_correctness"):
        sys.modules.pop(name, None)


def test_it_compares_and_measures_on_the_cpu() -> None:
    command = [sys.executable, FOLDER / "gpu.py", "--quick", "--device", "cpu", "--only", "evaluate,probe,kNN"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rankings: 100.00% of the positions are equal" in done.stdout
    table = done.stdout.split("part        seconds  outcome\n")[1].splitlines()
    assert [line.split()[0] for line in table] == ["evaluate", "probe", "kNN"]
    assert all(line.endswith("  ok") for line in table)


def test_a_part_that_fails_is_named_and_the_next_one_runs(gpu: object, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
        """Fail."""
        yield "one line"
        raise RuntimeError("no kernel\nfor this device")

    def is_wrong(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
        """Be wrong."""
        yield "WRONG a difference of 1"
        yield "fine"

    gpu.PARTS |= {"fails": fails, "wrong": is_wrong}  # type: ignore[attr-defined]
    run = [gpu.run_part(part, argparse.Namespace(), torch.device("cpu")) for part in ("fails", "wrong")]  # type: ignore[attr-defined]
    assert run == ["failed: RuntimeError: no kernel", "1 wrong"]
    assert "fails: Fail.\n  one line" in capsys.readouterr().out


def test_what_there_is_no_time_for_is_counted(gpu: object, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(part_end=time.monotonic() + 60)
    begun = []
    for item in gpu.in_time(arguments, "abc"):  # type: ignore[attr-defined]
        begun.append(item)
        arguments.part_end = time.monotonic() - 1
    assert begun == ["a"] and "2 of 3 left out" in capsys.readouterr().out
