"""Training samples that are read from their source again in each epoch, where they fit neither in memory nor on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from aekit.data._block_shuffle import BlockShuffle, cut_blocks
from aekit.data.samples import CHUNK, CHUNK_BYTES, Samples, chunk_size, memory_budget, to_tensor
from aekit.data.source import ArraySource, Source, first_of_blocks, read_valid
from aekit.data.stream import AHEAD, read_ahead
from aekit.errors import DataError
from aekit.io.cache_folder import cache_folder
from aekit.io.memory import format_bytes
from aekit.io.processes import Ranks

BUFFER_BYTES = 2**29
"""Bytes of the samples of a shuffle buffer by default."""
BUFFER_SAMPLES = 2**16
"""Most samples of a shuffle buffer by default."""
BLOCKS = 16
"""Blocks that a buffer holds at least, if the source does not read larger ones as a whole."""


class StreamedSamples(Samples):
    """Samples that are read from a source each time, in an order in which few of them are in memory.

    Of several processes, each reads its share of every batch. A sample that cannot be read is replaced by another one of its
    batch, so that all batches have one size; `source.skipped` names it.

    Args:
        source: source of the samples.
        rows: (N,) ascending positions in the source.
        device: training device.
        buffer: number of samples among which one is shuffled; None: as many as `BUFFER_BYTES` hold.
        ranks: processes that share the batches, or None.
        strict: stop at the first sample that cannot be used.

    Attributes:
        buffer: number of samples among which one is shuffled, in all processes together.
        starts: (K + 1,) first sample of each block that is read as a whole, and N.
    """

    def __init__(
        self,
        source: Source,
        rows: np.ndarray,
        device: torch.device,
        *,
        buffer: int | None = None,
        ranks: Ranks | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(source.spec, rows, np.empty((0, *source.spec.shape), source.spec.dtype), device)
        self.source, self.ranks, self.strict = source, ranks, strict
        most = max(1, min(BUFFER_SAMPLES, BUFFER_BYTES // source.spec.nbytes))
        self.buffer = min(len(rows), most if buffer is None else buffer)
        self.starts = cut_blocks(rows, source.blocks, max(1, self.buffer // BLOCKS))

    @property
    def _step(self) -> int:
        """Number of samples that this process reads at a time."""
        return max(1, min(CHUNK, CHUNK_BYTES // self.spec.nbytes))

    def describe(self, batch_size: int) -> str:
        """Say how the samples are read, and how much memory they take at most in one process."""
        size = 1 if self.ranks is None else self.ranks.size
        # Those that wait, those that are read ahead and at hand, and two batches: one filled, one with the network.
        most = -(-(self.buffer + 2 * batch_size) // size) + (AHEAD + 1) * self._step
        return (
            f"streamed: read again in each epoch, in {len(self.starts) - 1:,} blocks in random order and through a buffer of "
            f"{self.buffer:,} samples, so not in the order that samples in memory have; "
            f"at most {format_bytes(most * self.spec.nbytes)} of samples in memory"
        )

    def batch(self, positions: torch.Tensor) -> torch.Tensor:
        raw, ok = self._read(positions.numpy())
        return to_tensor(_repaired(raw, ok, self.source)).to(self.device)

    def chunks(self, size: int = CHUNK, max_samples: int | None = None) -> Iterator[torch.Tensor]:
        """Yield samples as `Samples.chunks` does; some of them from the beginnings of blocks, if these are read as a whole."""
        if self.source.blocks is None or max_samples is None or max_samples >= len(self):
            yield from super().chunks(size, max_samples)
            return
        size, positions = chunk_size(self.spec, size), torch.from_numpy(first_of_blocks(self.starts, max_samples))
        for start in range(0, len(positions), size):
            yield self.batch(positions[start : start + size])

    def shared_batch(self, positions: torch.Tensor) -> torch.Tensor:
        """Gather the share of this process in a batch: every N-th sample of it, from the r-th on."""
        return self.batch(positions if self.ranks is None else positions[self.ranks.rank :: self.ranks.size])

    def share_skipped(self) -> None:
        """Tell the other processes, if there are any, which samples of its share this one could not read."""
        for skipped in [] if self.ranks is None else self.ranks.gather_values(self.source.skipped):
            self.source.skipped.update(skipped)

    def shuffled(self, batch_size: int, seed: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the positions (b,) and the raw samples (b, *shape) of the share of this process in each batch of an epoch.

        The order depends on the seed alone, not on the number of processes; a smaller last batch is dropped.

        Args:
            batch_size: number of samples of a batch in all processes together.
            seed: of the order.
            start: number of the first batch.

        Raises:
            DataError: no sample of a share can be used, or, if `strict`, one of them cannot.
        """
        rank, size = (0, 1) if self.ranks is None else (self.ranks.rank, self.ranks.size)
        share = len(range(rank, batch_size, size))
        waiting: dict[int, _Partial] = {}
        number = start
        for part, raw, ok in read_ahead(self._read_part, self._parts(batch_size, seed, start)):
            for batch in np.unique(part.batches):
                if batch not in waiting:
                    empty = np.empty((share, *self.spec.shape), self.spec.dtype)
                    waiting[batch] = _Partial(empty, np.zeros(share, bool), np.empty(share, np.int64), [share])
                here = part.batches == batch
                waiting[batch].add(part.slots[here], part.positions[here], raw[here], ok[here])
            while number in waiting and not waiting[number].missing[0]:
                full = waiting.pop(number)
                samples = _repaired(full.raw, full.ok, self.source)
                yield torch.from_numpy(full.positions), to_tensor(samples).to(self.device)
                number += 1

    def _parts(self, batch_size: int, seed: int, start: int) -> Iterator[_Part]:
        """Yield the samples of this process in the order in which they are read, and their places in the batches."""
        rank, size = (0, 1) if self.ranks is None else (self.ranks.rank, self.ranks.size)
        order = BlockShuffle(self.starts, self.buffer, seed)
        span = max(self.buffer, size * self._step)
        usable = range(start * batch_size, len(self) // batch_size * batch_size)
        for first in range(max(0, usable.start - self.buffer), len(self), span):
            last = min(len(self), first + span)
            positions, places = order.arriving(first, last), order.places(first, last)
            mine = (places >= usable.start) & (places < usable.stop) & (places % batch_size % size == rank)
            positions, places = positions[mine], places[mine]
            for begin in range(0, len(positions), self._step):
                part = slice(begin, begin + self._step)
                yield _Part(positions[part], places[part] // batch_size, places[part] % batch_size // size)

    def _read_part(self, part: _Part) -> tuple[_Part, np.ndarray, np.ndarray]:
        return part, *self._read(part.positions)

    def _read(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return read_valid(self.source, self.rows[positions], self.strict)


class _Part(NamedTuple):
    """Samples that are read together: (b,) positions, numbers of their batches, and places in the shares of these."""

    positions: np.ndarray
    batches: np.ndarray
    slots: np.ndarray


class _Partial(NamedTuple):
    """The share of a batch, some of whose samples have not arrived yet."""

    raw: np.ndarray
    ok: np.ndarray
    positions: np.ndarray
    missing: list[int]

    def add(self, slots: np.ndarray, positions: np.ndarray, raw: np.ndarray, ok: np.ndarray) -> None:
        self.raw[slots], self.ok[slots], self.positions[slots] = raw, ok, positions
        self.missing[0] -= len(slots)


def _repaired(raw: np.ndarray, ok: np.ndarray, source: Source) -> np.ndarray:
    """Return samples (B, *shape), each unusable one replaced by the usable one before it, or at the front by the last."""
    if ok.all():
        return raw
    usable = np.flatnonzero(ok)
    if not len(usable):
        reasons = "; ".join(f"{name}: {why}" for name, why in list(source.skipped.items())[-3:])
        raise DataError(f"none of the {len(raw)} samples of a batch can be used: {reasons}")
    return raw[usable[np.searchsorted(usable, np.arange(len(raw)), side="right") - 1]]


def must_stream(source: Source, rows: np.ndarray, device: torch.device, cache: Path | None = None) -> bool:
    """Return whether samples fit neither in memory nor, decoded, on half of the free disk.

    Args:
        source: source of the samples.
        rows: (N,) positions to read.
        device: training device.
        cache: folder for decoded samples; default: ``$AEKIT_CACHE`` or ``~/.cache/aekit``.
    """
    size = len(rows) * source.spec.nbytes
    if size <= memory_budget(device) or (isinstance(source, ArraySource) and source.array.dtype.kind != "f"):
        return False
    folder = cache or cache_folder()
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return size > shutil.disk_usage(existing).free // 2
