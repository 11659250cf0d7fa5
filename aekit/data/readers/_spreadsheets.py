"""Read sheets of workbooks (.xlsx, .xlsm, .xls, .xlsb, .ods) as text tables: headers and types are found as in a CSV file."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from aekit.data.readers._calamine_sheets import opened_by_calamine
from aekit.data.readers._hidden_cells import describe_hidden, describe_hidden_sheets, first_of, hidden_in_excel
from aekit.data.readers._number_spelling import looks_numeric
from aekit.data.readers.endings import CALAMINE_ENDINGS, SHEET_ENDINGS
from aekit.data.reading import reading
from aekit.errors import DataError, closest_name, importing
from aekit.io.memory import check_memory, read_limit, too_large
from aekit.shared_settings import warning_rules

FIRST_ROWS = 21
"""Rows that tell what a sheet holds: that of the names, and 20 below it."""
MOST_ROWS = 1 << 20
"""Rows of the largest sheet that spreadsheet programs write; a row may say that its number is far larger."""
_COMPLAINT = "not a readable workbook"
_LOOKED_AT = 512
_CELLS = re.compile(rb"[\n\r\t,;]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_COPIES = 4
"""How many times larger than in its XML a workbook is in memory, about."""


def is_spreadsheet(path: Path) -> bool:
    """Return whether a file is a workbook, by its name."""
    return path.name.lower().endswith(SHEET_ENDINGS)


def read_sheet(path: Path, sheet: str = "auto") -> tuple[str, list[str]]:
    """Return the cells of a sheet as the text of a CSV file, and choices that were made, a line each.

    Dates and times are written in ISO 8601, durations in seconds. Columns without any cell are left out. Of formulas, the
    workbook's stored results are read.

    Args:
        path: the workbook.
        sheet: name of the sheet; ``auto``: the first that is not hidden and holds more than lines of text.

    Raises:
        DataError: openpyxl or python-calamine is not installed; the file is damaged, encrypted or too large; or it has no such
            sheet.
    """
    name, notes, rows = _read_rows(path, sheet)
    widest = max(map(len, rows), default=0)
    is_openpyxl = not path.name.lower().endswith(CALAMINE_ENDINGS)
    if is_openpyxl and any(row and (len(row) < widest or "" in row) for row in rows):
        notes += _formulas_without_result(path, name, rows)
    notes += _stand_apart(rows)
    return _to_csv(rows), notes


def read_first_rows(path: Path, sheet: str = "auto") -> str:
    """Return the first `FIRST_ROWS` rows of a sheet, as `read_sheet` does, once for all sources that ask; raises as that does."""
    with reading(path, _COMPLAINT):
        status = path.stat()
    return _first_rows(path, sheet, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=8)
def _first_rows(path: Path, sheet: str, stamp: tuple[int, int]) -> str:
    """Read them for a state of the file: opening a workbook reads the words of all its sheets, which may take seconds."""
    return _to_csv(_read_rows(path, sheet, FIRST_ROWS)[2])


def _read_rows(path: Path, sheet: str, most_rows: int | None = None) -> tuple[str, list[str], list[list[str]]]:
    """Return the name of the chosen sheet, notes on the choice, and its rows."""
    _refuse_text(path)
    if path.name.lower().endswith(CALAMINE_ENDINGS):
        with opened_by_calamine(path) as other:
            name, notes, rows = _rows_of_chosen(path, other.sheets, sheet, other.rows, most_rows)
            return name, [*notes, *(other.describe_hidden(name, rows) if most_rows is None else [])], rows
    with _opened(path, results=True) as book:
        sheets = {part.title: part.sheet_state == "visible" for part in book.worksheets}
        for part in book.worksheets:
            part.reset_dimensions()  # which other programs write wrongly
        name, notes, rows = _rows_of_chosen(
            path, sheets, sheet, lambda name: book[name].iter_rows(values_only=True), most_rows
        )
        if most_rows is None:
            with book[name]._get_source() as xml:  # the cells that openpyxl yields do not say that they are hidden
                notes += describe_hidden(hidden_in_excel(xml), rows)
        return name, notes, rows


def _refuse_text(path: Path) -> None:
    """Refuse a text table under the name of a workbook, as instruments and web shops export it; raises `DataError`."""
    with reading(path, _COMPLAINT), path.open("rb") as file:
        head = file.read(_LOOKED_AT)
    if _CELLS.search(head) and head.isascii() and not _CONTROL.search(head):
        ending = ".tsv" if b"\t" in head else ".csv"
        raise DataError(f"{path}: a text table, not a workbook; give it a name that ends in {ending}")


def _rows_of_chosen(
    path: Path,
    sheets: Mapping[str, bool],
    sheet: str,
    rows_of: Callable[[str], Iterable[Iterable[Any]]],
    most_rows: int | None,
) -> tuple[str, list[str], list[list[str]]]:
    """Return what `_read_rows` does; of sheets that are not named, the first that holds a table, or else something."""
    names = _choose_sheets(path, sheets, sheet)
    filled: list[str] = []
    for name in names if len(names) > 1 else ():
        first_rows = _as_text(path, name, rows_of(name), FIRST_ROWS)
        filled += [name] if any(first_rows) else []
        if not _is_prose(first_rows):
            break
    else:
        name = (filled or names)[0]
    durations: list[str] = []
    rows = _as_text(path, name, rows_of(name), most_rows, durations)
    others = [repr(other) for other in names if other != name]
    notes = [f"sheet {name!r} of {len(names)} is read; sheet = ... reads {first_of(others)}"] if others else []
    return name, [*notes, *describe_hidden_sheets(sheets, name), *durations], rows


def _is_prose(rows: list[list[str]]) -> bool:
    """Return whether rows are lines of text, such as remarks on the other sheets: one cell each, and no number."""
    cells = [[cell for cell in row if cell] for row in rows]
    return all(len(row) <= 1 for row in cells) and not any(looks_numeric(row[0]) for row in cells if row)


def _stand_apart(rows: list[list[str]]) -> list[str]:
    """Return a line if an empty column parts the cells of the first full row, as two tables beside each other have it."""
    first = next((row for row in rows if sum(map(bool, row)) > 1), [])
    used = {place for row in rows for place, cell in enumerate(row) if cell}
    gaps = [place for place in range(min(used, default=0), len(first)) if place not in used]
    if not gaps or not first[gaps[0] - 1]:
        return []
    after = next(cell for cell in first[gaps[0] :] if cell)
    return [
        f"an empty column is between {first[gaps[0] - 1]!r} and {after!r}: read as one table; save each of two on its own sheet"
    ]


def _to_csv(rows: list[list[str]]) -> str:
    """Return rows as the text of a CSV file, without the columns that are empty in all of them."""
    used = sorted({place for row in rows for place, cell in enumerate(row) if cell})
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for row in rows:
        if any(row):
            writer.writerow([row[place] if place < len(row) else "" for place in used])
        else:
            text.write("\r\n")
    return text.getvalue()


@contextmanager
def _opened(path: Path, *, results: bool) -> Iterator[Any]:
    """Open a workbook with the results of its formulas, or with the formulas."""
    with importing(f"{path}: Excel workbooks need openpyxl", "pip install 'aekit[excel]', or save it as CSV"):
        import openpyxl
    # The warnings are about drawings and validation, which are not data.
    with reading(path, _COMPLAINT), path.open("rb") as file, warning_rules(("ignore", "", Warning)):
        if file.read(4) == b"\xd0\xcf\x11\xe0":
            raise DataError(
                f"{path}: encrypted, or an .xls workbook of another name; save it as .xlsx without a password"
            )
        with zipfile.ZipFile(file) as archive:
            check_memory(_COPIES * sum(entry.file_size for entry in archive.infolist()), f"{path}: its sheets")
        book = openpyxl.load_workbook(file, read_only=True, data_only=results)
        try:
            yield book
        finally:
            book.close()


def _choose_sheets(path: Path, sheets: Mapping[str, bool], sheet: str) -> list[str]:
    """Return the names of the sheets that may be read, of which each is shown or hidden: the named one, or all that are shown."""
    shown, names = [name for name, is_shown in sheets.items() if is_shown], list(sheets)
    if sheet != "auto":
        if sheet not in names:
            available = ", ".join(map(repr, names))
            raise DataError(f"{path}: no sheet {sheet!r}{closest_name(sheet, names)}; available: {available}")
        return [sheet]
    if not names:
        raise DataError(
            f"{path}: holds no sheet of cells that its reader finds; save it again by a spreadsheet program"
        )
    if not shown:
        raise DataError(f"{path}: no sheet of cells that is not hidden; sheet = ... reads one of {names}")
    return shown


def _as_text(
    path: Path,
    name: str,
    sheet_rows: Iterable[Iterable[Any]],
    most_rows: int | None,
    durations: list[str] | None = None,
) -> list[list[str]]:
    """Return rows as text, and append a line to `durations` if there are any."""
    limit, total, rows = read_limit(), 0, list[list[str]]()
    for cells in islice(sheet_rows, most_rows):
        if len(rows) == MOST_ROWS:
            raise DataError(f"{path}: sheet {name!r} has more than {MOST_ROWS:,} rows: expected at most that")
        cells = list(cells)
        if durations == [] and any(isinstance(cell, timedelta) for cell in cells):
            durations.append("durations are read as seconds")
        row = [_text(cell) for cell in cells]
        while row and not row[-1]:
            row.pop()
        total += sum(64 + len(cell) for cell in row)
        if total > limit:
            raise too_large(f"{path}: sheet {name!r}", limit)
        rows.append(row)
    return rows


def _text(cell: Any) -> str:
    """Return a cell as a CSV file would hold it."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat(" ")
    if isinstance(cell, timedelta):
        return repr(cell.total_seconds())
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell)


def _formulas_without_result(path: Path, name: str, rows: list[list[str]]) -> list[str]:
    """Count the formulas that a program has written, but none has computed."""
    count = 0
    with _opened(path, results=False) as book:
        sheet = book[name]
        sheet.reset_dimensions()
        for row, cells in zip(rows, sheet.iter_rows()):
            count += sum(
                cell.data_type == "f" and (place >= len(row) or not row[place]) for place, cell in enumerate(cells)
            )
    if not count:
        return []
    advice = "a spreadsheet program that saves the file computes"
    if count == 1:
        return [f"1 formula has no stored result and is a missing value; {advice} it"]
    return [f"{count:,} formulas have no stored results and are missing values; {advice} them"]
