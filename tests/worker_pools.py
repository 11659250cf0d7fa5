"""Workers of engines: ones that work in this process, and processes that are killed."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import torch
from commands import Said

from aekit.encoder.engines import _processes
from aekit.encoder.engines._processes import Processes, ProcessPool
from aekit.encoder.engines.units import Result, Setup, decode_positions
from aekit.progress import Task


class Killing(Said):
    """Kills a worker that is at work, when so many samples are done."""

    def __init__(self, pools: list[ProcessPool], at: list[int]) -> None:
        super().__init__()
        self.pools, self.at = pools, at

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        outer, count = self, done

        class Kills(Task):
            def advance(self, units: int = 1, note: str = "") -> None:
                nonlocal count
                count += units
                if outer.pools and outer.at and count >= outer.at[0]:
                    outer.at.pop(0)
                    outer.pools[-1].workers[0].child.process.kill()

        yield Kills()


class Here:
    """Does the work of worker processes in this one."""

    def __init__(self, module: str) -> None:
        self.module = module

    def results(self, setup: Setup, units: Sequence[bytes]) -> Generator[Result, None, None]:
        threads = torch.get_num_threads()
        worker = import_module(self.module).Worker(setup.to_bytes())
        torch.set_num_threads(threads)
        yield from (Result.from_bytes(worker.work(unit), decode_positions(unit)) for unit in units)


def work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let engine "processes" work in this process, which takes no time to start."""
    monkeypatch.setattr(Processes, "start", lambda self, module, *arguments: contextlib.nullcontext(Here(module)))


def record_pools(monkeypatch: pytest.MonkeyPatch) -> list[ProcessPool]:
    """Return a list that receives the pools that are started."""
    started: list[ProcessPool] = []

    class Recorded(ProcessPool):
        def __init__(self, *arguments: Any) -> None:
            started.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(_processes, "ProcessPool", Recorded)
    return started
