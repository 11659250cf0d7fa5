"""Name the rows, columns and sheets of an Excel workbook that are hidden, as filters hide rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import IO

_HIDDEN = re.compile(rb"<(?:\w+:)?(row|col)\s([^>]*\bhidden=[\"'](?:1|true)[\"'][^>]*)>")
_PLACES = re.compile(rb"\b(r|min|max)=[\"'](\d+)[\"']")
_CHUNK, _LONGEST = 1 << 24, 1 << 10
"""Bytes of a sheet that are searched at a time, and about the most of a tag."""
_SHOWN = 3


def describe_hidden(xml: IO[bytes], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line on the hidden rows and columns of a sheet that hold something, which are read as all others.

    Args:
        xml: the sheet, as it is in the workbook.
        rows: its cells from its first row and column on.
    """
    places: dict[bytes, set[int]] = {b"row": set(), b"col": set()}
    tail = b""
    while chunk := xml.read(_CHUNK):
        text = tail + chunk
        for kind, attributes in _HIDDEN.findall(text) if b"hidden=" in text else ():
            numbers = dict(_PLACES.findall(attributes))
            first = int(numbers.get(b"r", numbers.get(b"min", 0)))
            # Spreadsheets hide all columns to the right of a table at once.
            last = min(int(numbers.get(b"max", first)), first + (1 << 14))
            places[kind].update(range(first, last + 1))
        tail = text[-_LONGEST:]
    filled_rows = [number for number in sorted(places[b"row"]) if 0 < number <= len(rows) and any(rows[number - 1])]
    filled_columns = [
        number
        for number in sorted(places[b"col"])
        if number and any(len(row) >= number and row[number - 1] for row in rows)
    ]
    from openpyxl.utils import get_column_letter  # is installed, as it has opened the workbook

    parts = [_count("row", map(str, filled_rows)), _count("column", map(get_column_letter, filled_columns))]
    hidden = " and ".join(filter(None, parts))
    return [f"hidden in the sheet, but read: {hidden}; delete there what is no data"] if hidden else []


def describe_hidden_sheets(sheets: Mapping[str, bool], read: str) -> list[str]:
    """Return a line on hidden sheets beside the one that is read; `sheets` says of each whether it is shown."""
    hidden = [repr(name) for name, is_shown in sheets.items() if not is_shown and name != read]
    if not hidden:
        return []
    return [f"hidden sheets are not read: {first_of(hidden)}"]


def first_of(names: Sequence[str]) -> str:
    """Return the first few names as a list in one line, with dots if there are more."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _count(what: str, names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return ""
    count = f"1 {what}" if len(listed) == 1 else f"{len(listed):,} {what}s"
    return f"{count} ({first_of(listed)})"
