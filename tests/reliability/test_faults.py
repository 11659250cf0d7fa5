"""A command whose disk, memory, clock or folders fail says so in one line, and goes on once they are mended."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run_trials

SCRIPT = Path(__file__).with_name("faults.py")


def check(results: list[dict], rows: int) -> None:
    assert len(results) == rows and all(result["tried"] for result in results)
    wrong = {f"{result['command']}, {result['fault']}": result["wrong"] for result in results if result["wrong"]}
    assert not wrong


@pytest.mark.reliability
def test_a_few_faults(tmp_path: Path) -> None:
    check(run_trials(SCRIPT, "embed,index,classify", tmp_path, "full,read-only,signals,clock", "--most", "2"), 12)


@pytest.mark.slow
@pytest.mark.reliability
def test_all_faults(tmp_path: Path) -> None:
    check(run_trials(SCRIPT, "all", tmp_path, "all", "--most", "6"), 250)
