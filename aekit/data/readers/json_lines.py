"""Read JSON lines, one record a line, and JSON files that hold a list of records."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.json

from aekit.data.reading import read_all, reading
from aekit.errors import DataError


def read_json_lines(path: Path) -> pa.Table:
    """Read records as a table; a key that a record lacks is a missing value.

    Raises:
        DataError: the file is empty, a line is no record, or a key has values of different types.
    """
    with reading(path, "not readable as JSON lines"):
        with pa.input_stream(str(path)) as stream:  # unpacks .gz
            content = read_all(stream, path, copies=3).removeprefix(b"\xef\xbb\xbf")
        if not content.strip():
            raise DataError(f"{path}: empty file")
        if content.lstrip()[:1] == b"[":
            return _from_list(path, json.loads(content))
        if content.lstrip()[:1] != b"{":  # Arrow ends the process where the first record is null
            raise DataError(f"{path}: its first line is no record; expected {{...}} with named values")
        options = pa.json.ReadOptions(block_size=max(len(content) + 1, 1 << 20))
        table = pa.json.read_json(io.BytesIO(content), options)
        table.validate(full=True)  # before text that is not UTF-8 is used
        return table


def _from_list(path: Path, records: list[object]) -> pa.Table:
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise DataError(f"{path}: entry {number} of the list is no record; expected {{...}} with named values")
    return pa.Table.from_pylist(records)
