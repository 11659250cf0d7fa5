"""Find the hidden rows and columns in an old Excel workbook (.xls): records in a stream in a compound file."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from aekit.data.readers._hidden_cells import Hidden

_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEADER, _ENTRY, _IN_HEADER = 512, 128, 109
"""Bytes of the header of a compound file and of an entry of its directory, and sectors of its table that the header lists."""
_LARGEST = 12
"""The largest power of 2 of bytes that a sector has."""
_LAST_SECTOR = 0xFFFFFFFA
"""Numbers from here on are no sectors, but mean an end."""
_STREAMS = ("Workbook", "Book")
_BOUND_SHEET, _ROW, _COLUMNS, _END = 0x85, 0x208, 0x7D, 0x0A
"""Types of records: a sheet of the workbook, a row, columns, and the end of a sheet."""
_ROW_IS_HIDDEN, _COLUMN_IS_HIDDEN, _WIDEST = 0x20, 0x01, 256


def hidden_in_xls(path: Path, sheet: int) -> Hidden:
    """Return what is hidden in a sheet, by its place among all sheets; nothing where the file is not as expected."""
    hidden = Hidden()
    try:
        stream = _workbook(path.read_bytes())
        starts = [struct.unpack_from("<I", data)[0] for kind, data in _records(stream, 0) if kind == _BOUND_SHEET]
        for kind, data in _records(stream, starts[sheet]):
            if kind == _ROW and struct.unpack_from("<H", data, 12)[0] & _ROW_IS_HIDDEN:
                hidden.rows.add(struct.unpack_from("<H", data)[0] + 1)
            elif kind == _COLUMNS and struct.unpack_from("<H", data, 8)[0] & _COLUMN_IS_HIDDEN:
                first, last = struct.unpack_from("<2H", data)
                hidden.columns.update(range(first + 1, min(last + 1, _WIDEST) + 1))
    except (struct.error, LookupError):  # calamine has read it, so that only what is hidden is unknown
        pass
    return hidden


def _records(stream: bytes, place: int) -> Iterator[tuple[int, bytes]]:
    """Yield the types and contents of records up to the end of their part of the stream."""
    while place + 4 <= len(stream):
        kind, size = struct.unpack_from("<2H", stream, place)
        if kind == _END:
            return
        yield kind, stream[place + 4 : place + 4 + size]
        place += 4 + size


def _workbook(data: bytes) -> bytes:
    """Return the stream of the workbook in a compound file, or the file where it is that stream, as before Excel 5.

    Raises:
        KeyError: there is none.
        struct.error: a table is cut off.
    """
    if not data.startswith(_MAGIC):
        return data
    sector, small = (1 << min(power, _LARGEST) for power in struct.unpack_from("<2H", data, 30))
    directory, least = struct.unpack_from("<I4xI", data, 48)
    small_table, more = struct.unpack_from("<I4xI", data, 60)
    table_sectors = list(struct.unpack_from(f"<{_IN_HEADER}I", data, 76))
    for _ in range(len(data) // sector):  # lists of further sectors, each with the number of the next one
        if more >= _LAST_SECTOR:
            break
        *numbers, more = struct.unpack_from(f"<{sector // 4}I", data, _HEADER + more * sector)
        table_sectors += numbers
    table_sectors = [number for number in table_sectors if number < _LAST_SECTOR][: len(data) // sector]
    table = _numbers(b"".join(_sector(data, number, sector) for number in table_sectors))
    entries = _chain(data[_HEADER:], table, directory, sector)
    streams: dict[str, tuple[int, int]] = {}
    for place in range(0, len(entries) - _ENTRY + 1, _ENTRY):
        length, kind = struct.unpack_from("<HB", entries, place + 64)
        name = entries[place : place + max(length - 2, 0)].decode("utf-16-le", "replace")
        streams.setdefault("" if kind == 5 else name, struct.unpack_from("<2I", entries, place + 116))
    start, size = streams[next((name for name in _STREAMS if name in streams), _STREAMS[0])]
    if size >= least:
        return _chain(data[_HEADER:], table, start, sector)[:size]
    blocks = _chain(data[_HEADER:], table, streams.get("", (_LAST_SECTOR, 0))[0], sector)
    return _chain(blocks, _numbers(_chain(data[_HEADER:], table, small_table, sector)), start, small)[:size]


def _sector(data: bytes, number: int, size: int) -> bytes:
    return data[_HEADER + number * size : _HEADER + (number + 1) * size]


def _numbers(data: bytes) -> Sequence[int]:
    return struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4])


def _chain(data: bytes, table: Sequence[int], start: int, size: int) -> bytes:
    """Return the sectors that follow each other from `start` on, as the table says, up to the first that it lacks."""
    parts: list[bytes] = []
    while start < len(table) and len(parts) <= len(data) // size:
        parts.append(data[start * size : (start + 1) * size])
        start = table[start]
    return b"".join(parts)
