"""Compute batches side by side on the cores of the machine, each in a thread that has its own copy of the network.

Threads that share one batch wait for each other at the end of every layer. That takes half of the processor time beside other
work, and some of it on an idle machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aekit.encoder._folding import copy_sharing_tensors

MAX_BATCHES = 8
"""Batches at a time. More would wait for Python's lock; on more cores each batch has several threads."""


class Copies:
    """Copies of a network that share its tensors, one for each batch that is computed at a time.

    Args:
        network: in eval mode; its forward pass depends on its input alone.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._idle = [network]

    def run(self, compute: Callable[[nn.Module, Tensor], Tensor], batch: Tensor) -> Tensor:
        """Return what `compute` returns for a copy that no other thread uses."""
        try:
            network = self._idle.pop()
        except IndexError:
            network = copy_sharing_tensors(self.network)
        try:
            return compute(network, batch)
        finally:
            self._idle.append(network)


def is_copyable(network: nn.Module) -> bool:
    """Return whether copies of a network can take its place: whether it can be copied, and has no hooks of others."""
    if any(module._forward_hooks or module._forward_pre_hooks for module in network.modules()):
        return False
    try:
        copy_sharing_tensors(network)
    except Exception:  # networks are code of others
        return False
    return True


def compute_side_by_side(
    compute: Callable[[nn.Module, Tensor], Tensor],
    copies: Copies,
    batches: Sequence[Tensor],
    free_cores: Callable[[], int],
) -> list[Tensor]:
    """Compute batches and return the results in order.

    Args:
        compute: function of a network and a batch, called in several threads.
        copies: of the network.
        batches: to compute.
        free_cores: number of cores to use; called before each batch.
    """

    def run(batch: Tensor, threads: int) -> Tensor:
        torch.set_num_threads(threads)
        return copies.run(compute, batch)

    results: list[Future[Tensor]] = []
    running: set[Future[Tensor]] = set()
    executor = ThreadPoolExecutor(min(MAX_BATCHES, len(batches)), "batch")
    try:
        for batch in batches:
            cores = free_cores()
            while len(running) >= min(cores, MAX_BATCHES):
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()  # raises what a batch has raised
            results.append(executor.submit(run, batch, max(1, cores // MAX_BATCHES)))
            running.add(results[-1])
        return [future.result() for future in results]
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def threads_restored() -> Iterator[None]:
    """Restore the number of torch's threads at the end; a thread that sets its own sets that of MKL for the process."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
