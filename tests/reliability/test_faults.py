"""A command whose disk, memory, clock or folders fail says so in one line, and goes on once they are mended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("faults.py")


def outcomes(commands: str, place: Path, *arguments: str) -> list[dict]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    line = [sys.executable, str(SCRIPT), commands, str(place), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(printed) for printed in done.stdout.splitlines()]


def check(results: list[dict], rows: int) -> None:
    assert len(results) == rows and all(result["tried"] for result in results)
    wrong = {f"{result['command']}, {result['fault']}": result["wrong"] for result in results if result["wrong"]}
    assert not wrong


@pytest.mark.reliability
def test_a_few_faults(tmp_path: Path) -> None:
    check(outcomes("embed,index,classify", tmp_path, "full,read-only,signals,clock", "--most", "2"), 12)


@pytest.mark.slow
@pytest.mark.reliability
def test_all_faults(tmp_path: Path) -> None:
    check(outcomes("all", tmp_path, "all", "--most", "6"), 250)
