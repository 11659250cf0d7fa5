"""Processes of one start find each other, and none that an earlier start has left in the store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch.distributed as dist

from aekit.errors import RecipeError
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
    store.set(f"aekit/hello/{store.add('aekit/hellos', 1)}", "1")  # of a process that was killed before it was answered
    store.add("aekit/hellos", 1)  # of one that was killed before that
    with pytest.raises(TimeoutError, match="processes 1, 2 did not join within 0 s"):
        meet(store, 0, 3, 0.1)
    assert len(names(store, 3)) == 1


@pytest.mark.parametrize(("sizes", "of"), [({0: 2, 1: 3}, 1), ({0: 3, 1: 2}, 1), ({0: 2, 2: 4, 3: 4}, 2)])
def test_processes_that_expect_different_numbers_do_not_wait_for_each_other(sizes: dict[int, int], of: int) -> None:
    store = dist.HashStore()
    with ThreadPoolExecutor(len(sizes)) as pool:
        meetings = {rank: pool.submit(meet, store, rank, size, 20.0) for rank, size in sizes.items()}
        for rank in (0, of):
            with pytest.raises(
                RecipeError, match=rf"WORLD_SIZE: {sizes[0]} in process 0, {sizes[of]} in process \d; start"
            ):
                meetings[rank].result()


BY_HAND = """
from aekit.errors import AekitError
from aekit.io.processes import joined

try:
    with joined():
        pass
except AekitError as error:
    print(error, flush=True)
"""


def test_processes_started_by_hand_with_different_numbers_end_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank, size in ((0, 3), (1, 2)):
        place = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = os.environ | place | {"TORCHELASTIC_RUN_ID": "by-hand", "OMP_NUM_THREADS": "1"}
        started.append(
            subprocess.Popen([sys.executable, "-c", BY_HAND], stdout=subprocess.PIPE, text=True, env=environment)
        )
    try:
        said = [process.communicate(timeout=180)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    line = "WORLD_SIZE: 3 in process 0, 2 in process 1; start torchrun on all hosts with the same --nnodes and --nproc-per-node"
    assert [text.strip() for text in said] == [line, line]


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
