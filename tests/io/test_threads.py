"""Tests of how threads share a machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aekit.io.threads import SPIN_COUNT, share_cores


def test_threads_are_lowered_to_the_quota_unless_the_user_has_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    environment = {"OPENBLAS_NUM_THREADS": "7"}
    share_cores(environment, tmp_path)
    assert environment == {
        "OPENBLAS_NUM_THREADS": "7",
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "GOMP_SPINCOUNT": SPIN_COUNT,
    }
    environment = {"OMP_WAIT_POLICY": "active"}
    share_cores(environment, tmp_path / "nowhere")
    assert environment == {"OMP_WAIT_POLICY": "active"}


def test_commands_set_it_before_libraries_are_loaded() -> None:
    code = (
        "import sys, aekit.cli, os\n"
        "sys.argv = ['aekit', '--version']\n"
        "try:\n    aekit.cli.main()\nexcept SystemExit:\n    pass\n"
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if "OMP" not in name}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == f"{SPIN_COUNT} False"
