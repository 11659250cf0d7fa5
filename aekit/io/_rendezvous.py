"""Meet the other processes that torchrun has started, apart from those of an earlier start.

torchrun keeps one store of keys while it starts processes again, and gloo puts the addresses of processes into it under names
that are the same each time. A process that comes first would find the address of one that has ended, and fail with "connection
refused". So the processes of a start agree on a name for their keys.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from aekit.errors import RecipeError

POLL_SECONDS = 0.02
"""Time between two looks for processes that have arrived."""


def meet(store: Any, rank: int, size: int, seconds: float) -> str:
    """Return a name that all processes of this start have, and none of an earlier start had.

    Each process says hello under a number of its own. The first one answers all of them, until every process has confirmed
    the name; hellos of processes that have ended are answered in vain.

    Args:
        store: a `torch.distributed.Store` of all processes.
        rank: number of this process.
        size: number of processes.
        seconds: the longest time to wait for the others.

    Raises:
        TimeoutError: a process has not come.
        RecipeError: a process expects another number of processes; it is raised in that one and in the first.
    """
    if rank:
        number = store.add("aekit/hellos", 1)
        store.set(f"aekit/hello/{number}", str(rank))
        name, first_size = store.get(f"aekit/welcome/{number}").decode().split()
        store.set(f"aekit/confirmed/{name}/{number}", str(size))
        if int(first_size) != size:
            raise _of_sizes(int(first_size), size, rank)
        return str(name)
    name, until = uuid.uuid4().hex, time.monotonic() + seconds
    count, expected, answered, missing = 0, set[int](), dict[int, int](), set(range(1, size))
    while missing:
        said = store.add("aekit/hellos", 0)
        expected |= set(range(count + 1, said + 1))
        count = said
        for number in [number for number in expected if store.check([f"aekit/hello/{number}"])]:
            expected.discard(number)
            answered[number] = int(store.get(f"aekit/hello/{number}"))
            store.set(f"aekit/welcome/{number}", f"{name} {size}")
        for number in [number for number in answered if store.check([f"aekit/confirmed/{name}/{number}"])]:
            other, other_size = answered.pop(number), int(store.get(f"aekit/confirmed/{name}/{number}"))
            if other_size != size:
                raise _of_sizes(size, other_size, other)
            missing.discard(other)
        if missing and time.monotonic() > until:
            raise TimeoutError(f"processes {', '.join(map(str, sorted(missing)))} did not join within {seconds:.0f} s")
        if missing:
            time.sleep(POLL_SECONDS)
    return name


def _of_sizes(size: int, other_size: int, other: int) -> RecipeError:
    """Return the error for two numbers of processes, of which each would wait for those that only it expects."""
    return RecipeError(
        [
            f"WORLD_SIZE: {size} in process 0, {other_size} in process {other}; "
            "start torchrun on all hosts with the same --nnodes and --nproc-per-node"
        ]
    )
