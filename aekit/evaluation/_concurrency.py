"""Run several computations side by side, each with a share of the threads of the linear algebra libraries."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from aekit.shared_settings import SharedSetting, warning_rules

BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""Environment variable that OpenBLAS reads when it is loaded."""


@contextmanager
def computing_threads(count: int) -> Iterator[None]:
    """Let torch and BLAS in this process use as many threads within the context, as other processes compute beside it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with _blas_threads.changed_to(_BlasThreads(count)):
            yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _BlasThreads:
    """Threads that BLAS may use.

    Attributes:
        count: in each library, also one that is loaded later, as that of SciPy may be.
        by_library: path of a library -> its own number.
        variable: value of the environment variable, or None.
    """

    count: int
    by_library: Mapping[str, int] = field(default_factory=dict)
    variable: str | None = ""


def _read_blas_threads() -> _BlasThreads:
    variable = os.environ.get(BLAS_THREADS)
    libraries = {library.filepath: library.num_threads for library in _blas_libraries()}
    return _BlasThreads(int(variable or torch.get_num_threads()), libraries, variable)


def _write_blas_threads(threads: _BlasThreads) -> None:
    os.environ.pop(BLAS_THREADS, None)
    if threads.variable is not None:
        os.environ[BLAS_THREADS] = threads.variable or str(threads.count)
    for library in _blas_libraries():
        library.set_num_threads(threads.by_library.get(library.filepath, threads.count))


def _blas_libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    libraries: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries


_blas_threads: SharedSetting[_BlasThreads] = SharedSetting(
    _read_blas_threads, _write_blas_threads, lambda asked: min(asked, key=lambda threads: threads.count)
)
"""The fewest threads that any context asks for, as more may hang within those of OpenMP."""


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
        with warning_rules(), _blas_threads.changed_to(_BlasThreads(1)):
            try:
                yield executor.submit
            finally:
                executor.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(threads)
