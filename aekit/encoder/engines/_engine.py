"""Share the samples to embed among workers, and put together what they return."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch

from aekit.data.source import Source
from aekit.encoder.embedded_rows import Rows
from aekit.encoder.engines._units import (
    MessageError,
    Result,
    Setup,
    encode_positions,
    hash_ids,
    rebuild_error,
    split_units,
)
from aekit.errors import DataError
from aekit.progress import Progress, warn

if TYPE_CHECKING:
    from aekit.encoder._embedder import EmbedsBatches


class Pool(Protocol):
    """Started workers."""

    def results(self, setup: Setup, units: Sequence[bytes]) -> Generator[Result, None, None]:
        """Embed units, as `encode_positions` writes them, and yield their results in the same order."""


@dataclass(frozen=True)
class Engine:
    """Embed with several workers, each of which opens the encoder and the data once.

    The main process alone yields rows, in the order of the positions: a worker that ends loses its unit, which another one
    computes, and nothing is written twice.

    Attributes:
        workers: number of workers; None: as many as there are GPUs, or cores where memory suffices.
    """

    name: ClassVar[str]
    workers: int | None = None

    def start(self, count: int, progress: Progress) -> AbstractContextManager[Pool]:
        """Start workers, and end them when the context is left.

        Args:
            count: number of workers.
            progress: receives lines about workers that end.
        """
        raise NotImplementedError

    def default_workers(self, device: torch.device) -> int:
        """Return the number of workers where none is asked for, for an encoder on a device."""
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

    def embed(self, embedder: EmbedsBatches, rows: np.ndarray, encoder_folder: Path) -> Generator[Rows, None, None]:
        """Embed the samples at (N,) positions, in their order, leaving out those that cannot be read.

        Args:
            embedder: what would embed them in this process; its precision is chosen, and its source receives what is skipped.
            rows: (N,) positions.
            encoder_folder: folder of the encoder.

        Raises:
            DataError: the data has changed since it was opened; or as in a single process.
        """
        if not len(rows):
            return
        count = self.workers or self.default_workers(embedder.encoder.device)
        units = split_units(rows, embedder.batch, count)
        count = min(count, len(units))
        with self.start(count, embedder.progress) as pool:
            if embedder.precision == "auto":  # as a single process chooses it, while the workers start
                with closing(embedder.vectors(rows)) as batches:
                    next(batches, None)
            setup = self._setup(embedder, len(rows), encoder_folder, count)
            threads = f"{setup.threads} thread{'s' if setup.threads > 1 else ''} each"
            embedder.progress.say(f"embedding with {count} worker{'s' if count > 1 else ''}, {threads}")
            with closing(pool.results(setup, [encode_positions(unit) for unit in units])) as results:
                for unit, result in zip(units, results):
                    self._take(embedder, unit, result)
                    yield from self._batches(embedder, unit, result)

    @staticmethod
    def _batches(embedder: EmbedsBatches, unit: np.ndarray, result: Result) -> Iterator[Rows]:
        """Yield the rows of a unit in the batches of a single process, so that parts end at the same samples."""
        for start in range(0, len(unit), embedder.batch):
            places = np.flatnonzero(np.isin(result.positions, unit[start : start + embedder.batch]))
            if len(places):
                hashes = [result.hashes[place] for place in places.tolist()]
                yield embedder.rows(result.positions[places], result.vectors[places], hashes)

    @staticmethod
    def _setup(embedder: EmbedsBatches, samples: int, encoder_folder: Path, count: int) -> Setup:
        return Setup(
            str(encoder_folder.absolute()),
            dict(embedder.source.origin or {}),
            samples,
            str(embedder.encoder.device),
            max(1, torch.get_num_threads() // count),
            embedder.batch_size,
            embedder.precision,
            embedder.strict,
        )

    @staticmethod
    def _take(embedder: EmbedsBatches, unit: np.ndarray, result: Result) -> None:
        """Report what a worker says beside its vectors.

        Raises:
            DataError: it has opened other data than this process, or as the worker says.
            MessageError: its vectors are not those of the encoder.
        """
        source = embedder.source
        if result.error is not None:
            raise rebuild_error(result.error)
        if result.ids != hash_ids(source.ids, unit):
            raise DataError(
                f"{(source.origin or {}).get('data')}: has changed since it was opened, or is other data where a worker "
                "runs; run the command again"
            )
        if len(result.positions) and result.vectors.shape[1] != embedder.encoder.dim:
            raise MessageError(
                f"a worker has sent vectors of {result.vectors.shape[1]} dimensions, not {embedder.encoder.dim}"
            )
        source.skipped.update(result.skipped)
        for text in result.warnings:
            warn(text)
