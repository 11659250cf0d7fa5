"""Name the rows, columns and sheets of a workbook that are hidden, as filters hide rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import IO

_HIDDEN = re.compile(rb"<(?:\w+:)?(row|col)\s([^>]*\bhidden=[\"'](?:1|true)[\"'][^>]*)>")
_PLACES = re.compile(rb"\b(r|min|max)=[\"'](\d+)[\"']")
_PARTS = re.compile(rb"<table:(table|table-row|table-column)(?=[\s/>])([^>]*)>|<(/)table:table\s*>")
"""Tables, rows and columns of OpenDocument, and the ends of tables."""
_REPEATED = re.compile(rb"\btable:number-(?:rows|columns)-repeated=[\"'](\d+)[\"']")
_COLLAPSED = re.compile(rb"\btable:visibility=[\"'](?:collapse|filter)[\"']")
_NAME = re.compile(rb"\btable:name=(?:\"([^\"]*)\"|'([^']*)')")
_CHUNK, _LONGEST = 1 << 24, 1 << 10
"""Bytes of a sheet that are searched at a time, and about the most of a tag."""
_WIDEST, _SHOWN = 1 << 14, 3
"""Most columns of a sheet, as spreadsheets hide all columns to the right of a table at once; names in a line."""


@dataclass
class Hidden:
    """The hidden rows and columns of a sheet, from 1 on."""

    rows: set[int] = field(default_factory=set)
    columns: set[int] = field(default_factory=set)


def hidden_in_excel(xml: IO[bytes]) -> Hidden:
    """Return what is hidden in a sheet of Office Open XML, as it is in the workbook."""
    hidden = Hidden()
    for tag, attributes in _tags(xml, _HIDDEN, b"hidden="):
        numbers: dict[bytes, bytes] = dict(_PLACES.findall(attributes))
        first = int(numbers.get(b"r", numbers.get(b"min", b"0")))
        last = min(int(numbers.get(b"max", first)), first + _WIDEST)
        (hidden.rows if tag == b"row" else hidden.columns).update(range(first, last + 1))
    return hidden


def hidden_in_open_document(xml: IO[bytes], name: str, most_rows: int) -> Hidden:
    """Return what is hidden in a sheet of OpenDocument.

    Args:
        xml: the content of the document, with all of its sheets.
        name: name of the sheet.
        most_rows: number of its rows.
    """
    hidden, inside, row, column = Hidden(), 0, 1, 1
    for tag, attributes, closed in _tags(xml, _PARTS):
        if tag == b"table" or closed:  # a table may lie in a cell of another
            if not inside and (match := _NAME.search(attributes)):
                named = unescape((match[1] or match[2] or b"").decode("utf-8", "replace"))
                inside, row, column = int(named == name), 1, 1
            elif inside and not attributes.endswith(b"/"):
                inside += -1 if closed else 1
                if not inside:
                    break
        elif inside == 1:
            repeated = _REPEATED.search(attributes)
            count = int(repeated[1]) if repeated else 1
            is_hidden = _COLLAPSED.search(attributes)
            if tag == b"table-row":
                hidden.rows.update(range(row, min(row + count, most_rows + 1)) if is_hidden else ())
                row += count
            else:
                hidden.columns.update(range(column, min(column + count, _WIDEST)) if is_hidden else ())
                column += count
    return hidden


def _tags(xml: IO[bytes], pattern: re.Pattern[bytes], needed: bytes = b"") -> Iterable[tuple[bytes, ...]]:
    """Yield the groups of a pattern for tags in a file of XML, whose text is searched where it holds what is needed."""
    tail = b""
    while chunk := xml.read(_CHUNK):
        text = tail + chunk
        end = text.rfind(b">") + 1
        if needed in text:
            yield from pattern.findall(text[:end])
        tail = text[end:][-_LONGEST:]


def describe_hidden(hidden: Hidden, rows: Sequence[Sequence[str]], first: tuple[int, int] = (1, 1)) -> list[str]:
    """Return a line on the hidden rows and columns of a sheet that hold something, which are read as all others.

    Args:
        hidden: what is hidden.
        rows: cells of the sheet.
        first: row and column of the first cell.
    """
    top, left = first
    last_row = top + len(rows)
    filled_rows = [row for row in sorted(hidden.rows) if top <= row < last_row and any(rows[row - top])]
    filled_columns = [
        column
        for column in sorted(hidden.columns)
        if column >= left and any(len(row) > column - left and row[column - left] for row in rows)
    ]
    parts = [_count("row", map(str, filled_rows)), _count("column", map(_letters, filled_columns))]
    said = " and ".join(filter(None, parts))
    return [f"hidden in the sheet, but read: {said}; delete there what is no data"] if said else []


def describe_hidden_sheets(sheets: Mapping[str, bool], read: str) -> list[str]:
    """Return a line on hidden sheets beside the one that is read; `sheets` says of each whether it is shown."""
    hidden = [repr(name) for name, is_shown in sheets.items() if not is_shown and name != read]
    if not hidden:
        return []
    return [f"hidden sheets are not read: {first_of(hidden)}"]


def first_of(names: Sequence[str]) -> str:
    """Return the first few names as a list in one line, with dots if there are more."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _letters(column: int) -> str:
    """Return the name of a column, from 1 on: A, ..., Z, AA, ..."""
    letters = ""
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def _count(what: str, names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return ""
    count = f"1 {what}" if len(listed) == 1 else f"{len(listed):,} {what}s"
    return f"{count} ({first_of(listed)})"
