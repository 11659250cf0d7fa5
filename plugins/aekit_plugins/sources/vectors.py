"""Vectors that another program computed: arrays, and columns of lists in Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from aekit.plugin import (
    ColumnOptions,
    Contents,
    DataError,
    ParquetRecords,
    SampleSpec,
    Source,
    has_samples,
    image_columns,
    list_shards,
    open_contents,
    open_records,
    parquet_schema,
    read_npy,
)

looks_for = "Parquet files with a column of lists of numbers"
specific = True


def open_dataset(where: str, like: SampleSpec | None = None, **options: Unpack[ColumnOptions]) -> Source:
    """Open the lists of numbers in a column of Parquet files, all of one length, or an array (N, D) in a .npy file.

    `aekit index`, `aekit cluster`, `aekit map` and `aekit evaluate` take such files in place of embeddings. Nested lists are
    images or series.

    Raises:
        DataError: no column of lists, or several; a list that is missing or differs in length.
    """
    path = Path(where)
    if path.name.lower().endswith((".npy", ".npy.gz")):
        contents = Contents(read_npy(path))
        if contents.samples.ndim != 2:  # type: ignore[union-attr]
            raise DataError(f"{path}: an array of shape {contents.samples.shape}: expected vectors (N, D)")  # type: ignore[union-attr]
        return open_contents(contents, like)
    shards = list_shards(path, (".parquet",))
    records = ParquetRecords(shards.paths, shards.splits)
    return open_records(records, where, like, "vectors", {**options}, losses=shards.losses)


def claims(path: Path) -> bool:
    """Return True for a Parquet file with a column of lists of numbers and none of images, or a folder of such files."""
    schema = parquet_schema(path)
    return schema is not None and has_samples(schema) and not image_columns(schema)


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    table = pa.table({"id": [f"row-{row}" for row in range(12)], "vector": rows.tolist(), "label": ["a", "b"] * 6})
    pq.write_table(table, folder / "vectors.parquet")
    return str(folder / "vectors.parquet")
