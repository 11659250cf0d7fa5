"""Tests of how threads share a machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController

from aekit.evaluation.neighbors import nearest_neighbors
from aekit.io import threads
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


def blas_threads() -> set[int]:
    return {library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers}


@pytest.mark.parametrize("allowed", [1, 4])
def test_parts_are_computed_in_the_threads_that_are_allowed(allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "computing_threads", lambda: allowed)
    both = threading.Barrier(min(allowed, 2), timeout=20)
    seen: list[tuple[str, set[int]]] = []

    def compute(part: int) -> int:
        both.wait()  # passes only if as many parts run at a time
        seen.append((threading.current_thread().name, blas_threads()))
        return part * part

    before = blas_threads()
    assert list(threads.in_threads(compute, range(6), threads.MIN_OPERATIONS)) == [0, 1, 4, 9, 16, 25]
    here = threading.current_thread().name
    assert all((name == here) == (allowed == 1) for name, _ in seen)
    assert allowed == 1 or all(limits == {1} for _, limits in seen)
    assert blas_threads() == before


def test_little_work_and_a_second_computation_stay_in_their_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "computing_threads", lambda: 4)

    def names(_: int) -> list[str]:
        return list(threads.in_threads(lambda _: threading.current_thread().name, range(3), threads.MIN_OPERATIONS))

    here = threading.current_thread().name
    assert list(threads.in_threads(lambda _: threading.current_thread().name, range(3), 10)) == [here] * 3
    for inner in threads.in_threads(names, range(3), threads.MIN_OPERATIONS):
        assert len(set(inner)) == 1 and inner[0].startswith("compute"), "threads within threads"
    with pytest.raises(ZeroDivisionError):
        list(threads.in_threads(lambda part: 1 // part, range(3), threads.MIN_OPERATIONS))
    assert set(names(0)) != {here}, "an error leaves the threads free"


def test_neighbors_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(700, 20)).astype(np.float32)
    expected = nearest_neighbors(x, x, 5)
    monkeypatch.setattr(threads, "computing_threads", lambda: 3)
    monkeypatch.setattr(threads, "MIN_OPERATIONS", 1)
    for ours, theirs in zip(nearest_neighbors(x, x, 5), expected):
        assert np.array_equal(ours, theirs)


def test_threads_are_those_of_torch_or_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads.computing_threads() == torch.get_num_threads()
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(threads, "usable_cores", lambda: 16)
    for value, expected in (("", 16), ("3", 3), ("40", 16), ("0", 16)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert threads.computing_threads() == expected
