"""Read Parquet files of aekit's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file, or some of its columns in the given order.

    `pyarrow.parquet.read_table` would read it as a data set, whose scanner waits for ever for a thread that memory does not
    allow; this raises an error.
    """
    with pq.ParquetFile(path) as file:
        table = file.read(columns)
    return table if columns is None else table.select(list(columns))
