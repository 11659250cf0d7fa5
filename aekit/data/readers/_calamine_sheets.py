"""Open old Excel workbooks (.xls), binary ones (.xlsb) and OpenDocument spreadsheets (.ods), by calamine.

Sizes in a damaged binary workbook make calamine ask for all the memory of a machine, or abort its process. So another process,
whose memory is limited, reads such a workbook first.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from aekit.data.readers._hidden_cells import Hidden, describe_hidden, hidden_in_open_document
from aekit.data.readers._xls_records import hidden_in_xls
from aekit.data.reading import reading
from aekit.errors import DataError, importing
from aekit.io.child_processes import describe_end, run_python
from aekit.io.memory import check_memory, read_limit, too_large

_COMPLAINT = "not a readable workbook"
_COPIES = 8
"""How many times larger than unpacked a workbook is in memory, about."""
_BINARY = (".xls", ".xlsb")
_TRIAL_BYTES, _TRIAL_COPIES, _OUT_OF_MEMORY = 2**31, 64, 3
"""Memory of the process that tries a workbook, and how many times its size in addition; its exit code if that is too little."""
_TRIAL = f"""
import resource, sys, python_calamine
try:
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
except (OSError, ValueError):  # macOS has no such limit
    pass
try:
    with python_calamine.CalamineWorkbook.from_path(sys.argv[1]) as book:
        for sheet in book.sheets_metadata:
            if sheet.typ == python_calamine.SheetTypeEnum.WorkSheet:
                book.get_sheet_by_name(sheet.name).to_python(skip_empty_area=True)
except MemoryError:
    sys.exit({_OUT_OF_MEMORY})
"""


class CalamineBook:
    """A workbook.

    Attributes:
        sheets: names of the sheets of cells -> whether they are shown.
    """

    def __init__(self, path: Path, book: Any) -> None:
        from python_calamine import SheetTypeEnum, SheetVisibleEnum

        self._path, self._book = path, book
        self._places = {sheet.name: place for place, sheet in enumerate(book.sheets_metadata)}
        self.sheets = {
            sheet.name: sheet.visible == SheetVisibleEnum.Visible
            for sheet in book.sheets_metadata
            if sheet.typ == SheetTypeEnum.WorkSheet
        }

    def rows(self, name: str) -> Iterable[list[Any]]:
        """Return the rows of a sheet from the first that holds something, each from the first column that does."""
        return self._book.get_sheet_by_name(name).to_python(skip_empty_area=True)

    def describe_hidden(self, name: str, rows: Sequence[Sequence[str]]) -> list[str]:
        """Return a line on the hidden rows and columns of a sheet, whose cells are these; none is found in .xlsb."""
        top, left = (place + 1 for place in self._book.get_sheet_by_name(name).start or (0, 0))
        hidden, ending = Hidden(), self._path.suffix.lower()
        if ending == ".xls":
            hidden = hidden_in_xls(self._path, self._places[name])
        elif ending == ".ods":
            with zipfile.ZipFile(self._path) as archive, archive.open("content.xml") as content:
                hidden = hidden_in_open_document(content, name, top + len(rows))
        return describe_hidden(hidden, rows, (top, left))


@contextmanager
def opened_by_calamine(path: Path) -> Iterator[CalamineBook]:
    """Open a workbook.

    Raises:
        DataError: python-calamine is not installed; the file is damaged, has a password, or does not fit in memory.
    """
    with importing(
        f"{path}: {path.suffix} workbooks need python-calamine", "pip install 'aekit[excel]', or save it as CSV"
    ):
        import python_calamine
    with reading(path, _COMPLAINT):
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
        check_memory(_COPIES * size, f"{path}: its sheets")
        if path.suffix.lower() in _BINARY:
            limit = min(read_limit(), _TRIAL_BYTES + _TRIAL_COPIES * size)
            _try(path.absolute(), path.stat().st_size, path.stat().st_mtime_ns, limit)
        try:
            book = python_calamine.CalamineWorkbook.from_path(str(path))
        except python_calamine.PasswordError:
            raise DataError(f"{path}: encrypted; save it without a password") from None
        with book:
            yield CalamineBook(path, book)


@lru_cache(maxsize=64)
def _try(path: Path, size: int, changed: int, limit: int) -> None:
    """Let another process read a workbook of this size and time, which may be damaged, in so many bytes of memory.

    Raises:
        DataError: it takes more, or that process was ended by a signal. What it says otherwise, this process will find too.
    """
    code = run_python("-c", _TRIAL, str(path), str(limit)).returncode
    if code == _OUT_OF_MEMORY:
        raise too_large(f"{path}: its sheets", limit)
    if code < 0:
        raise DataError(f"{path}: {_COMPLAINT} (in its reader: {describe_end(code)})")
