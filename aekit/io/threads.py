"""Let threads of numerical libraries fit a machine that other processes, or a container's quota, share."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from aekit.io._cgroups import ROOT, cpu_quota

VARIABLE = "AEKIT_THREADS"
"""Environment variable with the number of threads that a worker process may run, set by the process that starts it."""
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SPIN_COUNT = "10000"
"""How often a thread of GNU OpenMP looks for work before it sleeps. Its default of some milliseconds takes the core from the
thread that is waited for, where other processes are busy: training a small network was 7 times slower. Alone on a
machine, this count costs less than the noise, and a tenth of it a fifth for small networks."""


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


def limited_threads(threads: int) -> dict[str, str]:
    """Return environment variables that limit the threads of a new process; libraries read theirs when they are loaded."""
    return dict.fromkeys((VARIABLE, *COUNTS), str(threads))


def _allowed_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
