"""Files of Arrow and Feather, as pandas, R and Hugging Face's caches write them."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from aekit.plugin import RecordOptions, SampleSpec, Source, TableRecords, open_records, read_arrow

looks_for = "tables of Arrow or Feather"
specific = True


def open_dataset(where: str, like: SampleSpec | None = None, **options: Unpack[RecordOptions]) -> Source:
    """Open the rows of a table: encoded images, paths of images relative to the file, lists of numbers, or plain numbers.

    Raises:
        DataError: the file is damaged, or nothing can be used as samples.
    """
    path = Path(where)
    return open_records(TableRecords(read_arrow(path)), where, like, "arrow", options, base=path.parent)


def claims(path: Path) -> bool:
    """Return True: the endings of its files are of no other format."""
    return True


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    import pyarrow as pa
    from pyarrow import feather

    rows = range(12)
    columns = {"id": [f"row-{row}" for row in rows], "a": [row / 2 for row in rows], "b": [row % 5 for row in rows]}
    feather.write_feather(pa.table(columns | {"label": ["x", "y"] * 6}), folder / "table.feather")
    return str(folder / "table.feather")
