"""Share the cores of a machine among processes."""

from __future__ import annotations

import os

VARIABLE = "AEKIT_THREADS"
"""Environment variable with the number of threads that a worker process may run, set by the process that starts it."""
_LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def core_count() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count() -> int:
    """Return how many threads a pool of this process should have: its share in a worker, else one a core."""
    share = os.environ.get(VARIABLE, "")
    return int(share) if share.isdecimal() and int(share) else os.cpu_count() or 1


def limited_threads(threads: int) -> dict[str, str]:
    """Return environment variables that limit the threads of a new process; libraries read theirs when they are loaded."""
    return dict.fromkeys((VARIABLE, *_LIBRARIES), str(threads))
