"""Meet the other processes that torchrun has started, apart from those of an earlier start.

torchrun keeps one store of keys while it starts processes again, and gloo puts the addresses of processes into it under names
that are the same each time. A process that comes first would find the address of one that has ended, and fail with "connection
refused". So the processes of a start agree on a name for their keys.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

POLL_SECONDS = 0.02
"""Time between two looks for processes that have arrived."""


def meet(store: Any, rank: int, size: int, seconds: float) -> str:
    """Return a name that all processes of this start have, and none of an earlier start had.

    Each process says hello under a number of its own. The first one answers under these numbers, which nobody has used before,
    until every process has confirmed the name; hellos of processes that have ended are answered in vain.

    Args:
        store: a `torch.distributed.Store` of all processes.
        rank: number of this process.
        size: number of processes.
        seconds: the longest time to wait for the others.

    Raises:
        TimeoutError: a process has not come.
    """
    if rank:
        number = uuid.uuid4().hex
        store.set(f"aekit/hello/{rank}", number)
        name = store.get(f"aekit/welcome/{number}").decode()
        store.set(f"aekit/confirmed/{name}/{rank}", b"1")
        return name
    name, until = uuid.uuid4().hex, time.monotonic() + seconds
    answered: dict[int, str] = {}
    missing = set(range(1, size))
    while missing:
        for other in sorted(missing):
            if store.check([f"aekit/confirmed/{name}/{other}"]):
                missing.discard(other)
            elif store.check([f"aekit/hello/{other}"]):
                number = store.get(f"aekit/hello/{other}").decode()
                if answered.get(other) != number:
                    answered[other] = number
                    store.set(f"aekit/welcome/{number}", name)
        if missing and time.monotonic() > until:
            raise TimeoutError(f"processes {', '.join(map(str, sorted(missing)))} did not join within {seconds:.0f} s")
        if missing:
            time.sleep(POLL_SECONDS)
    return name
