"""Hold the rows of tables whose cells are samples: of a table in memory, or of Parquet files, a few row groups at a time."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aekit.data.readers._parquet_files import open_parquet, read_columns_of, read_group
from aekit.data.readers.streamed_datasets import StreamedRecords
from aekit.data.reading import FileSize, reading
from aekit.errors import DataError, importing
from aekit.io.library_output import library_output_hidden

GROUP_BYTES = 2**29
"""Bytes of row groups that are kept in memory."""


class TableRecords:
    """The rows of a table in memory.

    Attributes:
        table: the rows.
        schema: the columns, with the table's metadata.
        splits: (N,) or None.
        blocks: None: any row can be read alone.

    Args:
        table: the rows.
        splits: (N,) or None.
        mapped: files that the table is mapped from, which are checked before it is touched.
    """

    blocks: np.ndarray | None = None

    def __init__(self, table: pa.Table, splits: np.ndarray | None = None, mapped: Sequence[FileSize] = ()) -> None:
        self.table, self.schema, self.splits, self._mapped = table, table.schema, splits, mapped

    def __len__(self) -> int:
        return len(self.table)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column."""
        self._check()
        return self.table[name]

    def _check(self) -> None:
        for file in self._mapped:
            file.check()

    def paths(self, name: str) -> list[str | None]:
        """Return the paths in a column of images."""
        return _paths(self.table[name])

    def cells(self, name: str) -> Sequence[Any]:
        """Return the cells of a column, which become Python objects when they are asked for."""
        return _Cells(self.table[name], self._check)


class ParquetRecords:
    """The rows of Parquet files, of which a few row groups are in memory at a time.

    Args:
        files: the files; all of them have the columns of the first.
        splits: split of each file, or None.

    Attributes:
        schema, splits: as in `TableRecords`.
        blocks: as in `Source`: the row groups.

    Raises:
        DataError: a file is damaged, or its columns differ.
    """

    def __init__(self, files: Sequence[Path], splits: Sequence[str] | None = None) -> None:
        self._files, self._paths, counts = list[pq.ParquetFile](), list(files), []
        for path in files:
            self._files.append(open_parquet(path))
            counts.append(self._files[-1].metadata.num_rows)
            ours, theirs = self._files[0].schema_arrow, self._files[-1].schema_arrow
            if not theirs.equals(ours):
                differing = sorted(set(map(str, ours)) ^ set(map(str, theirs)))
                raise DataError(
                    f"{path}: its columns differ from those of {files[0].name} ({'; '.join(differing[:3])})"
                )
        self.schema = self._files[0].schema_arrow
        self.splits = np.repeat(list(splits), counts) if splits is not None else None
        self._count = sum(counts)
        groups = [file.metadata.row_group(n).num_rows for file in self._files for n in range(file.num_row_groups)]
        self.blocks = np.append(0, np.cumsum(groups)).astype(np.int64)

    def __len__(self) -> int:
        return self._count

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column whole."""
        return _concatenate([self._read(file, path, name)[name] for file, path in zip(self._files, self._paths)])

    def paths(self, name: str) -> list[str | None]:
        """Return the paths in a column of images, without reading the images."""
        if not _has_paths(self.schema.field(name).type):
            return [None] * len(self)
        columns = [self._read(file, path, f"{name}.path")[name] for file, path in zip(self._files, self._paths)]
        return [path for column in columns for path in _paths(column)]

    @staticmethod
    def _read(file: pq.ParquetFile, path: Path, name: str) -> pa.Table:
        return read_columns_of(file, path, [name])

    def cells(self, name: str) -> Sequence[Any]:
        """Return the cells of a column, which are read when they are asked for."""
        return _RowGroups(self._files, self._paths, name)


class LanceRecords:
    """The rows of a Lance data set, of which only those that are asked for are read.

    Args:
        path: its folder.

    Attributes:
        schema, splits, blocks: as in `TableRecords`; there are no splits and blocks.

    Raises:
        DataError: pylance is not installed, or there is no readable data set.
    """

    blocks: np.ndarray | None = None

    def __init__(self, path: Path) -> None:
        with importing(f"{path}: needs the package pylance", "pip install 'aekit[lance]'"):
            import lance
        self._path = path
        with self._reading(), library_output_hidden():  # its stack, on a damaged data set
            self._dataset = lance.dataset(str(path))
            self._count = self._dataset.count_rows()
            self.schema: pa.Schema = self._dataset.schema
        self.splits: np.ndarray | None = None

    def __len__(self) -> int:
        return self._count

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column whole."""
        with self._reading():
            return self._dataset.to_table(columns=[name])[name]

    def paths(self, name: str) -> list[str | None]:
        """Return the paths in a column of images, without reading the images."""
        if not _has_paths(self.schema.field(name).type):
            return [None] * len(self)
        with self._reading():
            return self._dataset.to_table(columns={"path": f"{name}.path"})["path"].to_pylist()

    def _reading(self) -> AbstractContextManager[None]:
        return _reading_lance(self._path)

    def cells(self, name: str) -> Sequence[Any]:
        """Return the cells of a column, which are read when they are asked for."""
        return _Rows(self._dataset, self._path, name, len(self))


def _reading_lance(path: Path) -> AbstractContextManager[None]:
    return reading(path, "not a readable Lance data set")


Records = TableRecords | ParquetRecords | LanceRecords | StreamedRecords


class _Rows(Sequence[Any]):
    """Cells of a column of a Lance data set."""

    def __init__(self, dataset: Any, path: Path, name: str, count: int) -> None:
        self._dataset, self._path, self._name, self._count = dataset, path, name, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        with _reading_lance(self._path):
            return self._dataset.take([int(row)], columns=[self._name])[self._name][0].as_py()


class _Cells(Sequence[Any]):
    def __init__(self, column: pa.ChunkedArray, check: Callable[[], None]) -> None:
        self._column, self._check = column, check

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: Any) -> Any:
        self._check()
        return self._column[row].as_py()


class _RowGroups(Sequence[Any]):
    """Cells of a column of Parquet files; row groups are kept in memory up to `GROUP_BYTES`."""

    def __init__(self, files: Sequence[pq.ParquetFile], paths: Sequence[Path], name: str) -> None:
        self._name = name
        self._groups = [
            (file, path, number) for file, path in zip(files, paths) for number in range(file.num_row_groups)
        ]
        counts = [file.metadata.row_group(number).num_rows for file, _, number in self._groups]
        self._starts = [0, *np.cumsum(counts).tolist()]
        self._kept: OrderedDict[int, pa.ChunkedArray] = OrderedDict()

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: Any) -> Any:
        number = bisect.bisect_right(self._starts, row) - 1
        if number not in self._kept:
            file, path, group = self._groups[number]
            self._kept[number] = read_group(file, path, group, self._name)
            while len(self._kept) > 1 and sum(column.nbytes for column in self._kept.values()) > GROUP_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number][row - self._starts[number]].as_py()


def _paths(column: pa.ChunkedArray) -> list[str | None]:
    return pc.struct_field(column, "path").to_pylist() if _has_paths(column.type) else [None] * len(column)


def _has_paths(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and "path" in kind.names


def _concatenate(columns: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)
