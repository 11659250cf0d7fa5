"""Cut a second table that follows the first in a text file or a sheet."""

from __future__ import annotations

import csv
import re

from aekit.data.readers._number_spelling import looks_numeric

_MOST_GAPS = 20
"""Most empty lines below which another table is looked for."""
_LOOKED_AT = 1 << 16
"""Bytes below an empty line that are looked at."""


def cut_second_table(body: bytes, delimiter: str, names: list[str]) -> tuple[bytes, list[str]]:
    """Return the rows of the first table, and a line on the other one.

    Another table begins below an empty line with a line of names, above which the first table has numbers and below which there
    are numbers as well. A line of one cell, its title, may be above the names. Names that repeat are those of joined files.

    Args:
        body: the rows, in UTF-8.
        delimiter: between cells; "" for blanks.
        names: names of the columns of the first table.
    """
    empty = re.escape((delimiter * (len(names) - 1)).encode())
    gap = re.compile(rb"\n(?:[ \t]*\r?\n|" + empty + rb"\r?\n)+")
    places = _gaps(body, delimiter, len(names))
    for place in places[:_MOST_GAPS]:
        gap_here = gap.match(body, place)
        if not gap_here or body.count(b'"', 0, place) % 2:
            continue
        above = _cells(body[body.rfind(b"\n", 0, place) + 1 : place].decode("utf-8", "ignore"), delimiter)
        below = body[gap_here.end() : gap_here.end() + _LOOKED_AT].decode("utf-8", "ignore").splitlines()
        rows = [cells for line in below[:5] if any(cells := _cells(line, delimiter))]
        if len(rows) > 2 and sum(map(bool, rows[0])) == 1:
            rows = rows[1:]
        if len(rows) > 1 and _are_names(rows[0], above, rows[1]) and [c for c in rows[0] if c] != names:
            count = body.count(b"\n", gap_here.end()) + (not body.endswith(b"\n"))
            shown = ", ".join(repr(cell) for cell in rows[0] if cell)
            return body[: place + 1], [
                f"{count:,} lines below an empty one seem to be another table, of {shown[:60]}, and are not read; "
                "save each table as a file of its own"
            ]
    return body, []


def _gaps(body: bytes, delimiter: str, width: int) -> list[int]:
    """Return where lines end below which one is empty; searching bytes takes no time in a file without any."""
    ends = [b"\n\n", b"\n\r\n"]
    if delimiter and width > 1:  # as spreadsheet programs write empty lines
        ends += [b"\n" + (delimiter * (width - 1)).encode() + end for end in (b"\n", b"\r\n")]
    places = set[int]()
    for end in ends:
        place = body.find(end)
        while place >= 0 and len(places) < len(ends) * _MOST_GAPS:
            places.add(place)
            place = body.find(end, place + len(end))
    return sorted(places)


def _cells(line: str, delimiter: str) -> list[str]:
    if len(delimiter) == 1:
        return [cell.strip() for cell in next(csv.reader([line.rstrip("\r")], delimiter=delimiter), [])]
    return [cell.strip() for cell in line.split(delimiter or None)]


def _are_names(cells: list[str], above: list[str], below: list[str]) -> bool:
    words = [place for place, cell in enumerate(cells) if cell]
    if len(words) < 2 or len({cells[place] for place in words}) < len(words):
        return False
    if any(looks_numeric(cells[place]) for place in words):
        return False
    return all(any(looks_numeric(row[place]) for place in words if place < len(row)) for row in (above, below))
