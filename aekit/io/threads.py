"""Let threads of numerical libraries fit a machine that other processes, or a container's quota, share."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from aekit.io._cgroups import ROOT, cpu_quota

VARIABLE = "AEKIT_THREADS"
"""Environment variable with the number of threads that a worker process may run, set by the process that starts it."""
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SPIN_COUNT = "10000"
"""How often a thread of GNU OpenMP looks for work before it sleeps. Its default of some milliseconds takes the core from the
thread that is waited for, where other processes are busy: training a small network was 7 times slower. Alone on a
machine, this count costs less than the noise, and a tenth of it a fifth for small networks."""
MIN_OPERATIONS = 2**33
"""Products of numbers from which threads of their own pay for parts of a computation: a fifth of a second on one core."""
_ONE_POOL = threading.Lock()

Part = TypeVar("Part")
Result = TypeVar("Result")


def share_cores(environment: MutableMapping[str, str] = os.environ, cgroups: Path = ROOT) -> None:
    """Set environment variables that OpenMP and OpenBLAS read when they are loaded; what the user has set stays.

    Results do not depend on how threads wait, but on their number, which is lowered only to a container's quota.

    Args:
        environment: the variables.
        cgroups: where Linux describes the quota of this process.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(environment):
        environment["GOMP_SPINCOUNT"] = SPIN_COUNT
    quota = cpu_quota(cgroups)
    if quota is not None and quota < _allowed_cores():
        for name in COUNTS:
            environment.setdefault(name, str(quota))


def usable_cores() -> int:
    """Return the number of cores that this process may use: those it is bound to, at most a container's quota.

    In a worker process it is the share that the process which started it has set.
    """
    share = os.environ.get(VARIABLE, "")
    if share.isdecimal() and int(share):
        return int(share)
    return min(_allowed_cores(), cpu_quota() or _allowed_cores())


def computing_threads() -> int:
    """Return the number of threads that this thread may compute with.

    It is that of torch where it is imported, which evaluators share out; else that of usable cores, and what the user has set.
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return min(usable_cores(), int(chosen)) if chosen.isdecimal() and int(chosen) else usable_cores()


def in_threads(function: Callable[[Part], Result], parts: Sequence[Part], operations: float) -> Iterable[Result]:
    """Apply a function of NumPy to each part, in as many threads as this one may compute with, and return the results in order.

    Products by BLAS use several threads by themselves, but sorting and selecting do not. While there are threads here, each
    product has one, as that is a setting of the whole process; if such a computation runs already, this one has one thread.

    Args:
        function: that only reads what the parts share.
        parts: to compute.
        operations: about how many products of numbers all of it takes; little work is done in this thread.
    """
    threads = min(len(parts), computing_threads())
    if operations < MIN_OPERATIONS or threads < 2 or not _ONE_POOL.acquire(blocking=False):
        return map(function, parts)
    try:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads, "compute") as pool:
            return list(pool.map(function, parts))
    finally:
        _ONE_POOL.release()


def limited_threads(threads: int) -> dict[str, str]:
    """Return environment variables that limit the threads of a new process; libraries read theirs when they are loaded."""
    return dict.fromkeys((VARIABLE, *COUNTS), str(threads))


def _allowed_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
