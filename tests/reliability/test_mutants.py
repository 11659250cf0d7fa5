"""A changed artifact is refused in one line, or gives the same answer; no change is accepted in silence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("mutants.py")


def read_mutants(place: Path, count: int, *options: str) -> str:
    """Read mutants in a process of its own, as it forks before torch starts threads; return what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, str(SCRIPT), "--count", str(count), "--no-record", "--base", str(place), *options]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.reliability
def test_some_mutants(tmp_path: Path) -> None:
    printed = read_mutants(tmp_path, 65, "--seed", "1")
    counts = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) refused", printed)]
    assert len(counts) == 14 and sum(counts) > 32 and " 0 wrong" in printed


@pytest.mark.slow
@pytest.mark.reliability
def test_many_mutants(tmp_path: Path) -> None:
    read_mutants(tmp_path, 20_000)
