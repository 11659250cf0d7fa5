"""What a sample is, where samples come from, and how they reach the training device: by the batch, in their own dtype.

Samples are channels first and keep their dtype (uint8, uint16, float32, ...) until the encoder's preprocessing. Data
that fits is held as raw bytes on the training device; what does not is decoded once into a memory-mapped file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from aekit.data.cache import decode_once
from aekit.data.source import _NATIVE, ArraySource, Source, _stop_at, read_valid
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.progress import SILENT, Progress

CHUNK = 1024
"""Samples read at a time where nothing else sets the pace."""


_NATIVE |= {"longdouble": np.dtype(np.float64), "float128": np.dtype(np.float64)}


class Samples:
    """The usable samples of a source, read once and held as raw bytes, ready to be gathered by the batch.

    Attributes:
        spec: of the samples.
        rows: (N,) positions in the source of what is held.
        data: (N, *shape) tensor on the training device; or a memory-mapped array, of which `places` (N,) are the rows
            where it holds more than these samples.
    """

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
        """One gather: (B,) positions on the CPU -> (B, *shape) raw samples on the device."""
        if isinstance(self.data, torch.Tensor):
            return _reinterpret(self.data.index_select(0, positions.to(self.device)), self.spec.dtype)
        places = positions.numpy() if self.places is None else self.places[positions.numpy()]
        return to_tensor(self.data[places]).to(self.device)

    def chunks(self, size: int = CHUNK, max_samples: int | None = None) -> Iterator[torch.Tensor]:
        """All samples in order, or about `most` of them evenly spaced, as batches (B, *shape)."""
        step = max(1, -(-len(self) // max_samples)) if max_samples else 1
        positions = torch.arange(0, len(self), step)
        for start in range(0, len(positions), size):
            yield self.batch(positions[start : start + size])


def load_samples(
    source: Source,
    rows: np.ndarray,
    device: torch.device,
    *,
    strict: bool = False,
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> Samples:
    """Reads the samples once and keeps their raw bytes where they fit: on the device, or in a memory-mapped file.

    Args:
        source: to read from.
        rows: (N,) positions to read.
        device: that training will run on.
        strict: stop at the first sample that cannot be used, instead of leaving it out.
        cache: folder for what does not fit into memory; default: ``$AEKIT_CACHE`` or ``~/.cache/aekit``.
        progress: receives a bar where reading is slow.

    Raises:
        DataError: no sample can be used, or, if `strict`, one cannot.
    """
    total = len(rows) * source.spec.nbytes
    if total <= memory_budget(device):
        held = np.empty((len(rows), *source.spec.shape), source.spec.dtype)
        kept = _into(held, source, rows, strict, progress)
        return Samples(source.spec, rows[kept], _bits(to_tensor(held[: len(kept)])).to(device), device)
    if isinstance(source, ArraySource) and source.array.dtype.kind != "f":
        return Samples(source.spec, rows, source.array, device, places=rows)
    mapped, kept = decode_once(source, rows, lambda held: _into(held, source, rows, strict, progress), cache, progress)
    if strict and len(kept) < len(rows):  # found bad by an earlier run
        _stop_at(source, int(np.delete(rows, kept)[0]))
    return Samples(source.spec, rows[kept], mapped, device)


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """(B, *shape) as a tensor of the same dtype, without a copy where possible."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    # torch gathers int16 everywhere but uint16 only in places, and the bits are the same.
    return tensor.view(torch.int16) if tensor.dtype == torch.uint16 else tensor


def _reinterpret(tensor: torch.Tensor, dtype: str) -> torch.Tensor:
    return tensor.view(torch.uint16) if dtype == "uint16" else tensor


def _into(held: np.ndarray, source: Source, rows: np.ndarray, strict: bool, progress: Progress) -> np.ndarray:
    """Fills `held` with the usable samples, closed up, and returns which of `rows` they are, as offsets."""
    kept: list[np.ndarray] = []
    filled = 0
    with progress.task("decode" if source.slow else "read", len(rows)) as task:
        step = 64 if source.slow else CHUNK
        for start in range(0, len(rows), step):
            indices = rows[start : start + step]
            batch, ok = read_valid(source, indices, strict)
            good = batch if ok.all() else batch[ok]
            held[filled : filled + len(good)] = good
            filled += len(good)
            kept.append(start + np.flatnonzero(ok))
            task.advance(len(indices))
    if not filled:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(source.skipped.items())[:3])
        raise DataError(f"none of {len(rows)} samples can be used{': ' + reasons if reasons else ''}")
    return np.concatenate(kept)


def memory_budget(device: torch.device) -> int:
    """Bytes of raw samples that may live on the device: 40 % of what is free there, and in memory on the way."""
    if "AEKIT_MEMORY" in os.environ:
        return int(os.environ["AEKIT_MEMORY"])
    free = _free_memory()
    return int(0.4 * (min(free, torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free))


def _free_memory() -> int:
    meminfo = Path("/proc/meminfo")  # counts the page cache as available, which sysconf's free pages do not
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not every platform counts its pages
        return 4 * 2**30
