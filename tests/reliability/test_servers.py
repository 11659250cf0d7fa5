"""Servers that are killed and that many ask at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="serving needs the extra 'serve'")

from load import load

pytestmark = pytest.mark.reliability
SCRIPT = Path(__file__).with_name("served_kills.py")


@pytest.mark.parametrize("count", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_killed_server_damages_no_growing_index(count: int, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    arguments = [sys.executable, str(SCRIPT), str(tmp_path), str(count)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["tried"] == count and not result["wrong"], result


@pytest.mark.slow
def test_two_hundred_connections_are_answered(tmp_path: Path) -> None:
    result = load(tmp_path, 8)
    assert not result["wrong"] and result["searches"]["requests"] > 500, result
