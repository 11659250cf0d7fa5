"""Find out what separates the cells of a text table, and cut its lines into cells."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aekit.data.readers._header_line import COMPARED
from aekit.data.readers._listed_paths import is_image_name
from aekit.data.readers._number_spelling import looks_numeric
from aekit.errors import DataError

COMMENTS = ("#", "%", "//")
DELIMITERS = ("\t", ";", "|", ",", "::", "||", "~|~", "|;|", "\x01")
"""Delimiters that are looked for: besides the usual ones those of MovieLens and of exports from databases, and Hive's."""
UNUSUAL = DELIMITERS[4:]
LOOKED_AT = 50
"""Lines whose numbers are looked at."""
_DECIMALS = re.compile(r"[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?")
_GROUPS = re.compile(r"[+-]?\d{1,3}(?: \d{3})+")
"""Numbers with blanks that separate thousands."""
_STAND_IN = "\x1f"
"""What a delimiter of several characters is replaced with, as parsers of CSV take single ones."""


class Record(NamedTuple):
    """Cells of a table that belong together, which are several lines where quotes hold breaks of lines.

    Attributes:
        end: number of physical lines up to the end of the record.
        cells: its cells.
    """

    end: int
    cells: list[str]


def find_delimiter(path: Path, lines: Sequence[str], chosen: str) -> str:
    """Return the delimiter of the lines, "" for blanks.

    Args:
        path: the file, for messages and for its ending.
        lines: its first lines.
        chosen: what the user says, ``auto`` to find it out.

    Raises:
        DataError: `chosen` is no delimiter.
    """
    names = {"tab": "\t", "blanks": "", "blank": "", " ": ""}
    if chosen != "auto":
        delimiter = names.get(chosen, chosen)
        if len(delimiter) > 3 or set(delimiter) & {'"', "\n", "\r"}:
            raise DataError(f"{path}: delimiter = {chosen!r}: expected one to three characters, tab or blanks")
        return delimiter
    scores: dict[str, tuple[float, float]] = {}
    for delimiter in DELIMITERS:
        if delimiter in UNUSUAL and sum(delimiter in line for line in lines) < 0.8 * len(lines):
            continue
        rows = [cells for _, cells in records_of(lines, delimiter) if cells and not is_comment(cells)]
        width = usual_width(rows)
        same = [cells for cells in rows if len(cells) == width] if width > 1 else []
        # Of delimiters that cut all lines alike, the one that leaves numbers whole: 1,5;2,5 or x|y,1.
        whole = sum(looks_numeric(cell.strip()) for cells in same[:LOOKED_AT] for cell in cells[:COMPARED])
        scores[delimiter] = (
            len(same) / max(len(rows), 1),
            whole / max(sum(len(c[:COMPARED]) for c in same[:LOOKED_AT]), 1),
        )
    best = max(scores, key=lambda delimiter: (scores[delimiter], len(delimiter)))
    if (scores[best][0] < 0.8 or (best == "\t" and scores[best][0] < 1)) and _has_blanks_between(lines, best):
        return ""
    if ".tsv" in path.name.lower() and scores["\t"][0] > 0:
        return "\t"
    if scores[best][0] < 0.5:  # perhaps a single column, in whose words delimiters occur
        for delimiter in ",;\t|":
            rows = [cells for _, cells in records_of(lines, delimiter) if cells]
            if sum(len(cells) == 1 for cells in rows) >= 0.95 * len(rows):
                return delimiter
    if best == "," and _has_decimal_commas_between_blanks(lines):
        return ""
    if best == "," and "," not in lines[0]:  # or one of numbers with decimal commas
        decimals = sum(bool(re.fullmatch(r'[+-]?\d+,\d+|""', line.strip())) for line in lines[1:])
        return ";" if decimals and decimals >= 0.95 * (len(lines) - 1) else ","
    return best if scores[best][0] else ","


def _has_blanks_between(lines: Sequence[str], other: str) -> bool:
    """Return whether any number of blanks separates cells, rather than a delimiter that cuts some lines in another way."""
    rows = [_blank_cells(line) for line in lines if line.strip() and not line.lstrip().startswith(COMMENTS)]
    width = usual_width(rows)
    same = [cells for cells in rows if len(cells) == width]
    numbers = sum(looks_numeric(cell) for cells in same for cell in cells)
    if width < 2 or len(same) < 0.8 * len(rows) - 1:
        return False
    if all(is_image_name(cells[0]) for cells in same):  # a list of images and their classes
        return True
    if other == "\t" and any("\t" in line for line in lines):  # two tabs may be one too many, or an empty cell
        return len(same) == len(rows) and numbers == width * len(rows)
    # Words with blanks in them are quoted, or else each line would be one text.
    few = 3 if any('"' in line for line in lines) else 2
    return few * numbers > width * len(same)


def _has_decimal_commas_between_blanks(lines: Sequence[str]) -> bool:
    """Return whether commas separate decimals in lines of numbers with blanks between them, and not cells such as 1 234."""
    rows = [line.strip() for line in lines[1:] if line.strip() and not line.lstrip().startswith(COMMENTS)][:LOOKED_AT]
    widths = {len(row.split()) for row in rows}
    if len(widths) != 1 or widths == {1} or ("," in lines[0] and len(lines[0].split()) not in widths):
        return False
    parted = [cell.strip() for row in rows for cell in row.split(",") if " " in cell.strip() or "\t" in cell.strip()]
    return all(_DECIMALS.fullmatch(cell) for row in rows for cell in row.split()) and not all(
        map(_GROUPS.fullmatch, parted)
    )


def records_of(lines: Sequence[str], delimiter: str) -> Iterator[Record]:
    """Yield the records of physical lines, up to the first that is no CSV."""
    if not delimiter:
        yield from (Record(number + 1, _blank_cells(line)) for number, line in enumerate(lines))
        return
    limit = csv.field_size_limit(1 << 30)
    is_long = len(delimiter) > 1
    try:
        reader = csv.reader(
            (line.replace(delimiter, _STAND_IN) for line in lines) if is_long else iter(lines),
            delimiter=_STAND_IN if is_long else delimiter,
        )
        for cells in reader:
            cells = [cell.replace(_STAND_IN, delimiter) for cell in cells] if is_long else cells
            yield Record(reader.line_num, cells)
    except csv.Error:
        return
    finally:
        csv.field_size_limit(limit)


def with_single_delimiter(body: bytes, delimiter: str) -> tuple[bytes, str]:
    """Return the text of a table, in UTF-8, with a delimiter of one character, and that delimiter."""
    return (
        (body.replace(delimiter.encode(), _STAND_IN.encode()), _STAND_IN) if len(delimiter) > 1 else (body, delimiter)
    )


def _blank_cells(line: str) -> list[str]:
    """Split a line at blanks outside quotes."""
    return [cell.strip('"') if cell.startswith('"') else cell for cell in re.findall(r'"[^"]*"|[^\s]+', line)]


def usual_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the usual number of cells, the larger of equally frequent ones."""
    counts = Counter(map(len, rows))
    wide = {width: count for width, count in counts.items() if width > 1}
    # Titles and remarks above a table are single cells, and may be many.
    several = {width: count for width, count in wide.items() if count > 1 or len(wide) == 1}
    chosen = several if several and sum(several.values()) > 1 else counts
    return max(chosen, key=lambda width: (chosen[width], width), default=1)


def is_comment(cells: Sequence[str]) -> bool:
    """Return whether a line begins as comments do."""
    return bool(cells) and cells[0].lstrip().startswith(COMMENTS)
