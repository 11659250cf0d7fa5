"""A command that is killed at any file operation goes on, and ends with what it would have ended with undisturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from crashes import commands

SCRIPT = Path(__file__).with_name("crashes.py")
CHANGING = ["fit", "finetune", "embed", "embed-growing", "index", "index-growing"]
"""Commands that go on with what is there."""
REPLACING = ["cluster", "map", "explore", "anomalies", "apply", "classify", "evaluate", "compare", "report"]
"""Commands that begin anew."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crashes")


def outcomes(commands: str, place: Path, *how: str) -> list[dict]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    arguments = [sys.executable, str(SCRIPT), commands, str(place), *how]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.reliability
@pytest.mark.parametrize("names, operations", [(CHANGING, "2,5,9"), (REPLACING, "3")], ids=["changing", "replacing"])
def test_an_early_kill_is_no_dead_end(names: list[str], operations: str, place: Path) -> None:
    results = outcomes(",".join(names), place, operations)
    assert [result["command"] for result in results] == names
    for result in results:
        assert result["tried"] == len(operations.split(",")) and not result["wrong"], result


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.parametrize("command", [*commands(Path())])
def test_a_kill_at_every_file_operation(command: str, place: Path) -> None:
    (result,) = outcomes(command, place, "all")
    assert result["tried"] == result["operations"] > 3 and not result["wrong"], result


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.parametrize("command", [*commands(Path())])
def test_a_kill_at_a_random_time(command: str, place: Path) -> None:
    (result,) = outcomes(command, place, "--random", "10")
    assert result["tried"] == 10 and not result["wrong"], result
