"""Run code as several processes would, in threads of one process, which talk to each other by gloo."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

from aekit.io.processes import Ranks

T = TypeVar("T")
SECONDS = 60
"""Time that a rank waits for the others."""


def run_ranks(function: Callable[[Ranks], T], size: int = 2) -> list[T]:
    """Return the results of a function that is called by several ranks at once.

    Args:
        function: takes the ranks. Threads share global state: it must not set seeds, for example.
        size: number of ranks.
    """
    store = dist.HashStore()

    def run(rank: int) -> T:
        return function(Ranks(rank, size, dist.ProcessGroupGloo(store, rank, size, timedelta(seconds=SECONDS))))

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(run, range(size)))
