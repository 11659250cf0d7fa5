"""Compute in worker processes of this machine."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from multiprocessing.connection import wait
from typing import Any, ClassVar

import torch

from aekit.encoder.engines.engine import Engine, Pool
from aekit.encoder.engines.units import MessageError, Result, Setup, decode_positions
from aekit.errors import AekitError, first_line
from aekit.io.child_processes import Child, end_children, start_child
from aekit.io.memory import free_memory
from aekit.io.threads import usable_cores
from aekit.progress import Progress

WORKER_BYTES = 2**30
"""Free memory for each worker of those that are started unasked."""
UNITS_AT_HAND = 2
"""Units that a worker is given at a time, so that it need not wait for the next one."""
MOST_WAITING_BYTES = 2**16
"""Most bytes of a unit that is sent to a worker that computes another one: the system keeps as many until it reads them."""
AHEAD = 4
"""Units for each worker that may be computed before the next one to yield: the most that memory holds."""
ATTEMPTS = 3
"""Times that workers may end at the same unit, or in a row before they are ready."""
LEAST_LIMIT = 2**28
"""Bytes that a message may have where memory is short; else it may have as many as are free."""


class WorkerError(AekitError):
    """A worker process that ends again and again."""


@dataclass(frozen=True)
class Processes(Engine):
    """Compute in processes of this machine, which share its cores and its GPUs."""

    name: ClassVar[str] = "processes"

    def default_workers(self, device: torch.device) -> int:
        if device.type == "cuda":
            return torch.cuda.device_count()
        return max(1, min(usable_cores(), free_memory() // WORKER_BYTES))

    @contextmanager
    def start(self, module: str, count: int, progress: Progress) -> Iterator[Pool]:
        pool = ProcessPool(module, count, progress)
        try:
            yield pool
        finally:
            pool.stop()


@dataclass
class _Worker:
    """A worker process.

    Attributes:
        number: of the worker, counted from 0.
        child: its process.
        units: numbers of the units that it has, in their order.
        has_setup: whether the setup was sent to it.
        ready: whether it has opened what it needs.
    """

    number: int
    child: Child
    units: deque[int] = field(default_factory=deque)
    has_setup: bool = False
    ready: bool = False


class ProcessPool:
    """Worker processes, which are started again where they end.

    Args:
        module: name of the module that they run.
        count: number of processes.
        progress: receives a line for each that ends.

    Attributes:
        ended: number of processes that ended by themselves.
        workers: those that run.
    """

    def __init__(self, module: str, count: int, progress: Progress) -> None:
        self.module, self.count, self.progress, self.ended = module, count, progress, 0
        self.workers: list[_Worker] = []
        self._failed_starts, self._attempts = 0, Counter[int]()
        for number in range(count):
            self._start(number)

    def _start(self, number: int) -> None:
        threads = max(1, torch.get_num_threads() // self.count)
        self.workers.append(_Worker(number, start_child(self.module, threads)))

    def stop(self) -> None:
        """End all processes at once; they write nothing that could be left half done."""
        end_children([worker.child for worker in self.workers])
        self.workers.clear()

    def results(self, setup: Setup, units: Sequence[bytes]) -> Generator[Result, None, None]:
        """Compute units and yield their results in order, as `Pool.results`.

        Raises:
            WorkerError: workers end again and again.
        """
        self._setup, self._units = setup, units
        self._waiting = list(range(len(units)))
        heapify(self._waiting)
        results = dict[int, Result]()
        for turn in range(len(units)):
            while turn not in results:
                self._hand_out(turn + AHEAD * self.count)
                by_connection: dict[Any, _Worker] = {worker.child.connection: worker for worker in self.workers}
                for connection in wait(list(by_connection)):
                    self._receive(by_connection[connection], results)
            yield results.pop(turn)

    def _hand_out(self, end: int) -> None:
        """Give units below the number `end` to workers that are ready."""
        for level in range(UNITS_AT_HAND):
            for worker in list(self.workers):
                try:
                    if not worker.has_setup:
                        worker.child.send_bytes(self._setup_of(worker.number).to_bytes())
                        worker.has_setup = True
                    if worker.ready and len(worker.units) <= level and self._is_next(end, at_once=level == 0):
                        worker.units.append(heappop(self._waiting))
                        worker.child.send_bytes(self._units[worker.units[-1]])
                except TimeoutError as error:
                    self._replace(worker, str(error))
                except OSError:  # it has ended, which receiving from it tells
                    continue

    def _is_next(self, end: int, *, at_once: bool) -> bool:
        """Return whether a unit below the number `end` waits, for a worker that reads at once or after what it computes."""
        if not self._waiting or self._waiting[0] >= end:
            return False
        return at_once or len(self._units[self._waiting[0]]) <= MOST_WAITING_BYTES

    def _setup_of(self, number: int) -> Setup:
        """Return the setup of a worker, which names one of the GPUs in turn."""
        if not self._setup.device.startswith("cuda"):
            return self._setup
        return replace(self._setup, device=f"cuda:{number % torch.cuda.device_count()}")

    def _receive(self, worker: _Worker, results: dict[int, Result]) -> None:
        try:
            content = worker.child.receive(max(free_memory(), LEAST_LIMIT))
            if worker.units:
                unit = worker.units[0]
                results[unit] = Result.from_bytes(content, decode_positions(self._units[unit]))
                worker.units.popleft()
            elif worker.ready or content != b"ready":
                raise MessageError("a worker sent a message out of turn")
            else:
                worker.ready, self._failed_starts = True, 0
        except (EOFError, ConnectionError):
            self._replace(worker)
        except MessageError as error:
            self._replace(worker, str(error))
        except OSError as error:
            self._replace(worker, f"a worker sent an invalid message: {first_line(error)}")

    def _replace(self, worker: _Worker, reason: str = "") -> None:
        """Replace a worker that has ended, or that is ended for a reason, and take back its units.

        Raises:
            WorkerError: workers have ended too often.
        """
        ended = worker.child.end()
        reason = reason or ended
        self.ended += 1
        self.workers.remove(worker)
        self._failed_starts += not worker.ready
        if self._failed_starts >= ATTEMPTS + self.count:
            raise WorkerError(f"worker processes do not start: {reason}")
        if worker.units:
            first = worker.units[0]
            self._attempts[first] += 1
            if self._attempts[first] >= ATTEMPTS:
                positions = decode_positions(self._units[first])
                raise WorkerError(
                    f"the samples at positions {positions[0]} to {positions[-1]} have ended {ATTEMPTS} worker processes: "
                    f"{reason}"
                )
        for number in worker.units:
            heappush(self._waiting, number)
        self.progress.say(f"a worker process ended and is started again: {reason}")
        self._start(worker.number)
