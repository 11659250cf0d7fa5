"""JSON lines: one record a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Unpack

from aekit.plugin import RecordOptions, SampleSpec, Source, TableRecords, open_records, read_json_lines

looks_for = "records, one a line"
specific = True


def open_dataset(where: str, like: SampleSpec | None = None, **options: Unpack[RecordOptions]) -> Source:
    """Open records such as ``{"vector": [0.1, 0.2], "label": "a"}``, ``{"file_name": "a.png"}``, or of plain numbers.

    Samples are lists of numbers, images whose paths are relative to the file, or vectors of the keys with numbers.

    Raises:
        DataError: a line is not a record, a key has values of different types, or nothing can be used as samples.
    """
    path = Path(where)
    return open_records(TableRecords(read_json_lines(path)), where, like, "json-lines", options, base=path.parent)


def claims(path: Path) -> bool:
    """Return True: the endings of its files are of no other format, but .jsonl.gz ends in .gz too."""
    return True


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    lines = [
        json.dumps({"id": f"r{row}", "vector": [row + 1, row / 2, row % 5], "label": "ab"[row % 2]})
        for row in range(12)
    ]
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return str(folder / "records.jsonl")
