"""Run the tests of databases on Milvus Lite, in a process of their own: its server runs in there, and has crashed it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRIES = 3


def test_the_tests_of_databases_pass_on_milvus_lite(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus")
    pytest.importorskip("milvus_lite")
    tests = Path(__file__).with_name("test_databases.py")
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", "milvus", str(tests)]
    environment = os.environ | {"AEKIT_TEST_MILVUS": "1"}
    for trial in range(TRIES):
        options = ["--basetemp", str(tmp_path / str(trial)), "-c", str(Path(__file__).parents[3] / "pyproject.toml")]
        done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment, check=False)
        if done.returncode >= 0:  # not ended by a signal
            break
    assert done.returncode == 0 and "skipped" not in done.stdout, f"{done.stdout[-4000:]}{done.stderr[-1000:]}"
