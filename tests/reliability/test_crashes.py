"""A command that is killed at any file operation goes on, and ends with what it would have ended with undisturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("crashes.py")
EARLY = "2,5,9"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crashes")


def outcome(command: str, place: Path, operations: str) -> dict:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    arguments = [sys.executable, str(SCRIPT), command, str(place), operations]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.reliability
@pytest.mark.parametrize("command", ["fit", "finetune", "embed", "index"])
def test_an_early_kill_is_no_dead_end(command: str, place: Path) -> None:
    result = outcome(command, place, EARLY)
    assert result["tried"] == 3 and not result["wrong"], result


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.parametrize(
    "command", ["fit", "layerwise", "finetune", "bench", "embed", "index", "cluster", "anomalies", "apply"]
)
def test_a_kill_at_every_file_operation(command: str, place: Path) -> None:
    result = outcome(command, place, "all")
    assert result["tried"] == result["operations"] > 5 and not result["wrong"], result
