"""Write CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, TextIO

FORMULA = re.compile(r"[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def write_csv(file: TextIO, head: Sequence[str], rows: Iterable[Iterable[Any]]) -> int:
    """Write rows below a line of names, and return the number of rows.

    A spreadsheet takes text that begins with ``=``, ``+``, ``-``, ``@`` or a tab for a formula, which can read other files and
    open addresses. Such text, in names and cells, gets an apostrophe in front; numbers stay as they are.

    Args:
        file: opened with ``newline=""``.
        head: names of the columns.
        rows: cells of each row.
    """
    minimal = csv.writer(file, lineterminator="\n")
    quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    count = -1
    for row in chain([head], rows):
        cells = [_cell(value) for value in row]
        # The csv module does not quote a carriage return, which readers take for the end of the line.
        (quoting if any("\r" in cell for cell in cells if isinstance(cell, str)) else minimal).writerow(cells)
        count += 1
    return count


def csv_text(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return rows below a line of names as CSV, as `write_csv` writes them."""
    text = io.StringIO()
    write_csv(text, head, rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value
