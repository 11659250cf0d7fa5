"""What a sample is, where samples come from, and how they reach the training device: by the batch, in their own dtype.

Samples are channels first and keep their dtype (uint8, uint16, float32, ...) until the encoder's preprocessing. Data
that fits is held as raw bytes on the training device; what does not is decoded once into a memory-mapped file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from aekit.errors import DataError
from aekit.progress import SILENT, Progress
from aekit.reading.decoded import decoded
from aekit.specs import Column, Kind, SampleSpec

CHUNK = 1024
"""Samples read at a time where nothing else sets the pace."""


class Source:
    """Where samples come from. Subclasses set the attributes and define `read`.

    Attributes:
        spec: the one spec of all samples.
        ids: a name for each sample, unique and the same at every opening.
        labels: (N,) class names, numbers or targets, or None.
        splits: (N,) of ``"train"``, ``"validation"`` or ``"test"``, or None where the data set has no splits.
        moments: (N, 2) of samples that are cut from films or recordings: which one, and its first frame or step; or None.
        skipped: id -> reason, of samples that could not be read so far. `read` adds to it.
        slow: whether reading costs more than copying (files to decode), so that it pays to keep what was read.
        origin: ``{"data", "source", "options"}``, for `aekit.data.reopen`; None for data in memory.
        note: one line about a choice that opening it made, or a thing that it left out; or "".
    """

    spec: SampleSpec
    ids: Sequence[str]
    labels: np.ndarray | None = None
    splits: np.ndarray | None = None
    moments: np.ndarray | None = None
    skipped: dict[str, str]
    slow: bool = False
    origin: dict[str, Any] | None = None
    note: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads a batch.

        Args:
            indices: (B,) positions in this source.

        Returns:
            ``(array, ok)``: (B, *spec.shape) of spec.dtype, and (B,) bool. Where `ok` is False the row is zeros and
            `skipped` holds the reason.
        """
        raise NotImplementedError

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        """A hash of the content of each of (B,) samples: it changes when the sample does. Default: of the raw bytes."""
        rows, _ = self.read(indices)
        return [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).hexdigest() for row in rows]

    def rows_of(self, split: str | None) -> np.ndarray:
        """(N,) positions of the samples of a split; all where the source has no splits or `split` is None or ``"all"``.

        Raises:
            DataError: the source has splits, but not this one.
        """
        if split in (None, "all") or self.splits is None:
            return np.arange(len(self))
        rows = np.flatnonzero(self.splits == split)
        if not len(rows):
            raise DataError(f"no samples in split {split!r}; there is {', '.join(sorted(set(self.splits)))}")
        return rows


class ArraySource(Source):
    """Samples of an array in memory (or memory-mapped), channels first.

    Args:
        array: (N, *shape).
        kind: of the samples; None lets the number of dimensions decide (2: vector, 3: series, 4: image, 5: clip).
        ids: N unique names; the row numbers by default.
        labels: (N,) or (N, L), or None.
        splits: (N,) names of splits, or None.
        columns: that the entries of vectors are of.
    """

    def __init__(
        self,
        array: np.ndarray,
        *,
        kind: Kind | None = None,
        ids: Sequence[str] | None = None,
        labels: np.ndarray | None = None,
        splits: np.ndarray | None = None,
        columns: tuple[Column, ...] = (),
    ) -> None:
        if array.dtype == object:
            raise DataError(f"array of shape {array.shape}: rows differ in shape; expected equal shapes")
        if array.dtype.kind not in "uifb":
            raise DataError(f"array of dtype {array.dtype}: expected numbers")
        if array.ndim not in _KIND_OF:
            raise DataError(f"array of shape {array.shape}: expected 2 dimensions (vectors) to 5 (clips)")
        if labels is not None and len(labels) != len(array):
            raise DataError(f"{len(labels)} labels for {len(array)} samples: expected as many")
        if labels is not None and labels.ndim > 1:
            if labels.size != len(labels):
                raise DataError(f"labels of shape {labels.shape}: expected one for each of {len(array)} samples")
            labels = labels.reshape(len(labels))
        # torch has no arithmetic on these: the same numbers in the nearest dtype that it has.
        native = _NATIVE.get(array.dtype.name) or array.dtype.newbyteorder("=")
        self.array = array.astype(native, copy=False)
        found = kind or _KIND_OF[array.ndim]
        self.spec = SampleSpec(found, array.shape[1:], str(self.array.dtype), columns=columns)
        self.ids = ids if ids is not None else RowNames(splits, len(array))
        self.labels, self.splits, self.skipped = labels, splits, {}

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.array[indices], np.ones(len(indices), bool)


_NATIVE: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.uint8),
    "uint32": np.dtype(np.int64),
    "uint64": np.dtype(np.int64),
}
_NATIVE |= {"longdouble": np.dtype(np.float64), "float128": np.dtype(np.float64)}
_KIND_OF: dict[int, Kind] = {2: "vector", 3: "series", 4: "image", 5: "clip"}


class RowNames(Sequence[str]):
    """Ids of samples that have no names: ``"7"``, or ``"test-7"`` for the eighth sample of a split."""

    def __init__(self, splits: np.ndarray | None, count: int) -> None:
        self.splits, self._count = splits, count
        if splits is not None:
            self._within = np.empty(count, np.int64)
            for split in set(splits.tolist()):
                rows = np.flatnonzero(splits == split)
                self._within[rows] = np.arange(len(rows))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(self._count))]
        if not -self._count <= row < self._count:
            raise IndexError(row)
        row %= self._count
        return str(row) if self.splits is None else f"{self.splits[row]}-{self._within[row]}"


def read_usable(source: Source, indices: np.ndarray, strict: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """`source.read`, with samples that are not finite turned away too.

    Returns:
        (B, *shape) and (B,) bool, as `Source.read`.

    Raises:
        DataError: `strict`, and a sample cannot be used.
    """
    rows, ok = source.read(indices)
    if rows.dtype.kind == "f":
        finite = np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)
        for position in np.flatnonzero(ok & ~finite):
            row = rows[position]
            bad = tuple(np.argwhere(~np.isfinite(row))[0].tolist())
            source.skipped[source.ids[int(indices[position])]] = f"{row[bad]} {source.spec.place(bad)}"
        ok = ok & finite
    if strict and not ok.all():
        _stop_at(source, int(indices[np.flatnonzero(~ok)[0]]))
    return rows, ok


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

    def chunks(self, size: int = CHUNK, most: int | None = None) -> Iterator[torch.Tensor]:
        """All samples in order, or about `most` of them evenly spaced, as batches (B, *shape)."""
        step = max(1, -(-len(self) // most)) if most else 1
        positions = torch.arange(0, len(self), step)
        for start in range(0, len(positions), size):
            yield self.batch(positions[start : start + size])


def collect(
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
    if total <= room(device):
        held = np.empty((len(rows), *source.spec.shape), source.spec.dtype)
        kept = _into(held, source, rows, strict, progress)
        return Samples(source.spec, rows[kept], _bits(to_tensor(held[: len(kept)])).to(device), device)
    if isinstance(source, ArraySource) and source.array.dtype.kind != "f":
        return Samples(source.spec, rows, source.array, device, places=rows)
    mapped, kept = decoded(source, rows, lambda held: _into(held, source, rows, strict, progress), cache, progress)
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
            batch, ok = read_usable(source, indices, strict)
            good = batch if ok.all() else batch[ok]
            held[filled : filled + len(good)] = good
            filled += len(good)
            kept.append(start + np.flatnonzero(ok))
            task.advance(len(indices))
    if not filled:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(source.skipped.items())[:3])
        raise DataError(f"none of {len(rows)} samples can be used{': ' + reasons if reasons else ''}")
    return np.concatenate(kept)


def _stop_at(source: Source, row: int) -> NoReturn:
    name = source.ids[row]
    raise DataError(f"{name}: {source.skipped[name]} (--strict)")


def room(device: torch.device) -> int:
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
