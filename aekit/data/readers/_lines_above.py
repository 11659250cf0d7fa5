"""Find the first record of a text table below titles, comments, settings and what else programs write above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aekit.data.readers._delimiters import Record, is_comment
from aekit.data.readers._number_spelling import looks_numeric
from aekit.data.readers._stacked_names import MOST_LINES

FIRST_LINES = 100
"""Lines below a title among which the line of names is looked for."""
FEW_SETTINGS = 10
"""Most settings above a table of which the first is no number, as a line of names is none."""


@dataclass(frozen=True)
class Beginning:
    """Beginning of a text table.

    Attributes:
        lines: its first physical lines.
        records: those that are not empty.
        delimiter: between cells; "" for blanks.
        width: usual number of cells.
    """

    lines: Sequence[str]
    records: Sequence[Record]
    delimiter: str
    width: int

    def lines_before(self, number: int) -> int:
        """Return the number of physical lines before a record."""
        return self.records[number - 1].end if number else 0

    def rows_below(self, number: int) -> list[list[str]]:
        """Return the cells of the records below one that have the usual width."""
        return [cells for _, cells in self.records[number + 1 :] if len(cells) == self.width]


def find_first_record(top: Beginning) -> tuple[int, list[str]]:
    """Return the number of the record with the names, or else of the first row, and the cells of the last line above it."""
    last_above: list[str] = []
    first = 0
    for first, (_, cells) in enumerate(top.records):
        following = top.records[first + 1 :]
        if not _is_above(cells, following, top.width) or _is_row_named(cells, following, top.width):
            break
        last_above = cells
    return _behind_settings(top, first), last_above


def _is_above(cells: Sequence[str], following: Sequence[Record], width: int) -> bool:
    """Return whether a line is a comment, a title, a remark or anything else of another width than the table."""
    if len(cells) < width or (is_comment(cells) and (len(cells) != width or not _names_itself(cells))):
        return True
    return _is_above_names(cells, following, width) or _is_longer(cells, following, width)


def _is_above_names(cells: Sequence[str], following: Sequence[Record], width: int) -> bool:
    """Return whether a line is a title or a remark above the line of names, which spreadsheets pad with empty cells."""
    if not _is_sparse(cells, width):
        return False
    is_title = bool(cells[0].strip()) and not "".join(cells[1:]).strip()
    for place, (_, names) in enumerate(following[:FIRST_LINES]):
        if not _is_sparse(names, width):  # below the names may be lines of units and the like
            below = following[place + 1 : place + 1 + (MOST_LINES if is_title else 1)]
            return not _has_number(names) and any(_has_number(row) for _, row in below)
    return False


def _behind_settings(top: Beginning, first: int) -> int:
    """Return the number of the record with the names, behind settings such as ``Rate,100`` and an empty line."""
    records = top.records
    most = FIRST_LINES if _has_number(records[first].cells) else FEW_SETTINGS
    for place in range(first + 1, min(first + most, (first + len(records)) // 2)):
        above, names, below = records[place - 1], records[place].cells, records[place + 1].cells
        if _has_number(above.cells[:1]) or len(above.cells) > top.width:
            return first
        is_behind_gap = not top.lines[above.end].strip(f" \t\r\n{top.delimiter}")
        if is_behind_gap and len(names) == top.width and all(map(str.strip, names)) and not _has_number(names):
            return place if _has_number(below[:1]) and names != records[first].cells else first
    return first


def _is_longer(cells: Sequence[str], following: Sequence[Record], width: int) -> bool:
    """Return whether a line of more cells than the table has is above its names, as loggers write about themselves."""
    if len("".join(cells[width:]).strip()) == 0 or not following:
        return False
    names = following[0].cells
    return len(names) == width and all(map(str.strip, names)) and not _has_number(names)


def _has_number(cells: Sequence[str]) -> bool:
    return any(looks_numeric(cell.strip()) for cell in cells)


def _is_sparse(cells: Sequence[str], width: int) -> bool:
    filled = sum(bool(cell.strip()) for cell in cells[:width])
    return 2 * filled <= width or filled < width - 1


def _names_itself(cells: Sequence[str]) -> bool:
    """Return whether cells whose first begins as a comment are names, such as ``#`` or ``#id``, without a blank behind it."""
    return not cells[0].lstrip().startswith("# ")


def _is_row_named(cells: Sequence[str], following: Sequence[Record], width: int) -> bool:
    """Return whether a line has a name for each column but the first, which names the rows, as R writes tables."""
    is_below = bool(following) and len(following[0].cells) == width
    if len(cells) != width - 1 or not is_below or width < 3 or is_comment(cells):
        return False
    if _has_number(cells) or not all(cell.strip() for cell in cells):
        return False
    rows = [row for _, row in following if len(row) == width]
    return len({row[0] for row in rows}) == len(rows) or all(not row[-1].strip() for row in rows)
