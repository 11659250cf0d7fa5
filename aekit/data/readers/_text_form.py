"""Find out how a text table is written: its delimiter, the lines before it, and whether it has names of columns."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from aekit.data.readers._delimiters import UNUSUAL, Record, find_delimiter, is_comment, records_of, usual_width
from aekit.data.readers._header_line import has_header_line, orange_roles
from aekit.data.readers._lines_above import Beginning, find_first_record
from aekit.data.readers._number_spelling import looks_numeric
from aekit.data.readers._stacked_names import MOST_LINES, stack_names
from aekit.data.readers._word_vectors import find_word_vectors
from aekit.errors import DataError

LINES, CHARACTERS = 500, 200_000
"""Most lines from which the form of a file is guessed, and about as many characters, but at least 50 lines."""
MOST_COLUMNS = 100_000
"""Most columns: each costs Arrow some kilobytes."""
_SPARSE_ROW = re.compile(r"[-+.\deE,]+(?: qid:\d+)?(?: +\d+:[-+.\deE]+)*\s*(?:#.*)?$")


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
    """Find out how a text table is written.

    Args:
        path: the file, for messages and for its ending.
        text: its beginning.
        form: what the user says about it.

    Raises:
        DataError: it is empty, has too many columns, or is written as LIBSVM does.
    """
    skip = 0 if form.skip == "auto" else form.skip
    lines = _first_lines(path, text, skip)
    if form == AUTO and (word_vectors := find_word_vectors(lines)):
        return _form_of_word_vectors(lines, *word_vectors)
    declared = re.fullmatch(r'"?sep=(.)"?\s*', lines[0]) if form.skip == "auto" else None
    if declared:  # Excel's line on the delimiter
        skip, lines = 1, lines[1:]
    delimiter = find_delimiter(path, lines, declared[1] if declared and form.delimiter == "auto" else form.delimiter)
    is_guessed = form.delimiter == "auto" and not declared
    notes = [f"cells are separated by {delimiter!r}"] if is_guessed and delimiter in UNUSUAL else []
    top = _beginning(path, lines, delimiter)
    first, last_above = find_first_record(top)
    return _form_from(top, 0 if form.skip != "auto" else first, last_above, skip, form.header, notes)


def _first_lines(path: Path, text: str, skip: int) -> list[str]:
    """Return the lines behind `skip` lines from which the form is guessed."""
    lines = list(islice(io.StringIO(text, newline=""), skip, skip + LINES))
    lines = lines[: max(50, len(lines) * CHARACTERS // max(CHARACTERS, sum(map(len, lines))))]
    if not any(line.strip() for line in lines):
        raise DataError(f"{path}: empty file" if not skip else f"{path}: skip = {skip}: no lines are left")
    if all(_SPARSE_ROW.match(line) for line in lines[:5]) and ":" in "".join(lines[:5]):
        advice = "load it by sklearn.datasets.load_svmlight_file, and pass (X, y) in Python"
        raise DataError(f"{path}: rows as LIBSVM writes them, 'label number:value ...', which are not read; {advice}")
    return lines


def _form_of_word_vectors(lines: Sequence[str], dim: int, announced: int | None) -> Form:
    first = int(announced is not None)
    note = f"word vectors: the words are ids, e.g. {lines[first].split()[0]!r}"
    return Form("", ["id", *map(str, range(dim))], True, first, (note,), word_vectors=(dim, announced))


def _beginning(path: Path, lines: Sequence[str], delimiter: str) -> Beginning:
    records = [record for record in records_of(lines, delimiter) if any(cell.strip() for cell in record.cells)]
    if not records:  # there are no cells but empty ones, or the first line is no CSV
        records = [Record(len(lines), lines[0].split(delimiter or None) or [""])]
    if (columns := max(len(cells) for _, cells in records)) > MOST_COLUMNS:
        advice = "transpose it, or save it as .npy"
        raise DataError(f"{path}: a row of {columns:,} columns; expected at most {MOST_COLUMNS:,}: {advice}")
    width = usual_width([cells for _, cells in records if not is_comment(cells)])
    return Beginning(lines, records, delimiter, width)


def _form_from(
    top: Beginning, first: int, last_above: Sequence[str], skip: int, header: bool | Literal["auto"], notes: list[str]
) -> Form:
    """Return the form of a table that begins at record `first`.

    Args:
        top: beginning of the table.
        first: number of the record with the names, or else of the first row.
        last_above: cells of the last line above that record, which may be a comment with the names.
        skip: physical lines before `top`.
        header: whether the record holds names.
        notes: notes on the lines above.
    """
    skipped = skip + top.lines_before(first)
    skip_note = _note_on_skipped(top, first, skipped) if first else ""
    cells, rows = _without_padding(top.records[first].cells, top.width), top.rows_below(first)
    has_header, header_note = (header, "") if header != "auto" else has_header_line(cells, rows)

    def form(names: Sequence[str], lines: int, *more: str) -> Form:
        return Form(top.delimiter, _named(names, top.width, rows), True, lines, (*notes, *filter(None, more)))

    if not has_header:
        names = _uncommented(last_above, top.delimiter) if header == "auto" and last_above else []
        if len(names) == top.width and not any(map(looks_numeric, names)):
            return form(names, skipped, "names of columns: the last comment line")
        note = "line 1 holds no names: columns are named 0, 1, ...; header = true reads it as names"
        numbers = [str(number) for number in range(top.width)]
        return replace(form(numbers, skipped, skip_note, header_note, note), has_header=False)
    above = top.records[first - 1].cells if first else None
    below = [row for _, row in top.records[first + 1 : first + 1 + MOST_LINES]]
    cells, taken, names_note = stack_names(above, cells, below)
    if names_note and not taken and first == 1:  # the only line above is part of the names
        skip_note = ""
    said = (skip_note, header_note, names_note)
    if len(rows) == len(top.records) - first - 1 and (roles := orange_roles(rows)) is not None:
        note = "lines 2 and 3 are read as types and roles of the columns, as Orange writes them"
        return replace(form(cells, skip + top.records[first + 2].end, *said, note), roles=tuple(roles))
    return form(cells, skip + top.records[first + taken].end, *said)


def _note_on_skipped(top: Beginning, first: int, skipped: int) -> str:
    shown = " ".join("".join(top.lines[: top.lines_before(first)]).split())
    count = "1 line" if skipped == 1 else f"{skipped} lines"
    return f"{count} before the table skipped: {shown[:60]}{'...' if len(shown) > 60 else ''}"


def _without_padding(cells: list[str], width: int) -> list[str]:
    """Return cells without empty ones behind the usual width."""
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def _uncommented(cells: Sequence[str], delimiter: str) -> list[str]:
    first = cells[0].lstrip().lstrip("#%/").strip()
    return ([first] if first or delimiter else []) + [cell.strip() for cell in cells[1:]]


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
