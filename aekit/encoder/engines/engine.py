"""Distribute samples to workers that compute on them, and combine their results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from aekit.data.source import Source
from aekit.encoder.engines.units import (
    Result,
    Setup,
    encode_positions,
    hash_ids,
    rebuild_error,
    split_units,
)
from aekit.errors import DataError
from aekit.progress import Progress, warn


@dataclass(frozen=True)
class Work:
    """What workers compute.

    Attributes:
        title: for a line about it, such as ``embedding``.
        module: name of the module whose `Worker` computes it.
        source: of the samples; receives what is skipped.
        device: of the networks.
        batch: number of samples of a batch; workers get whole batches.
        folder: with the files that workers need, which are there once `settings` is called.
        settings: returns further settings for the workers, as plain JSON; called while they start.
        progress: receives lines.
    """

    title: str
    module: str
    source: Source
    device: torch.device
    batch: int
    folder: Path
    settings: Callable[[], dict[str, Any]]
    progress: Progress


class Pool(Protocol):
    """Started workers."""

    def results(self, setup: Setup, units: Sequence[bytes]) -> Generator[Result, None, None]:
        """Compute units, as `encode_positions` writes them, and yield their results in the same order."""


@dataclass(frozen=True)
class Engine:
    """Compute with several workers, each of which opens the networks and the data once.

    The main process alone yields results, in the order of the positions: a worker that ends loses its unit, which another one
    computes, and nothing is written twice.

    Attributes:
        workers: number of workers; None: as many as there are GPUs, or cores where memory suffices.
    """

    name: ClassVar[str]
    workers: int | None = None

    def start(self, module: str, count: int, progress: Progress) -> AbstractContextManager[Pool]:
        """Start workers, and end them when the context is left.

        Args:
            module: name of the module whose `Worker` computes.
            count: number of workers.
            progress: receives lines about workers that end.
        """
        raise NotImplementedError

    def default_workers(self, device: torch.device) -> int:
        """Return the default number of workers, for networks on a device."""
        raise NotImplementedError

    def check(self, source: Source) -> None:
        """Check that workers can open the data, before anything is written.

        Raises:
            DataError: it is in memory.
            PluginError: the engine is not installed.
        """
        if source.origin is None:
            raise DataError(
                f"data in memory: the workers of engine {self.name!r} open data by its path; save it to a file such as .npy, "
                "or leave out the engine"
            )

    def run(self, work: Work, rows: np.ndarray) -> Generator[tuple[np.ndarray, Result], None, None]:
        """Compute on the samples at (N,) positions, in their order, leaving out those that cannot be read.

        Yields:
            the positions of a unit, which are whole batches, and its result, which is not an error.

        Raises:
            DataError: the data has changed since it was opened; or as in a single process.
        """
        if not len(rows):
            return
        count = self.workers or self.default_workers(work.device)
        units = split_units(rows, work.batch, count)
        count = min(count, len(units))
        with self.start(work.module, count, work.progress) as pool:
            threads = max(1, torch.get_num_threads() // count)
            setup = Setup(
                str(work.folder.absolute()), dict(work.source.origin or {}), str(work.device), threads, work.settings()
            )
            workers = f"{count} worker{'s' if count > 1 else ''}, {threads} thread{'s' if threads > 1 else ''} each"
            work.progress.say(f"{work.title} with {workers}")
            with closing(pool.results(setup, [encode_positions(unit) for unit in units])) as results:
                for unit, result in zip(units, results):
                    _take(work.source, unit, result)
                    yield unit, result


def _take(source: Source, unit: np.ndarray, result: Result) -> None:
    """Report the notes and warnings of a worker.

    Raises:
        DataError: it has opened other data than this process, or as the worker says.
    """
    if result.error is not None:
        raise rebuild_error(result.error)
    if result.ids != hash_ids(source.ids, unit):
        raise DataError(
            f"{(source.origin or {}).get('data')}: has changed since it was opened, or is other data where a worker "
            "runs; run the command again"
        )
    source.skipped.update(result.skipped)
    for text in result.warnings:
        warn(text)
