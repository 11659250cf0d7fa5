"""Run several computations side by side, each with a share of the threads of the linear algebra libraries."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""Environment variable that OpenBLAS reads when it is loaded."""


@contextmanager
def computing_threads(count: int) -> Iterator[None]:
    """Let torch and BLAS in this process use as many threads within the context, as other processes compute beside it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with _blas_threads(count):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _blas_threads(count: int) -> Iterator[None]:
    """Limit the threads of BLAS within the context, also of one that is loaded there, as that of SciPy may be."""
    from threadpoolctl import ThreadpoolController

    before, set_before = ThreadpoolController().select(user_api="blas"), os.environ.get(BLAS_THREADS)
    os.environ[BLAS_THREADS] = str(count)
    try:
        with before.limit(limits=count):
            yield
    finally:
        os.environ.pop(BLAS_THREADS, None)
        if set_before is not None:
            os.environ[BLAS_THREADS] = set_before
        known = {library.filepath for library in before.lib_controllers}
        for library in ThreadpoolController().select(user_api="blas").lib_controllers:
            if library.filepath not in known:
                library.set_num_threads(int(set_before or torch.get_num_threads()))


@contextmanager
def concurrently(count: int, beside: int = 0) -> Iterator[Callable[..., Future[Any]]]:
    """Yield a function like `Executor.submit`; leaving the context drops what has not started and waits for what has.

    The threads that torch and OpenMP may use are shared out among the workers, because threads that wait for each other within
    small products cost more than they bring. BLAS has one thread for each worker: its limit belongs to the whole process, and
    OpenBLAS may hang with threads of its own within those of OpenMP. Filters of warnings, which belong to the whole process,
    are restored at the end.

    Args:
        count: number of computations.
        beside: number of processes that compute too.
    """
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    workers = max(1, min(count, threads))
    share = max(1, threads // (workers + beside))

    def limit() -> None:
        torch.set_num_threads(share)
        threadpool_limits(share, user_api="openmp")  # of this thread alone

    executor = ThreadPoolExecutor(workers, "evaluator", limit)
    try:
        with warnings.catch_warnings(), _blas_threads(1):
            try:
                yield executor.submit
            finally:
                executor.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(threads)
