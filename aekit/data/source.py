"""Sources of samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data._source_contract import read_problem
from aekit.data._source_summary import first_rows, source_lines
from aekit.data.labels import to_label_array
from aekit.data.metadata import Metadata
from aekit.data.reading import check_mapped, release_mapped
from aekit.data.spec import Column, Kind, SampleSpec
from aekit.errors import LONGEST, AekitError, DataError, PluginError, printable
from aekit.io.summaries import html_summary
from aekit.progress import Progress, warn
from aekit.registry.discovery import GROUP, Plugin, registry


class Source:
    """A source of samples. Subclasses set the attributes and define `read`.

    Attributes:
        spec: spec of all samples.
        ids: (N,) unique ids, the same whenever the source is opened.
        labels: (N,) class names, numbers or targets, or None.
        splits: (N,) of ``"train"``, ``"validation"`` or ``"test"``, or None if the data set has no splits.
        metadata: further columns of the N samples, such as a price or a city, which embeddings keep; or None.
        segment_starts: (N, 2) number of the video or recording that a sample is cut from, and its first frame or step; or None.
        skipped: id -> reason, of the samples that could not be read so far; `read` adds to it.
        blocks: (K + 1,) first position of each block of samples that is read as a whole, such as a row group of Parquet or a
            compressed file, and N; None: any sample can be read alone.
        slow: whether reading costs more than copying, as decoding files does, so that samples should be kept once read.
        origin: ``{"data", "source", "options"}``, for `aekit.data.opening.reopen`; None for data in memory.
        notes: lines about choices that opening it made.
        losses: lines about data that opening it left out or changed, which `aekit.open_data` issues as warnings.
        takes_arrays: whether it also opens a numpy array (N, ...) or a pyarrow table, passed in place of the path.
    """

    plugin_kind: ClassVar[str] = "source"
    spec: SampleSpec
    ids: Sequence[str]
    labels: np.ndarray | None = None
    splits: np.ndarray | None = None
    metadata: Metadata | None = None
    segment_starts: np.ndarray | None = None
    blocks: np.ndarray | None = None
    slow: bool = False
    origin: dict[str, Any] | None = None
    _skips_reported: int = 0
    notes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    takes_arrays: ClassVar[bool] = False

    @cached_property
    def skipped(self) -> dict[str, str]:
        return {}

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._count()}: {self.spec}>"

    def _repr_html_(self) -> str:
        origin = f", {self.origin['data']}" if self.origin else ""
        return html_summary(f"{self._count()}{origin}", source_lines(self), first_rows(self), total=len(self))

    def _count(self) -> str:
        return f"{len(self):,} {'sample' if len(self) == 1 else 'samples'}"

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read a batch of samples.

        Args:
            indices: (B,) positions in this source.

        Returns:
            samples (B, *spec.shape) of spec.dtype, and (B,) bool; where it is False, the row is zeros and `skipped` has the
            reason.
        """
        raise NotImplementedError

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        """Return a hash of the content of each of (B,) samples, which changes with the sample; by default of the raw bytes."""
        rows, _ = self.read(indices)
        return [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).hexdigest() for row in rows]

    @property
    def note(self) -> str:
        """All notes and losses in one line, or ""."""
        return "; ".join([*self.notes, *self.losses])

    def report_notes(self, progress: Progress) -> None:
        """Report the choices that opening it made."""
        for line in self.notes:
            progress.say(f"data: {printable(line, LONGEST)}")

    def warn_of_skipped(self, listed_in: str | Path | None = None) -> None:
        """Warn of the samples that could not be read since the last call; `listed_in` is the file that lists them all."""
        if len(self.skipped) > self._skips_reported:
            self._skips_reported = len(self.skipped)
            name, reason = next(iter(self.skipped.items()))
            listed = f"; all in {listed_in}" if listed_in else ""
            warn(f"data: {skipped_samples(len(self.skipped))}, e.g. {name}: {reason}{listed}")

    def none_usable(self, count: int) -> str:
        """Return the line of an error: none of so many samples that were read can be used, and why not the first three."""
        reasons = "; ".join(f"{name}: {why}" for name, why in list(self.skipped.items())[:3])
        return f"none of {count} samples can be used{': ' + reasons if reasons else ''}"

    def rows_of(self, split: str | None) -> np.ndarray:
        """Return the positions (N,) of the samples of a split.

        Args:
            split: name of a split; None or ``"all"``: all samples.

        Raises:
            DataError: the source has no splits, or not this one.
        """
        if split in (None, "all"):
            return np.arange(len(self))
        if self.splits is None:
            raise DataError(f"no split {split!r}: the data has no splits; leave it out to use all {len(self)} samples")
        rows = np.flatnonzero(self.splits == split)
        if not len(rows):
            raise DataError(f"no samples in split {split!r}; available: {', '.join(sorted(set(self.splits)))}")
        return rows


class ArraySource(Source):
    """Samples of an array in memory (or memory-mapped), channels first.

    Args:
        array: (N, *shape).
        kind: kind of the samples; None: by the number of dimensions (2: vector, 3: series, 4: image, 5: clip).
        ids: N unique ids; default: the row numbers.
        labels: (N,) or (N, 1), or None.
        splits: (N,) names of splits, or None.
        columns: columns of the entries of vectors.

    Raises:
        DataError: the array does not hold samples, or the labels do not match.
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
            raise DataError(f"array of shape {array.shape}: rows differ in shape; expected rows of one shape")
        if array.dtype.kind not in "uifb":
            raise DataError(f"array of dtype {array.dtype}: expected numbers{_advice(array.dtype)}")
        if array.ndim not in _KIND_OF:
            advice = (
                "; array[:, None] makes samples of one value each, array[None] one sample" if array.ndim == 1 else ""
            )
            raise DataError(f"array of shape {array.shape}: expected 2 dimensions (vectors) to 5 (clips){advice}")
        if 0 in array.shape[1:]:
            raise DataError(f"array of shape {array.shape}: its samples hold no values; expected at least one each")
        labels = None if labels is None else to_label_array(labels)
        if labels is not None and len(labels) != len(array):
            raise DataError(f"{len(labels)} labels for {len(array)} samples: expected one each")
        if labels is not None and labels.ndim > 1:
            if labels.size != len(labels):
                raise DataError(f"labels of shape {labels.shape}: expected one for each of {len(array)} samples")
            labels = labels.reshape(len(labels))
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            advice = "subtract the smallest, or divide them"
            raise DataError(
                f"array of dtype uint64 with values up to {array.max()}: expected at most 2^63 - 1; {advice}"
            )
        # torch has no arithmetic on some dtypes: use the nearest one that it has.
        native = _NATIVE.get(array.dtype.name) or array.dtype.newbyteorder("=")
        self.array = array.astype(native, copy=False)
        self.spec = SampleSpec(kind or _KIND_OF[array.ndim], array.shape[1:], str(self.array.dtype), columns=columns)
        self.ids = ids if ids is not None else RowIds(splits, len(array))
        self.labels, self.splits, self.skipped = labels, splits, {}

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_mapped(self.array)
        rows = self.array[indices]
        release_mapped(self.array)
        return rows, np.ones(len(indices), bool)


_NATIVE: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.uint8),
    "uint32": np.dtype(np.int64),
    "uint64": np.dtype(np.int64),
}


_KIND_OF: dict[int, Kind] = {2: "vector", 3: "series", 4: "image", 5: "clip"}


def _advice(dtype: np.dtype[Any]) -> str:
    """Return how numbers of another kind can be passed, or ""."""
    if dtype.names:
        return ", not named fields; pass the array itself, or a DataFrame of it, whose columns are the fields"
    advice = {"c": "np.abs(array), or np.stack([array.real, array.imag], axis=1)", "M": "a DataFrame, or differences"}
    advice |= {"m": "array / np.timedelta64(1, 's')", "U": "array.astype(float)", "S": "array.astype(float)"}
    return f"; pass {advice[dtype.kind]}" if dtype.kind in advice else ""


class RowIds(Sequence[str]):
    """Ids of samples without names: ``"7"``, or ``"test-7"`` for the eighth sample of a split."""

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


def first_of_blocks(starts: np.ndarray, count: int, most: int = 32) -> np.ndarray:
    """Return about `count` positions (M,), in order: the first ones of at most `most` blocks, evenly spaced.

    Args:
        starts: (K + 1,) first position of each block, and N.
        count: number of positions.
        most: number of blocks, of which each costs about as much to read as all of it.
    """
    chosen = np.unique(np.linspace(0, len(starts) - 2, min(most, len(starts) - 1)).astype(np.int64))
    each = -(-count // len(chosen))
    return np.concatenate([np.arange(starts[n], min(starts[n + 1], starts[n] + each)) for n in chosen])


class TextIds(Sequence[str]):
    """Unique ids in an Arrow column, which takes a fraction of the memory of a list.

    Args:
        names: (N,) the ids.

    Raises:
        DataError: an id occurs twice.
    """

    def __init__(self, names: pa.ChunkedArray) -> None:
        if pc.count_distinct(names).as_py() < len(names):
            counts = pc.value_counts(names)
            twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
            raise DataError(f"id {twice!r} occurs more than once; ids must be unique")
        self._names = names.combine_chunks()

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, row: Any) -> Any:
        return self._names[row].to_pylist() if isinstance(row, slice) else self._names[int(row)].as_py()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), 4096):
            yield from self[start : start + 4096]


def skipped_samples(count: int) -> str:
    """Return in words how many samples were skipped."""
    return "1 sample skipped" if count == 1 else f"{count} samples skipped"


def read_valid(source: Source, indices: np.ndarray, strict: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Read a batch of a source, and skip samples that are not finite too.

    Returns:
        samples (B, *shape) and (B,) bool, as `Source.read`.

    Raises:
        DataError: a sample cannot be used, and `strict` is set.
    """
    try:
        returned = source.read(indices)
    except AekitError:
        raise
    except Exception as error:
        plugin = _plugin_of_others(source)
        if plugin is None:
            raise
        raise plugin.failure(error) from error
    # The plugin is looked up last, as this runs for every batch.
    if (problem := read_problem(source.spec, len(indices), returned)) and (plugin := _plugin_of_others(source)):
        raise PluginError(f"{plugin}: {problem}")
    rows, ok = returned
    if rows.dtype.kind == "f":
        finite = np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)
        for position in np.flatnonzero(ok & ~finite):
            row = rows[position]
            bad = tuple(np.argwhere(~np.isfinite(row))[0].tolist())
            source.skipped[source.ids[int(indices[position])]] = f"{row[bad]} {source.spec.describe_position(bad)}"
        ok = ok & finite
    if strict and not ok.all():
        _stop_at(source, int(indices[np.flatnonzero(~ok)[0]]))
    return rows, ok


def _plugin_of_others(source: Source) -> Plugin | None:
    """Return the plugin of another distribution, or of the session, that opened a source; None if it is aekit's."""
    plugins = registry().named("source", source.origin["source"]) if source.origin else []
    return plugins[0] if len(plugins) == 1 and plugins[0].distribution != GROUP else None


def _stop_at(source: Source, row: int) -> NoReturn:
    name = source.ids[row]
    raise DataError(f"{name}: {source.skipped[name]} (strict)")
