"""Read files of Arrow's own format: Feather, and the files and streams of its IPC, as Hugging Face's caches hold them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from aekit.data.readers._parquet_files import join_batches
from aekit.data.reading import reading
from aekit.errors import DataError


def read_arrow(path: Path) -> pa.Table:
    """Read all rows of a file, which is not mapped into memory, so that one that shrinks costs a line and not the process.

    Raises:
        DataError: it is damaged, of Feather's first version, or does not fit in memory.
    """
    with reading(path, "not a readable Arrow file"), pa.OSFile(str(path)) as file:
        start = file.read(6)
        file.seek(0)
        if start[:4] == b"FEA1":
            raise DataError(f"{path}: Feather of version 1, which is out of use; save it as version 2, Parquet or CSV")
        if start == b"ARROW1":
            opened = pa.ipc.open_file(file)
            batches = (opened.get_batch(number) for number in range(opened.num_record_batches))
        else:
            opened = pa.ipc.open_stream(file)
            batches = iter(opened)
        table = pa.Table.from_batches(join_batches(batches, f"{path}: its rows"), opened.schema)
        table.validate(full=True)  # before a damaged offset reaches into other memory
        return table
