"""Hold samples for training, by the batch and in their own dtype.

Samples are channels first and keep their dtype (uint8, uint16, float32, ...) until the encoder's preprocessing. Data that
fits is kept as raw bytes on the training device; other data is decoded once into a memory-mapped file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from aekit.data.cache import decode_once
from aekit.data.reading import check_mapped, release_mapped
from aekit.data.source import _NATIVE, ArraySource, Source, _stop_at, read_valid
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.io.memory import free_memory, stated_memory
from aekit.io.processes import Ranks
from aekit.progress import SILENT, Progress

CHUNK = 1024
"""Most samples to read at a time by default."""
CHUNK_BYTES = 32 * 2**20
"""Most bytes of the float64 values of the samples of a chunk: glibc returns larger tensors at once, and their pages fault anew
each time, which takes longer than most computations."""


_NATIVE |= {"longdouble": np.dtype(np.float64), "float128": np.dtype(np.float64)}


class NoneUsable(DataError):
    """None of the requested samples can be used."""


class Samples:
    """The usable samples of a source, read once and kept as raw bytes, to gather batches from.

    Attributes:
        spec: spec of the samples.
        rows: (N,) positions of the samples in the source.
        data: (N, *shape) tensor on the training device, or a memory-mapped array.
        places: (N,) rows of the samples in `data`, where it has other rows too.
        ranks: processes that share each batch, or None.
    """

    ranks: Ranks | None = None

    def __init__(
        self,
        spec: SampleSpec,
        rows: np.ndarray,
        data: torch.Tensor | np.ndarray,
        device: torch.device,
        places: np.ndarray | None = None,
    ) -> None:
        self.spec, self.rows, self.data, self.device, self.places = spec, rows, data, device, places

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, positions: torch.Tensor) -> torch.Tensor:
        """Gather raw samples (B, *shape) on the device from positions (B,) on the CPU."""
        if isinstance(self.data, torch.Tensor):
            return _reinterpret(self.data.index_select(0, positions.to(self.device)), self.spec.dtype)
        check_mapped(self.data)
        places = positions.numpy() if self.places is None else self.places[positions.numpy()]
        rows = self.data[places]
        release_mapped(self.data)
        return to_tensor(rows).to(self.device)

    def shared_batch(self, positions: torch.Tensor) -> torch.Tensor:
        """Gather the share of this process, (b, *shape), in a batch at positions (B,): all of it where it shares no samples."""
        return self.batch(positions)

    def chunks(self, size: int = CHUNK, max_samples: int | None = None) -> Iterator[torch.Tensor]:
        """Yield all samples in order, or at most about `max_samples` evenly spaced ones, as batches (B, *shape).

        A batch has at most `size` samples, and fewer if they are large.
        """
        size = chunk_size(self.spec, size)
        step = max(1, -(-len(self) // max_samples)) if max_samples else 1
        positions = torch.arange(0, len(self), step)
        for start in range(0, len(positions), size):
            yield self.batch(positions[start : start + size])


def chunk_size(spec: SampleSpec, most: int = CHUNK) -> int:
    """Return how many samples to compute on at a time: `most`, or fewer if they are large."""
    return max(1, min(most, CHUNK_BYTES // (8 * spec.size)))


def load_samples(
    source: Source,
    rows: np.ndarray,
    device: torch.device,
    *,
    strict: bool = False,
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> Samples:
    """Read samples once and keep their raw bytes, on the device or in a memory-mapped file.

    Args:
        source: source of the samples.
        rows: (N,) positions to read.
        device: training device.
        strict: stop at the first sample that cannot be used, instead of skipping it.
        cache: folder for data that does not fit in memory; default: ``$AEKIT_CACHE`` or ``~/.cache/aekit``.
        progress: receives a progress bar.

    Raises:
        NoneUsable: no sample can be used.
        DataError: `strict`, and one of them cannot.
    """
    total = len(rows) * source.spec.nbytes
    if total <= memory_budget(device):
        array = np.empty((len(rows), *source.spec.shape), source.spec.dtype)
        kept = _read_into(array, source, rows, strict, progress)
        return Samples(source.spec, rows[kept], _bits(to_tensor(array[: len(kept)])).to(device), device)
    if isinstance(source, ArraySource) and source.array.dtype.kind != "f":
        return Samples(source.spec, rows, source.array, device, places=rows)
    mapped, kept = decode_once(
        source, rows, lambda array: _read_into(array, source, rows, strict, progress), cache, progress
    )
    if strict and len(kept) < len(rows):  # skipped by an earlier run
        _stop_at(source, int(np.delete(rows, kept)[0]))
    return Samples(source.spec, rows[kept], mapped, device)


def no_samples(spec: SampleSpec, device: torch.device) -> Samples:
    """Return the samples of a process that has none, where others have some."""
    empty = np.empty((0, *spec.shape), spec.dtype)
    return Samples(spec, np.empty(0, int), _bits(to_tensor(empty)).to(device), device)


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """Return an array (N, *shape) as a tensor of the same shape and dtype, without a copy where possible."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    # Not every device of torch gathers uint16; int16 has the same bits.
    return tensor.view(torch.int16) if tensor.dtype == torch.uint16 else tensor


def _reinterpret(tensor: torch.Tensor, dtype: str) -> torch.Tensor:
    return tensor.view(torch.uint16) if dtype == "uint16" else tensor


def _read_into(array: np.ndarray, source: Source, rows: np.ndarray, strict: bool, progress: Progress) -> np.ndarray:
    """Fill the first rows of `array` with the usable samples, and return their offsets in `rows`."""
    kept: list[np.ndarray] = []
    filled = 0
    with progress.task("decode" if source.slow else "read", len(rows)) as task:
        step = 64 if source.slow else CHUNK
        for start in range(0, len(rows), step):
            indices = rows[start : start + step]
            batch, ok = read_valid(source, indices, strict)
            good = batch if ok.all() else batch[ok]
            array[filled : filled + len(good)] = good
            filled += len(good)
            kept.append(start + np.flatnonzero(ok))
            task.advance(len(indices))
    if not filled:
        raise NoneUsable(source.none_usable(len(rows)))
    return np.concatenate(kept)


def memory_budget(device: torch.device) -> int:
    """Return how many bytes of raw samples the device may hold: what ``AEKIT_MEMORY`` says, else 40% of its free memory, and
    of the free main memory."""
    stated = stated_memory()
    if stated is not None:
        return stated
    free = free_memory()
    return int(0.4 * (min(free, torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free))
