"""Processes of one start find each other, and none that an earlier start has left in the store."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch.distributed as dist

from aekit.io._rendezvous import meet

SCRIPT = """
import os, signal, time
from aekit.io.processes import joined

rank, attempt = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
if attempt and rank == {late}:
    time.sleep(1)  # the other one looks for the address of this one, and finds that of the killed one
with joined() as ranks:
    values = ranks.gather_values([attempt, rank])
    if not attempt and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if not attempt:
        time.sleep(60)
print(values, flush=True)
"""


def names(store: dist.Store, size: int) -> set[str]:
    with ThreadPoolExecutor(size) as pool:
        return set(pool.map(lambda rank: meet(store, rank, size, 20.0), reversed(range(size))))


def test_all_processes_of_a_start_agree_on_a_new_name() -> None:
    store = dist.HashStore()
    first, second, third = (names(store, size) for size in (3, 3, 2))
    assert len(first) == len(second) == len(third) == len(first | second | third) / 3 == 1


def test_hellos_of_processes_that_have_ended_do_not_count() -> None:
    store = dist.HashStore()
    store.set("aekit/hello/1", "of a process that was killed before it was answered")
    with pytest.raises(TimeoutError, match="processes 1, 2 did not join within 0 s"):
        meet(store, 0, 3, 0.1)
    assert len(names(store, 3)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("late", [0, 1])
def test_a_killed_process_comes_back_whoever_is_late(late: int, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(late=late))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "--max-restarts", "1", str(script)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[[1, 0], [1, 1]]"] * 2
