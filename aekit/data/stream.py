"""Stream the readable samples of a source as batches on a device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import chunk_size, to_tensor
from aekit.data.source import Source, read_valid
from aekit.errors import DataError
from aekit.progress import SILENT, Progress

BATCH = 256
AHEAD = 2
"""Batches that are read before they are asked for: the most that memory holds beside the one at hand."""

Part = TypeVar("Part")
Read = TypeVar("Read")


def read_ahead(read: Callable[[Part], Read], parts: Iterable[Part], ahead: int = AHEAD) -> Iterator[Read]:
    """Yield ``read(part)`` of each part, in their order, reading the next ones in a thread meanwhile.

    Args:
        read: called in one thread, for one part after the other; what it raises is raised here.
        parts: what to read.
        ahead: most parts that are read and not yet asked for.
    """
    todo = iter(parts)
    with ThreadPoolExecutor(1) as reader:
        upcoming = deque(reader.submit(read, part) for part in islice(todo, ahead))
        try:
            while upcoming:
                result = upcoming.popleft().result()
                upcoming.extend(reader.submit(read, part) for part in islice(todo, 1))
                yield result
        finally:
            for future in upcoming:
                future.cancel()


def stream(
    source: Source,
    rows: np.ndarray,
    device: torch.device,
    *,
    title: str,
    batch_size: int = BATCH,
    progress: Progress = SILENT,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield positions (B,) in the source and raw samples (B, *shape).

    Args:
        source: source of the samples; its `skipped` receives the unreadable ones.
        rows: (N,) positions to read, in this order.
        device: device of the tensors.
        title: title of the progress bar.
        batch_size: most samples per batch; large ones come fewer at a time.
        progress: receives a progress bar.

    Raises:
        DataError: no sample can be read.
    """
    usable = 0
    with progress.task(title, len(rows)) as task:
        for asked, positions, raw in readable_batches(source, rows, device, batch_size):
            usable += len(positions)
            task.advance(asked)
            if len(positions):
                yield positions, raw
    check_any_usable(source, usable, len(rows))


def readable_batches(
    source: Source, rows: np.ndarray, device: torch.device, batch_size: int = BATCH
) -> Iterator[tuple[int, np.ndarray, Tensor]]:
    """Yield the number of samples that were to be read, positions (B,) of those that could be, and raw samples (B, *shape)."""
    size = chunk_size(source.spec, batch_size)

    def read(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        indices = rows[start : start + size]
        return indices, *read_valid(source, indices)

    for indices, raw, ok in read_ahead(read, range(0, len(rows), size)):
        yield len(indices), indices[ok], to_tensor(raw if ok.all() else raw[ok]).to(device)


def check_any_usable(source: Source, usable: int, count: int) -> None:
    """Check that at least one of `count` samples could be read.

    Raises:
        DataError: none could be.
    """
    if not usable:
        reasons = [f"{name}: {why}" for name, why in list(source.skipped.items())[:3]]
        raise DataError(f"none of {count} samples can be used; {'; '.join(reasons)}")
