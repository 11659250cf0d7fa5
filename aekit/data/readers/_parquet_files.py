"""Open Parquet files that may be damaged or hostile: how large their rows are in memory is known before they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from aekit.data.reading import reading
from aekit.errors import DataError
from aekit.io.memory import check_memory, read_limit, too_large

COMPLAINT = "not a readable table"
_Rows = TypeVar("_Rows", pa.RecordBatch, pa.Table)
MOST_PER_ROW = 1 << 28
"""Most bytes of a row, encoded but not packed, on average: a sample is smaller, a file made to fill the memory is not."""
_BATCH = 4096
"""Rows that are read at a time where the file does not tell how large they are."""


@contextmanager
def reading_parquet(path: str | Path) -> Iterator[None]:
    """Turn what Arrow raises about a file into a `DataError`."""
    with reading(path, COMPLAINT):
        yield


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a file, not mapped into memory, so that one that shrinks costs a line and not the process.

    Raises:
        DataError: it is damaged, or names of its columns are not UTF-8.
    """
    with reading_parquet(path):
        file = pq.ParquetFile(path)
        _ = file.schema_arrow.names
        if file.metadata.num_rows < 0:
            raise ValueError(f"{file.metadata.num_rows} rows according to its footer")
        _check_rows(file, path)
        return file


def _check_rows(file: pq.ParquetFile, path: Path) -> None:
    """Refuse rows of which each would fill the memory; for any look at them, Arrow unpacks a whole group."""
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        if group.total_byte_size > max(group.num_rows, 1) * MOST_PER_ROW:
            size = group.total_byte_size // max(group.num_rows, 1) >> 20
            expected = f"expected at most {MOST_PER_ROW >> 20} MiB"
            raise DataError(f"{path}: {group.num_rows:,} rows would take {size:,} MiB each, unpacked: {expected}")


def parquet_columns(path: Path) -> pa.Schema:
    """Return the columns of a file, with its metadata.

    Raises:
        DataError: it is damaged.
    """
    with open_parquet(path) as file:
        return file.schema_arrow


def first_rows(path: Path, count: int) -> list[dict[str, object]]:
    """Return the first rows of a file; raises as `parquet_columns`."""
    with open_parquet(path) as file, reading_parquet(path):
        batch = next(file.iter_batches(batch_size=count), None)
        return [] if batch is None else batch.to_pylist()


def read_parquet(path: Path) -> pa.Table:
    """Read all rows of a file.

    Raises:
        DataError: it is damaged, or its rows do not fit in memory.
    """
    with open_parquet(path) as file:
        return read_columns_of(file, path)


def read_columns_of(file: pq.ParquetFile, path: Path, names: Sequence[str] | None = None) -> pa.Table:
    """Read columns of an open file, all of them by default.

    Raises:
        DataError: they are damaged, or do not fit in memory.
    """
    with reading_parquet(path):
        smallest, largest = _sizes(file, names)
        check_memory(smallest, f"{path}: its {file.metadata.num_rows:,} rows")
        if largest <= read_limit():
            table = file.read(names)
        else:  # text that repeats is kept once in the file, and many times in memory
            rows = file.iter_batches(batch_size=_BATCH, columns=names)
            batches = join_batches(rows, f"{path}: its {file.metadata.num_rows:,} rows")
            table = (
                pa.Table.from_batches(batches, file.schema_arrow if names is None else None)
                if batches
                else file.read(names)
            )
        _check_count(table.num_rows, file.metadata.num_rows)
        table.validate(full=True)  # before text that is not UTF-8, or a damaged offset, is used
        return table


def join_batches(batches: Iterable[_Rows], what: str) -> list[_Rows]:
    """Read batches, or tables, while they fit in memory.

    Raises:
        DataError: they do not; `what` names them.
    """
    joined, total, limit = list[_Rows](), 0, read_limit()
    for batch in batches:
        joined.append(batch)
        total += batch.nbytes
        if total > limit:
            raise too_large(what, limit)
    return joined


def read_group(file: pq.ParquetFile, path: Path, number: int, name: str) -> pa.ChunkedArray:
    """Read a column of a row group; raises as `read_columns_of`."""
    with reading_parquet(path):
        smallest, _ = _sizes(file, [name], [number])  # the most is unknown: images may repeat
        check_memory(smallest, f"{path}: row group {number}")
        column = file.read_row_group(number, [name])[name]
        _check_count(len(column), file.metadata.row_group(number).num_rows)
        return column


def _check_count(count: int, stated: int) -> None:
    if count != stated:
        raise ValueError(f"{stated:,} rows according to its footer, {count:,} in the file")


def _sizes(file: pq.ParquetFile, names: Sequence[str] | None, groups: Sequence[int] | None = None) -> tuple[int, int]:
    """Return the fewest and the most bytes that columns take in memory."""
    # Not from the metadata of the columns: Arrow ends the process where they are damaged.
    roots = None if names is None else {name.partition(".")[0] for name in names}
    kinds = [field.type for field in file.schema_arrow if roots is None or field.name in roots]
    width, varies = sum(map(_width, kinds)), any(map(_varies, kinds))
    smallest = largest = 0
    for number in range(file.num_row_groups) if groups is None else groups:
        group = file.metadata.row_group(number)
        rows, packed = group.num_rows, group.total_byte_size
        if min(rows, packed) < 0:
            raise DataError(f"{rows} rows of {packed} bytes")
        smallest += rows * width
        largest += rows * (width + packed if varies else width)
    return smallest, largest


def _width(kind: pa.DataType) -> int:
    """Return the fewest bytes of a value."""
    if pa.types.is_struct(kind):
        return sum(_width(field.type) for field in kind)
    try:
        return max(1, kind.bit_width // 8)
    except ValueError:  # no fixed width
        return 4


def _varies(kind: pa.DataType) -> bool:
    """Return whether values of a type may take more than its width, which few bytes in the file can say of many rows."""
    if pa.types.is_struct(kind):
        return any(_varies(field.type) for field in kind)
    return not (pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind))
