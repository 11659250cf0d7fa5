"""Read CSV, TSV and other text tables as people write them: any encoding, delimiter, preamble and way to write numbers.

All cells stay text (`aekit.data.readers._cell_types`). A `TextFormat` sets what is guessed otherwise.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from aekit.data.readers._cell_types import as_cells
from aekit.data.readers._decoding import GZIP, HEAD, decoded
from aekit.data.readers._delimiters import COMMENTS, records_of, with_single_delimiter
from aekit.data.readers._drawn_tables import without_rules
from aekit.data.readers._number_spelling import respell_numbers
from aekit.data.readers._quoting import with_double_quotes, without_formulas
from aekit.data.readers._remarks_below import cut_remarks
from aekit.data.readers._repeated_names import without_repeated_names
from aekit.data.readers._second_table import cut_second_table
from aekit.data.readers._text_form import AUTO, LINES, TextFormat as TextFormat, find_form
from aekit.data.readers._word_vectors import parse_word_vectors
from aekit.data.reading import read_all, reading
from aekit.errors import DataError

FIRST_LINES = 20
"""The fewest lines from which the form of a file is guessed."""
LABEL = b"aekit.label"
"""Key of the metadata of a table that names the column of its classes, where its format says which that is."""
_INVISIBLE = tuple(mark.encode() for mark in "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff")
"""Blanks of no width, byte-order marks within a text, and marks of its direction, in UTF-8."""
_COMPLAINT = "not a readable table"
BLOCK = 1 << 26
"""Most bytes that are parsed at a time."""


def read_delimited(path: Path, form: TextFormat = AUTO) -> tuple[pa.Table, bool, list[str]]:
    """Read a text table.

    Args:
        path: the file; ``.gz`` is unpacked.
        form: how it is written.

    Returns:
        a table of text cells (`CellText`); whether the file names its columns, which else are named "0", "1", ...; choices that
        were made.

    Raises:
        DataError: it is empty, cannot be decoded, or its rows are of different lengths.
    """
    data, notes = decoded(path, _read_bytes(path), form.encoding)
    data, repairs = _repaired(data)
    table, has_header, more_notes = parse_delimited(path, data, form)
    return table, has_header, [*notes, *repairs, *more_notes]


def parse_delimited(path: Path, data: bytes, form: TextFormat = AUTO) -> tuple[pa.Table, bool, list[str]]:
    """Parse the text of a table, in UTF-8; returns and raises as `read_delimited`."""
    data, nulls = _without_nulls(data.rstrip(b"\x1a"))  # the end of a file in DOS
    text = _head(data).decode("utf-8", "ignore")
    detected = find_form(path, text, form)
    body = data[len("".join(islice(io.StringIO(text, newline=""), detected.lines)).encode("utf-8")) :]
    if detected.word_vectors:
        table, more_notes = parse_word_vectors(path, body, detected.names, detected.word_vectors[1])
        return table, True, [*nulls, *detected.notes, *more_notes]
    body, others = cut_second_table(body, detected.delimiter, detected.names)
    body, below = cut_remarks(body, detected.delimiter, len(detected.names))
    below = others + below
    body, delimiter = with_single_delimiter(body, detected.delimiter or "\t")
    if not detected.delimiter:
        body = re.sub(rb'("[^"\n]*")|[ \t]+', _tabbed, re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", body))
    numbers = [str(number) for number in range(len(detected.names))]
    if not body.strip():
        table = pa.table({number: pa.array([], pa.string()) for number in numbers})
    else:
        table = _parse(path, body, delimiter, numbers, detected.lines)
        _check_quotes(path, table, body, delimiter)
        table, again = without_repeated_names(table, detected.names) if detected.has_header else (table, [])
        below += again
    columns = [column.combine_chunks() if column.num_chunks == 0 else column for column in table.columns]
    if b" " in body or b"\xc2\xa0" in body:
        columns = [pc.utf8_trim_whitespace(column) for column in columns]
    if b' "' in body:  # behind a blank, quotes are part of a cell for the parser
        columns = [pc.replace_substring_regex(column, r'^"([^"]*)"$', r"\1") for column in columns]
    columns, number_notes = respell_numbers(
        columns, detected.names, body, detected.delimiter and delimiter, form.decimal
    )
    cells = [as_cells(_chunked(column)) for column in columns]
    table = pa.Table.from_arrays(cells, schema=pa.schema([pa.field(n, c.type) for n, c in zip(numbers, cells)]))
    table, role_notes = _apply_roles(table.rename_columns(detected.names), detected.roles)
    return table, detected.has_header, [*nulls, *detected.notes, *below, *role_notes, *number_notes]


def _apply_roles(table: pa.Table, roles: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """Leave out the columns that are not features in Orange, and mark the class."""
    classes = [name for name, role in zip(table.column_names, roles) if role in ("class", "c")]
    others = [name for name, role in zip(table.column_names, roles) if role and name not in classes]
    table = table.drop_columns(others) if others else table
    if classes:
        table = table.replace_schema_metadata({LABEL: classes[0].encode()})
    return table, [
        f"columns whose role is meta, ignore or weight left out: {', '.join(map(repr, others))}"
    ] if others else []


def _without_nulls(data: bytes) -> tuple[bytes, list[str]]:
    """Return text without bytes of 0, which loggers leave that lose power, and which end the text for some readers."""
    if b"\0" not in data:
        return data, []
    count = data.count(b"\0")
    return data.replace(b"\0", b""), [f"{count:,} bytes of 0 in the text are left out"]


def _without_invisible(data: bytes) -> tuple[bytes, list[str]]:
    """Return text without marks that have no width, which web pages and word processors put beside numbers and words."""
    if data.isascii():
        return data, []
    count = 0
    for mark in _INVISIBLE:
        if mark in data:
            count += data.count(mark)
            data = data.replace(mark, b"")
    what = "1 invisible character in the text is" if count == 1 else f"{count:,} invisible characters in the text are"
    return data, [f"{what} left out"] if count else []


def delimited_names(path: Path, form: TextFormat = AUTO) -> list[str]:
    """Return the names of the columns of a text table from its first lines; raises as `read_delimited`."""
    return find_form(path, _first_text(path, form), form).names


def first_rows_of(path: Path, form: TextFormat = AUTO) -> list[list[str]]:
    """Return the cells of up to 500 of the first lines below the names; raises as `read_delimited`."""
    text = _first_text(path, form)
    detected = find_form(path, text, form)
    lines = list(islice(io.StringIO(text, newline=""), detected.lines, detected.lines + LINES))
    return [cells for _, cells in records_of(lines, detected.delimiter) if cells]


def _first_text(path: Path, form: TextFormat) -> str:
    head = _read_bytes(path, HEAD)
    if len(head) == HEAD and head.count(b"\n") < FIRST_LINES:
        head = _read_bytes(path)
    data, _ = decoded(path, _head(head, is_cut=len(head) == HEAD), form.encoding, is_head=True)
    return _repaired(data)[0].decode("utf-8", "ignore")


def _repaired(data: bytes) -> tuple[bytes, list[str]]:
    """Return the text of a file as CSV has it, without bytes of 0 and with its quotes and line ends, and lines on the changes."""
    lines = []
    repairs = (
        _without_nulls,
        _without_invisible,
        without_formulas,
        with_double_quotes,
        _without_lone_returns,
        without_rules,
    )
    for repair in repairs:
        data, said = repair(data)
        lines += said
    return data, lines


def _without_lone_returns(data: bytes) -> tuple[bytes, list[str]]:
    """Replace carriage returns within lines, which pandas writes without quotes, by spaces; with a note."""
    count = data.count(b"\r") - data.count(b"\r\n")
    if not count or 10 * count > data.count(b"\n"):  # they end the lines, as on an old Mac
        return data, []
    replaced = re.sub(rb'("[^"]*")|\r(?!\n)', lambda match: match[1] or b" ", data)
    return replaced, ["carriage returns within lines are read as spaces"] if replaced != data else []


def _head(data: bytes, is_cut: bool = False) -> bytes:
    """Return whole lines from the start: 1 MB of them, but at least 20."""
    if len(data) <= HEAD and not is_cut:
        return data
    end = data.rfind(b"\n", 0, HEAD) + 1
    lines = data.count(b"\n", 0, end)
    while lines < FIRST_LINES and (end := data.find(b"\n", end) + 1):
        lines += 1
    return data[:end] if end else data


def _read_bytes(path: Path, limit: int | None = None) -> bytes:
    if path.suffix.lower() == ".gz":
        with reading(path, _COMPLAINT), path.open("rb") as file:
            if (head := file.read(2)) and head != GZIP:
                raise DataError(f"{path}: not gzipped; its name should not end in .gz")
    with reading(path, _COMPLAINT), pa.input_stream(str(path)) as stream:  # unpacks .gz
        return read_all(stream, path, limit, copies=3)


def _check_quotes(path: Path, table: pa.Table, body: bytes, delimiter: str) -> None:
    """Check that no quote that nothing closes has swallowed a line, or the rest of the file."""
    if table.num_rows and body.count(b'"') % 2:
        for column in table.columns if table.num_columns > 1 else ():
            swallowed = pc.match_substring_regex(column, rf"[\r\n][^\r\n]*{re.escape(delimiter)}")
            if (row := pc.index(swallowed, True).as_py()) >= 0:
                raise DataError(
                    f"{path}: row {row}: a quote is not closed: {' '.join(column[row].as_py().split())[:40]!r}"
                )
        for cell in table.slice(table.num_rows - 1).to_pylist()[0].values():
            if "\n" in cell.strip() or "\r" in cell.strip():
                raise DataError(f"{path}: a quote is not closed: {' '.join(cell.split())[:40]!r}")


def _chunked(column: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _tabbed(match: re.Match[bytes]) -> bytes:
    return match[1] or b"\t"


def _parse(path: Path, body: bytes, delimiter: str, names: list[str], lines: int) -> pa.Table:
    """Parse the rows, which begin behind some lines."""
    wrong: list[str] = []

    def handle(row: Any) -> str:
        if row.text.lstrip().startswith(COMMENTS):
            return "skip"
        wrong.append(row.text)
        return "error"

    try:
        return _parse_rows(path, body, delimiter, names, handle)
    except DataError as error:
        place = re.search(rb"(?m)^" + re.escape(wrong[0].encode()) + rb"\r?$", body) if wrong else None
        line = f"; line {lines + body[: place.start()].count(bytes([10])) + 1}" if place else ""
        raise DataError(f"{error}{line}{_end_above(body, place.start(), lines) if place else ''}") from None


def _end_above(body: bytes, place: int, lines: int) -> str:
    """Return where a table seems to end, if an empty line is above a row of another width; `lines` are above the body."""
    above = body[:place].rstrip(b" \t\r\n,;|")
    if not above or not re.search(rb"\n[ \t,;|]*\r?\n", body[len(above) : place]):
        return ""
    end = lines + above.count(b"\n") + 1
    return f": below an empty line; the table seems to end at line {end}: save it without what is below"


def _parse_rows(path: Path, body: bytes, delimiter: str, names: list[str], handle: Callable[[Any], str]) -> pa.Table:
    with reading(path, _COMPLAINT):
        return pa_csv.read_csv(
            pa.py_buffer(body),
            read_options=pa_csv.ReadOptions(column_names=names, block_size=min(max(len(body) + 1, 1 << 10), BLOCK)),
            # A row with a line break would be cut at the border of a block.
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=b'"' in body, invalid_row_handler=handle
            ),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
