"""Find the hidden rows and columns in an old Excel workbook (.xls), whose records no library of ours tells."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from aekit.data.readers._hidden_cells import Hidden
from aekit.errors import importing

_STREAMS = ("Workbook", "Book")
_BOUND_SHEET, _ROW, _COLUMNS, _END = 0x85, 0x208, 0x7D, 0x0A
"""Types of records: a sheet of the workbook, a row, columns, and the end of a sheet."""
_ROW_IS_HIDDEN, _COLUMN_IS_HIDDEN, _WIDEST = 0x20, 0x01, 256


def hidden_in_xls(path: Path, sheet: int) -> Hidden:
    """Return what is hidden in a sheet, by its place among all sheets; nothing where the file is not as expected."""
    hidden = Hidden()
    try:
        stream = _workbook(path)
        starts = [struct.unpack_from("<I", data)[0] for kind, data in _records(stream, 0) if kind == _BOUND_SHEET]
        for kind, data in _records(stream, starts[sheet]):
            if kind == _ROW and struct.unpack_from("<H", data, 12)[0] & _ROW_IS_HIDDEN:
                hidden.rows.add(struct.unpack_from("<H", data)[0] + 1)
            elif kind == _COLUMNS and struct.unpack_from("<H", data, 8)[0] & _COLUMN_IS_HIDDEN:
                first, last = struct.unpack_from("<2H", data)
                hidden.columns.update(range(first + 1, min(last + 1, _WIDEST) + 1))
    except (OSError, struct.error, LookupError):  # calamine has read it, so that only what is hidden is unknown
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


def _workbook(path: Path) -> bytes:
    """Return the stream of the workbook in a compound file, or the file where it is that stream, as before Excel 5.

    Raises:
        OSError: the compound file is damaged, or has no workbook.
        DataError: olefile is not installed.
    """
    with importing(f"{path}: .xls workbooks need olefile", "pip install 'aekit[excel]', or save it as CSV"):
        import olefile
    if not olefile.isOleFile(str(path)):
        return path.read_bytes()
    with olefile.OleFileIO(str(path)) as file:
        return file.openstream(next((name for name in _STREAMS if file.exists(name)), _STREAMS[0])).read()
