"""Open old Excel workbooks (.xls), binary ones (.xlsb) and OpenDocument spreadsheets (.ods), by calamine."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aekit.data.reading import reading
from aekit.errors import DataError, importing
from aekit.io.memory import check_memory

CALAMINE_ENDINGS = (".xls", ".xlsb", ".ods")
_COMPLAINT = "not a readable workbook"
_COPIES = 8
"""How many times larger than unpacked a workbook is in memory, about."""


class CalamineBook:
    """A workbook.

    Attributes:
        sheets: names of the sheets of cells -> whether they are shown.
    """

    def __init__(self, book: Any) -> None:
        from python_calamine import SheetTypeEnum, SheetVisibleEnum

        self._book = book
        self.sheets = {
            sheet.name: sheet.visible == SheetVisibleEnum.Visible
            for sheet in book.sheets_metadata
            if sheet.typ == SheetTypeEnum.WorkSheet
        }

    def rows(self, name: str) -> Iterable[list[Any]]:
        """Return the rows of a sheet from the first that holds something, each from the first column that does."""
        return self._book.get_sheet_by_name(name).to_python(skip_empty_area=True)


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
        try:
            book = python_calamine.CalamineWorkbook.from_path(str(path))
        except python_calamine.PasswordError:
            raise DataError(f"{path}: encrypted; save it without a password") from None
        with book:
            yield CalamineBook(book)
