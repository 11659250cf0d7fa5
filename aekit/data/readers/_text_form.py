"""Find out how a text table is written: its delimiter, the lines before it, and whether it has names of columns."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from aekit.data.readers._header_line import COMPARED, has_header_line, orange_roles
from aekit.data.readers._listed_paths import is_image_name
from aekit.data.readers._number_spelling import looks_numeric
from aekit.data.readers._stacked_names import MOST_LINES, stack_names
from aekit.data.readers._word_vectors import find_word_vectors
from aekit.errors import DataError

LINES, CHARACTERS = 500, 200_000
"""Most lines from which the form of a file is guessed, and about as many characters, but at least 50 lines."""
MOST_COLUMNS = 100_000
"""Most columns: each costs Arrow some kilobytes."""
FIRST_LINES = 100
"""Lines below a title among which the line of names is looked for."""
FEW_SETTINGS = 10
"""Most settings above a table of which the first is no number, as a line of names is none."""
COMMENTS = ("#", "%", "//")
DELIMITERS = ("\t", ";", "|", ",", "::", "||", "~|~", "|;|", "\x01")
"""Delimiters that are looked for: besides the usual ones those of MovieLens and of exports from databases, and Hive's."""
UNUSUAL = DELIMITERS[4:]
_SPARSE_ROW = re.compile(r"[-+.\deE,]+(?: qid:\d+)?(?: +\d+:[-+.\deE]+)*\s*(?:#.*)?$")
_STAND_IN = "\x1f"
"""What a delimiter of several characters is replaced with, as parsers of CSV take single ones."""


@dataclass(frozen=True)
class TextFormat:
    """How a table is written in a text file or a workbook; ``auto``: to be found out.

    Attributes:
        encoding: name of the encoding.
        delimiter: one to three characters between cells; ``tab``; or ``blanks`` for any number of blanks.
        decimal: decimal separator.
        header: whether the first line holds the names of the columns.
        skip: lines before the table.
        sheet: name of a sheet of a workbook.
    """

    encoding: str = "auto"
    delimiter: str = "auto"
    decimal: Literal["auto", ".", ","] = "auto"
    header: bool | Literal["auto"] = "auto"
    skip: int | Literal["auto"] = "auto"
    sheet: str = "auto"


AUTO = TextFormat()


@dataclass(frozen=True)
class Form:
    """What was found out about a file.

    Attributes:
        delimiter: what is between cells, one to three characters; "" for blanks.
        names: names of the columns.
        has_header: whether the file has names.
        lines: physical lines before the first row.
        notes: choices.
        roles: role of each column in Orange, "" for a feature; () if the file has none.
        word_vectors: numbers of entries and of announced words, if it holds word vectors; else None.
    """

    delimiter: str
    names: list[str]
    has_header: bool
    lines: int
    notes: tuple[str, ...]
    roles: tuple[str, ...] = ()
    word_vectors: tuple[int, int | None] | None = None


def find_form(path: Path, text: str, form: TextFormat) -> Form:
    skip = 0 if form.skip == "auto" else form.skip
    lines = list(islice(io.StringIO(text, newline=""), skip, skip + LINES))
    lines = lines[: max(50, len(lines) * CHARACTERS // max(CHARACTERS, sum(map(len, lines))))]
    if not any(line.strip() for line in lines):
        raise DataError(f"{path}: empty file" if not skip else f"{path}: skip = {skip}: no lines are left")
    if all(_SPARSE_ROW.match(line) for line in lines[:5]) and ":" in "".join(lines[:5]):
        advice = "load it by sklearn.datasets.load_svmlight_file, and pass (X, y) in Python"
        raise DataError(f"{path}: rows as LIBSVM writes them, 'label number:value ...', which are not read; {advice}")
    if form == AUTO and (word_vectors := find_word_vectors(lines)):
        dim, announced = word_vectors
        first_line = int(announced is not None)
        note = f"word vectors: the words are ids, e.g. {lines[first_line].split()[0]!r}"
        names = ["id", *map(str, range(dim))]
        return Form("", names, True, first_line, (note,), word_vectors=word_vectors)
    declared = re.fullmatch(r'"?sep=(.)"?\s*', lines[0]) if form.skip == "auto" else None
    if declared:  # Excel's line on the delimiter
        skip, lines = 1, lines[1:]
    delimiter = _find_delimiter(path, lines, declared[1] if declared and form.delimiter == "auto" else form.delimiter)
    records = [record for record in records_of(lines, delimiter) if any(cell.strip() for cell in record[1])]
    if not records:
        records = [(len(lines), lines[0].split(delimiter or None))]
    if (columns := max(len(cells) for _, cells in records)) > MOST_COLUMNS:
        advice = "transpose it, or save it as .npy"
        raise DataError(f"{path}: a row of {columns:,} columns; expected at most {MOST_COLUMNS:,}: {advice}")
    width, notes = _width([cells for _, cells in records if not _is_comment(cells)]), list[str]()
    if delimiter in UNUSUAL and form.delimiter == "auto" and not declared:
        notes.append(f"cells are separated by {delimiter!r}")
    said = len(notes)
    comment: list[str] = []
    first = 0
    for first, (_, cells) in enumerate(records):
        is_comment = _is_comment(cells) and (len(cells) != width or not _names_itself(cells))
        is_above = _is_above_names(cells, records[first + 1 :], width) or _is_longer(cells, records[first + 1 :], width)
        if len(cells) >= width and not is_comment and not is_above:
            break
        following = records[first + 1][1] if first + 1 < len(records) else []
        if _is_row_named(cells, following, records[first + 1 :], width):
            break
        comment = cells
    first = _behind_settings(lines, records, first, width, delimiter)
    if form.skip != "auto":
        first = 0
    skipped = skip + (records[first - 1][0] if first else 0)
    if first:
        shown = " ".join("".join(lines[: records[first - 1][0]]).split())
        count = "1 line" if skipped == 1 else f"{skipped} lines"
        notes.append(f"{count} before the table skipped: {shown[:60]}{'...' if len(shown) > 60 else ''}")
    end, cells = records[first]
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    rows = [row for _, row in records[first + 1 :] if len(row) == width]
    has_header, header_note = (form.header, "") if form.header != "auto" else has_header_line(cells, rows)
    notes += [header_note] if header_note else []
    if (
        not has_header
        and form.header == "auto"
        and comment
        and len(comment := _uncommented(comment, delimiter)) == width
    ):
        named = not any(looks_numeric(cell) for cell in comment)
        if named:
            notes[said:] = ["names of columns: the last comment line"]
            return Form(delimiter, _named(comment, width, rows), True, skipped, tuple(notes))
    if not has_header:
        note = "line 1 holds no names: columns are named 0, 1, ...; header = true reads it as names"
        return Form(delimiter, [str(n) for n in range(width)], False, skipped, (*notes, note))
    above = records[first - 1][1] if first else None
    cells, taken, line = stack_names(above, cells, [row for _, row in records[first + 1 : first + 1 + MOST_LINES]])
    end = records[first + taken][0]
    if line and not taken:  # the line above is part of the names
        notes = [note for note in notes if "before the table skipped" not in note or first > 1]
    notes += [line] if line else []
    if len(rows) == len(records) - first - 1 and (roles := orange_roles(rows)) is not None:
        notes.append("lines 2 and 3 are read as types and roles of the columns, as Orange writes them")
        return Form(
            delimiter, _named(cells, width, rows), True, skip + records[first + 2][0], tuple(notes), tuple(roles)
        )
    return Form(delimiter, _named(cells, width, rows), True, skip + end, tuple(notes))


def _find_delimiter(path: Path, lines: Sequence[str], chosen: str) -> str:
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
        rows = [cells for _, cells in records_of(lines, delimiter) if cells and not _is_comment(cells)]
        width = _width(rows)
        same = [cells for cells in rows if len(cells) == width] if width > 1 else []
        # Of delimiters that cut all lines alike, the one that leaves numbers whole: 1,5;2,5 or x|y,1.
        whole = sum(looks_numeric(cell.strip()) for cells in same[:50] for cell in cells[:COMPARED])
        scores[delimiter] = len(same) / max(len(rows), 1), whole / max(sum(len(c[:COMPARED]) for c in same[:50]), 1)
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
    if best == "," and "," not in lines[0]:  # or one of numbers with decimal commas
        decimals = sum(bool(re.fullmatch(r'[+-]?\d+,\d+|""', line.strip())) for line in lines[1:])
        return ";" if decimals and decimals >= 0.95 * (len(lines) - 1) else ","
    return best if scores[best][0] else ","


def _has_blanks_between(lines: Sequence[str], other: str) -> bool:
    """Return whether any number of blanks separates cells, rather than a delimiter that cuts some lines in another way."""
    rows = [_blank_cells(line) for line in lines if line.strip() and not line.lstrip().startswith(COMMENTS)]
    width = _width(rows)
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


def records_of(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records, each with the number of physical lines up to its end."""
    if not delimiter:
        yield from ((number + 1, _blank_cells(line)) for number, line in enumerate(lines))
        return
    limit = csv.field_size_limit(1 << 30)
    is_long = len(delimiter) > 1
    try:
        reader = csv.reader(
            (line.replace(delimiter, _STAND_IN) for line in lines) if is_long else iter(lines),
            delimiter=_STAND_IN if is_long else delimiter,
        )
        for cells in reader:
            yield reader.line_num, [cell.replace(_STAND_IN, delimiter) for cell in cells] if is_long else cells
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


def _width(rows: Sequence[Sequence[str]]) -> int:
    """Return the usual number of cells, the larger of equally frequent ones."""
    counts = Counter(map(len, rows))
    wide = {width: count for width, count in counts.items() if width > 1}
    # Titles and remarks above a table are single cells, and may be many.
    several = {width: count for width, count in wide.items() if count > 1 or len(wide) == 1}
    chosen = several if several and sum(several.values()) > 1 else counts
    return max(chosen, key=lambda width: (chosen[width], width), default=1)


def _is_comment(cells: Sequence[str]) -> bool:
    return bool(cells) and cells[0].lstrip().startswith(COMMENTS)


def _is_above_names(cells: Sequence[str], following: Sequence[tuple[int, list[str]]], width: int) -> bool:
    """Return whether a line is a title or a remark above the line of names, which spreadsheets pad with empty cells."""
    if not _is_sparse(cells, width):
        return False
    is_title = bool(cells[0].strip()) and not "".join(cells[1:]).strip()
    for place, (_, names) in enumerate(following[:FIRST_LINES]):
        if not _is_sparse(names, width):  # below the names may be lines of units and the like
            below = following[place + 1 : place + 1 + (MOST_LINES if is_title else 1)]
            return not _has_number(names) and any(_has_number(row) for _, row in below)
    return False


def _behind_settings(
    lines: Sequence[str], records: Sequence[tuple[int, list[str]]], first: int, width: int, delimiter: str
) -> int:
    """Return the number of the record with the names, behind settings such as ``Rate,100`` and an empty line."""
    most = FIRST_LINES if _has_number(records[first][1]) else FEW_SETTINGS
    for place in range(first + 1, min(first + most, (first + len(records)) // 2)):
        above = records[place - 1]
        if _has_number(above[1][:1]) or len(above[1]) > width:
            return first
        is_behind_gap = not lines[above[0]].strip(f" \t\r\n{delimiter}")
        names, below = records[place][1], records[place + 1][1]
        if is_behind_gap and len(names) == width and all(map(str.strip, names)) and not _has_number(names):
            return place if _has_number(below[:1]) and names != records[first][1] else first
    return first


def _is_longer(cells: Sequence[str], following: Sequence[tuple[int, list[str]]], width: int) -> bool:
    """Return whether a line of more cells than the table has is above its names, as loggers write about themselves."""
    if len("".join(cells[width:]).strip()) == 0 or not following:
        return False
    names = following[0][1]
    return len(names) == width and all(map(str.strip, names)) and not _has_number(names)


def _has_number(cells: Sequence[str]) -> bool:
    return any(looks_numeric(cell.strip()) for cell in cells)


def _is_sparse(cells: Sequence[str], width: int) -> bool:
    filled = sum(bool(cell.strip()) for cell in cells[:width])
    return 2 * filled <= width or filled < width - 1


def _names_itself(cells: Sequence[str]) -> bool:
    """Return whether cells whose first begins as a comment are names, such as ``#`` or ``#id``, without a blank behind it."""
    return not cells[0].lstrip().startswith("# ")


def _uncommented(cells: Sequence[str], delimiter: str) -> list[str]:
    first = cells[0].lstrip().lstrip("#%/").strip()
    return ([first] if first or delimiter else []) + [cell.strip() for cell in cells[1:]]


def _is_row_named(
    cells: Sequence[str], following: Sequence[str], rows: Sequence[tuple[int, list[str]]], width: int
) -> bool:
    """Return whether a line has a name for each column but the first, which names the rows, as R writes tables."""
    if len(cells) != width - 1 or len(following) != width or width < 3 or _is_comment(cells):
        return False
    if _has_number(cells) or not all(cell.strip() for cell in cells):
        return False
    firsts = [row[0] for _, row in rows if len(row) == width]
    return len(set(firsts)) == len(firsts) or all(not row[-1].strip() for _, row in rows if len(row) == width)


def _named(cells: Sequence[str], width: int, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the names of all columns; those without one are called as pandas calls them, ``Unnamed: 0``."""
    names = [re.sub(r'^"([^"]*)"$', r"\1", cell.strip()) for cell in cells]
    if len(names) == width - 1:
        names = [*names, ""] if all(not row[-1].strip() for row in rows) else ["", *names]
    names += [""] * (width - len(names))
    for number, name in enumerate(names):
        unnamed, copies = f"Unnamed: {number}", 0
        while not name:
            name = unnamed + (f".{copies}" if copies else "")
            name, copies = ("" if name in names else name), copies + 1
        names[number] = name
    return names
