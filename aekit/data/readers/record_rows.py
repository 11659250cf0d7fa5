"""Hold the rows of tables whose cells are samples: of a table in memory, or of Parquet files, a few row groups at a time."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aekit.errors import DataError

GROUP_BYTES = 2**29
"""Bytes of row groups that are kept in memory."""


class TableRecords:
    """The rows of a table in memory.

    Attributes:
        table: the rows.
        schema: the columns, with the table's metadata.
        splits: (N,) or None.
    """

    def __init__(self, table: pa.Table, splits: np.ndarray | None = None) -> None:
        self.table, self.schema, self.splits = table, table.schema, splits

    def __len__(self) -> int:
        return len(self.table)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column."""
        return self.table[name]

    def paths(self, name: str) -> list[str | None]:
        """Return the paths in a column of images."""
        return _paths(self.table[name])

    def cells(self, name: str) -> Sequence[Any]:
        """Return the cells of a column, which become Python objects when they are asked for."""
        return _Cells(self.table[name])


class ParquetRecords:
    """The rows of Parquet files, of which a few row groups are in memory at a time.

    Args:
        files: the files; all of them have the columns of the first.
        splits: split of each file, or None.

    Attributes:
        schema, splits: as in `TableRecords`.

    Raises:
        DataError: a file is damaged, or its columns differ.
    """

    def __init__(self, files: Sequence[Path], splits: Sequence[str] | None = None) -> None:
        self._files, counts = [], []
        for path in files:
            try:
                self._files.append(pq.ParquetFile(path, memory_map=True))
            except pa.ArrowException as error:
                raise DataError(f"{path}: not a readable table ({str(error).splitlines()[0]})") from None
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

    def __len__(self) -> int:
        return self._count

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column whole."""
        return _concatenate([file.read([name])[name] for file in self._files])

    def paths(self, name: str) -> list[str | None]:
        """Return the paths in a column of images, without reading the images."""
        if not _has_paths(self.schema.field(name).type):
            return [None] * len(self)
        return [path for file in self._files for path in _paths(file.read([f"{name}.path"])[name])]

    def cells(self, name: str) -> Sequence[Any]:
        """Return the cells of a column, which are read when they are asked for."""
        return _RowGroups(self._files, name)


class LanceRecords:
    """The rows of a Lance data set, of which only those that are asked for are read.

    Args:
        path: its folder.

    Attributes:
        schema, splits: as in `TableRecords`; there are no splits.

    Raises:
        DataError: pylance is not installed, or there is no readable data set.
    """

    def __init__(self, path: Path) -> None:
        try:
            import lance
        except ImportError:
            raise DataError(f"{path}: needs the package pylance: pip install 'aekit[lance]'") from None
        try:
            self._dataset = lance.dataset(str(path))
            self._count = self._dataset.count_rows()
        except (ValueError, OSError) as error:
            raise DataError(f"{path}: not a readable Lance data set ({str(error).splitlines()[0][:200]})") from None
        self.schema: pa.Schema = self._dataset.schema
        self.splits: np.ndarray | None = None

    def __len__(self) -> int:
        return self._count

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column whole."""
        return self._dataset.to_table(columns=[name])[name]

    def paths(self, name: str) -> list[str | None]:
        """Return the paths in a column of images, without reading the images."""
        if not _has_paths(self.schema.field(name).type):
            return [None] * len(self)
        return self._dataset.to_table(columns={"path": f"{name}.path"})["path"].to_pylist()

    def cells(self, name: str) -> Sequence[Any]:
        """Return the cells of a column, which are read when they are asked for."""
        return _Rows(self._dataset, name, len(self))


Records = TableRecords | ParquetRecords | LanceRecords


class _Rows(Sequence[Any]):
    """Cells of a column of a Lance data set."""

    def __init__(self, dataset: Any, name: str, count: int) -> None:
        self._dataset, self._name, self._count = dataset, name, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        return self._dataset.take([int(row)], columns=[self._name])[self._name][0].as_py()


class _Cells(Sequence[Any]):
    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: Any) -> Any:
        return self._column[row].as_py()


class _RowGroups(Sequence[Any]):
    """Cells of a column of Parquet files; row groups are kept in memory up to `GROUP_BYTES`."""

    def __init__(self, files: Sequence[pq.ParquetFile], name: str) -> None:
        self._name = name
        self._groups = [(file, number) for file in files for number in range(file.num_row_groups)]
        counts = [file.metadata.row_group(number).num_rows for file, number in self._groups]
        self._starts = [0, *np.cumsum(counts).tolist()]
        self._kept: OrderedDict[int, pa.ChunkedArray] = OrderedDict()

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: Any) -> Any:
        number = bisect.bisect_right(self._starts, row) - 1
        if number not in self._kept:
            file, group = self._groups[number]
            self._kept[number] = file.read_row_group(group, [self._name])[self._name]
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
