"""A command that is killed at any file operation goes on, and ends with what it would have ended with undisturbed."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run_trials
from crashes import commands

SCRIPT = Path(__file__).with_name("crashes.py")
CHANGING = ["fit", "finetune", "embed", "embed-growing", "index", "index-growing"]
"""Commands that go on with what is there."""
REPLACING = ["cluster", "map", "explore", "anomalies", "apply", "classify", "evaluate", "compare", "report"]
"""Commands that begin anew."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crashes")


@pytest.mark.reliability
@pytest.mark.parametrize("names, operations", [(CHANGING, "2,5"), (REPLACING, "3")], ids=["changing", "replacing"])
def test_an_early_kill_is_no_dead_end(names: list[str], operations: str, place: Path) -> None:
    results = run_trials(SCRIPT, ",".join(names), place, operations)
    assert [result["command"] for result in results] == names
    for result in results:
        assert result["tried"] == len(operations.split(",")) and not result["wrong"], result


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.parametrize("command", [*commands(Path())])
def test_a_kill_at_every_file_operation(command: str, place: Path) -> None:
    (result,) = run_trials(SCRIPT, command, place, "all")
    assert result["tried"] == result["operations"] > 3 and not result["wrong"], result


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.parametrize("command", [*commands(Path())])
def test_a_kill_at_a_random_time(command: str, place: Path) -> None:
    (result,) = run_trials(SCRIPT, command, place, "--random", "10")
    assert result["tried"] == 10 and not result["wrong"], result
