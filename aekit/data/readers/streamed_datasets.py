"""Read data sets of Hugging Face's `datasets` in streaming: shard by shard, from where they are, forward alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from aekit.data.readers._parquet_files import join_batches
from aekit.data.readers.tables import choose_splits
from aekit.errors import AekitError, DataError, first_line

BATCH = 64
"""Rows of samples that are in memory at a time."""
LIGHT_BATCH = 4096
KEPT_ROWS, KEPT_BYTES = 2048, 2**28
"""Most rows, and bytes of them, that are kept after they were read: embedding asks for them again, to hash their content."""


class StreamedRecords:
    """The rows of data sets in streaming.

    Their labels and ids are read when it is opened, in one passage, and kept. Samples are read forward in a shard: one that
    lies behind the last one is reached by reading its shard again from the start.

    Args:
        by_name: name of a split -> `datasets.IterableDataset`. Where some names stand for train, validation or test, others are
            left out; where none does, all rows are used without splits.
        narrowed: returns the same data sets with some columns alone, if their format can read these without the others, else
            None.
        place: where they come from, for messages.

    Attributes:
        schema, splits: as in `TableRecords`.
        blocks: as in `Source`: the shards.
        losses: lines about splits that were left out.

    Raises:
        DataError: there are no rows, or they cannot be read.
    """

    def __init__(
        self, by_name: Mapping[str, Any], narrowed: Callable[[list[str]], Mapping[str, Any] | None], place: str
    ) -> None:
        used = choose_splits(by_name)
        self._place = place
        self.losses = tuple(
            f"split {name!r} is left out; expected train, validation or test" for name in by_name if name not in used
        )
        shards = [(name, shard) for name in used for shard in _shards_of(by_name[name])]
        with self._reading():
            self.schema = _schema_of(by_name[next(iter(used))])
        light = [field.name for field in self.schema if _is_light(field.type)]
        sources = narrowed(light) if light else None
        readable = (
            shards if sources is None else [(name, shard) for name in used for shard in _shards_of(sources[name])]
        )
        if len(readable) != len(shards):
            readable = shards
        tables, counts = list[pa.Table](), list[int]()
        for _, shard in readable:
            with self._reading():
                # Columns may come in another order in each part of a shard, of which `datasets` makes one table.
                count = 0
                for table in _tables(shard.select_columns(light) if light else shard, LIGHT_BATCH if light else BATCH):
                    count += table.num_rows
                    tables += [table] if light else []
            counts.append(count)
        self._shards = [shard for (_, shard), count in zip(shards, counts) if count]
        self.blocks = np.append(0, np.cumsum([count for count in counts if count])).astype(np.int64)
        if not self.blocks[-1]:
            raise DataError(f"{place}: no samples in it")
        self._light = pa.concat_tables(tables, promote_options="default") if tables else pa.table({})
        several = len(set(used.values())) > 1
        self.splits = np.repeat([used[name] for name, _ in shards], counts) if several else None

    def __len__(self) -> int:
        return int(self.blocks[-1])

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column whole.

        Raises:
            DataError: it does not fit in memory.
        """
        if name in self._light.column_names:
            return self._light[name]
        tables = (table for shard in self._shards for table in _tables(shard.select_columns([name]), LIGHT_BATCH))
        with self._reading():
            joined = join_batches(tables, f"{self._place}: column {name!r}")
        return pa.chunked_array([chunk for table in joined for chunk in table[name].chunks])

    def paths(self, name: str) -> list[str | None]:
        """Return no paths, as they cannot be read without the images."""
        return [None] * len(self)

    def cells(self, name: str) -> Sequence[Any]:
        """Return the cells of a column, which are read when they are asked for."""
        return _ForwardCells([shard.select_columns([name]) for shard in self._shards], self.blocks, name, self._reading)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what `datasets` raises into one line: it raises errors of many libraries, none of which is a bug of aekit."""
        try:
            yield
        except AekitError:
            raise
        except Exception as error:
            raise UnreadableStreamError(f"{self._place}: cannot be read on ({first_line(error)})") from error


_Opener = Callable[[], AbstractContextManager[None]]


class UnreadableStreamError(AekitError):
    """A stream ends before its end, as where a network fails."""


class _ForwardCells(Sequence[Any]):
    """Cells of a column of several shards, each of which is read forward."""

    def __init__(self, shards: Sequence[Any], blocks: np.ndarray, name: str, reading: _Opener) -> None:
        self._shards, self._blocks, self._name, self._reading = shards, blocks, name, reading
        self._shard, self._next = -1, 0
        self._kept: deque[tuple[int, pa.ChunkedArray]] = deque()
        self._following: Iterator[pa.Table] = iter(())

    def __len__(self) -> int:
        return int(self._blocks[-1])

    def __getitem__(self, row: Any) -> Any:
        while True:
            for first, cells in self._kept:
                if first <= row < first + len(cells):
                    return cells[int(row) - first].as_py()
            shard = int(np.searchsorted(self._blocks, row, side="right")) - 1
            with self._reading():
                self._read_on(shard, int(row))

    def _read_on(self, shard: int, row: int) -> None:
        """Read the next cells of a shard, from its start if it is another one than the last or if the row lies behind."""
        if shard != self._shard or row < self._next:
            self._shard, self._next = shard, int(self._blocks[shard])
            self._following = _tables(self._shards[shard], BATCH)
        table = next(self._following, None)
        if table is None:
            self._shard, count = -1, self._next - int(self._blocks[shard])
            raise ValueError(f"shard {shard} has {count} rows, fewer than when it was opened")
        self._kept.append((self._next, table[self._name]))
        self._next += table.num_rows
        while len(self._kept) > 2 and (
            sum(len(cells) for _, cells in self._kept) > KEPT_ROWS
            or sum(cells.nbytes for _, cells in self._kept) > KEPT_BYTES
        ):
            self._kept.popleft()


def _shards_of(dataset: Any) -> list[Any]:
    return [dataset.shard(num_shards=dataset.num_shards, index=number) for number in range(dataset.num_shards)]


def _tables(shard: Any, size: int) -> Iterator[pa.Table]:
    return shard.with_format("arrow").iter(batch_size=size)


def _schema_of(dataset: Any) -> pa.Schema:
    if dataset.features is not None:
        return dataset.features.arrow_schema
    first = next(_tables(dataset, 1), None)
    return pa.schema([]) if first is None else first.schema


def _is_light(kind: pa.DataType) -> bool:
    """Return whether values of a type are kept for all rows: numbers, text and times, but no images and lists."""
    return pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
