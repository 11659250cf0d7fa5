"""Read CSV, TSV and other text tables as people write them: any encoding, delimiter, preamble and way to write numbers.

All cells stay text (`aekit.data.readers.cell_text`). Whatever is guessed can be set by a `TextFormat`.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from aekit.data.readers.cell_text import MISSING, NUMBER, PLACEHOLDERS, as_cells
from aekit.errors import DataError

HEAD = 1 << 20
"""Bytes from which the form of a file is guessed."""
LINES, CHARACTERS = 500, 200_000
"""Most lines from which the form of a file is guessed, and about as many characters, but at least 50 lines."""
BLOCK = 1 << 26
COMMENTS = ("#", "%", "//")

_KNOWN_NAMES = frozenset(
    "id index class label labels target path file filename file_name image split name date time timestamp value".split()
)
MINUS = "\u2212"
_BLANKS = " \u00a0\u2009\u202f"
_BLANK = f"[{_BLANKS}']"
_GROUPED_POINT = rf"^[+-]?\d{{1,3}}(?:(?:,|{_BLANK})\d{{3}})+(?:\.\d+)?$"
_COMMA = rf"^[+-]?(?:\d+|\d{{1,3}}(?:(?:\.|{_BLANK})\d{{3}})+)(?:,\d*)?(?:[eE][+-]?\d+)?$|^[+-]?,\d+$"
_SURELY_COMMA = rf"^[+-]?(?:0,\d+|\d+,(?:\d{{1,2}}|\d{{4,}})|\d{{4,}},\d+|\d{{1,3}}(?:(?:\.|{_BLANK})\d{{3}})+,\d+)(?:[eE].*)?$"
_SURELY_POINT = rf"^[+-]?\d{{1,3}}(?:,\d{{3}})+\.\d+$|^[+-]?\d{{1,3}}(?:,\d{{3}}){{2,}}$"
_GROUPED_DOTS = r"^[+-]?\d{1,3}(?:\.\d{3})+$"
_PLAIN = f"^{NUMBER}$"
_SIGNS = "%$€£¥"
_SIGNED = rf"^([+-]?)[$€£¥]?[{_BLANKS}]?([+-]?[\d.,'{_BLANKS}]*\d)[{_BLANKS}]?[{_SIGNS}]?$"
_NUMBERISH = re.compile(
    rf"[+-]?[$€£¥]?[\d.,'{_BLANKS}]*\d[\d.,'{_BLANKS}]*(?:[eE][+-]?\d+)?[{_BLANKS}]?[{_SIGNS}]?"
)


@dataclass(frozen=True)
class TextFormat:
    """How a text table is written; ``auto``: to be found out.

    Attributes:
        encoding: name of the encoding.
        delimiter: character between cells; ``tab``; or ``blanks`` for any number of blanks.
        decimal: decimal separator.
        header: whether the first line holds the names of the columns.
        skip: lines before the table.
    """

    encoding: str = "auto"
    delimiter: str = "auto"
    decimal: Literal["auto", ".", ","] = "auto"
    header: bool | Literal["auto"] = "auto"
    skip: int | Literal["auto"] = "auto"


AUTO = TextFormat()


@dataclass(frozen=True)
class _Form:
    """What was found out about a file.

    Attributes:
        delimiter: character between cells; "" for blanks.
        names: names of the columns.
        has_header: whether the file has names.
        lines: physical lines before the first row.
        notes: choices.
    """

    delimiter: str
    names: list[str]
    has_header: bool
    lines: int
    notes: tuple[str, ...]


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
    data, encoding_notes = _decoded(path, _read_bytes(path), form.encoding)
    head = data if len(data) <= HEAD else data[: data.rfind(b"\n", 0, HEAD) + 1] or data[:HEAD]
    text = head.decode("utf-8", "ignore")
    found = _find_form(path, text, form)
    body = data[len("".join(islice(io.StringIO(text, newline=""), found.lines)).encode("utf-8")) :]
    if not found.delimiter:
        body = re.sub(rb'("[^"\n]*")|[ \t]+', _tabbed, re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", body))
    numbers = [str(number) for number in range(len(found.names))]
    if not body.strip():
        table = pa.table({number: pa.array([], pa.string()) for number in numbers})
    else:
        table = _parse(path, body, found.delimiter or "\t", numbers)
    columns = [column.combine_chunks() if column.num_chunks == 0 else column for column in table.columns]
    if b" " in body or b"\xc2\xa0" in body:
        columns = [pc.utf8_trim_whitespace(column) for column in columns]
    columns, number_notes = _respell(columns, found.names, body, found.delimiter, form.decimal)
    cells = [as_cells(_chunked(column)) for column in columns]
    table = pa.Table.from_arrays(cells, schema=pa.schema([pa.field(n, c.type) for n, c in zip(numbers, cells)]))
    return table.rename_columns(found.names), found.has_header, [*encoding_notes, *found.notes, *number_notes]


def delimited_names(path: Path, form: TextFormat = AUTO) -> list[str]:
    """Return the names of the columns of a text table from its first lines; raises as `read_delimited`."""
    head = _read_bytes(path, HEAD)
    cut = head[: head.rfind(b"\n") + 1] if len(head) == HEAD and b"\n" in head else head
    data, _ = _decoded(path, cut, form.encoding, is_head=True)
    return _find_form(path, data.decode("utf-8", "ignore"), form).names


def _read_bytes(path: Path, limit: int | None = None) -> bytes:
    try:
        with pa.input_stream(str(path)) as stream:  # unpacks .gz
            return stream.read(limit) if limit else stream.read()
    except (pa.ArrowException, OSError, zlib.error, EOFError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise DataError(f"{path}: not a readable table ({next(iter(str(error).splitlines()), 'damaged')})") from None


def _decoded(path: Path, data: bytes, encoding: str, is_head: bool = False) -> tuple[bytes, list[str]]:
    """Return the text of a file as UTF-8, with a note if its encoding is a guess."""
    notes = []
    if encoding == "auto":
        encoding = _encoding_of(data, is_head)
        if encoding in ("cp1252", "latin-1"):
            notes = [f"not UTF-8, read as {encoding}; encoding = ... reads it in another way"]
    try:
        known = codecs.lookup(encoding).name
        if known in ("utf-8", "utf-8-sig"):
            data = data.removeprefix(codecs.BOM_UTF8)
            return (data, notes) if is_head or _is_utf8(data) else (data.decode("utf-8").encode(), notes)
        text = data.decode(encoding, "ignore" if is_head else "strict")
    except LookupError:
        raise DataError(f"{path}: encoding = {encoding!r}: no such encoding; expected one such as utf-8, cp1252") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}: line {line} is not {encoding}; encoding = 'auto' finds out which it is") from None
    return text.removeprefix("\ufeff").encode("utf-8"), notes


def _encoding_of(data: bytes, is_head: bool) -> str:
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) and len(data) % 4 == 0:
        return "utf-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = data[:4096]
    if len(sample) >= 4 and sample.count(0) > len(sample) // 4:
        return "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
    if _is_utf8(data, is_head):
        return "utf-8"
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def _is_utf8(data: bytes, is_head: bool = False) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    try:
        for start in range(0, len(data), 1 << 24):
            decoder.decode(view[start : start + (1 << 24)])
        decoder.decode(b"", final=not is_head)
    except UnicodeDecodeError:
        return False
    return True


def _find_form(path: Path, text: str, form: TextFormat) -> _Form:
    skip = 0 if form.skip == "auto" else form.skip
    lines = list(islice(io.StringIO(text, newline=""), skip, skip + LINES))
    lines = lines[: max(50, len(lines) * CHARACTERS // max(CHARACTERS, sum(map(len, lines))))]
    if not any(line.strip() for line in lines):
        raise DataError(f"{path}: empty file" if not skip else f"{path}: skip = {skip}: no lines are left")
    delimiter = _find_delimiter(path, lines, form.delimiter)
    records = [record for record in _records(lines, delimiter) if any(cell.strip() for cell in record[1])]
    if not records:
        records = [(len(lines), lines[0].split(delimiter or None))]
    width, notes = _width([cells for _, cells in records if not _is_comment(cells)]), list[str]()
    comment: list[str] = []
    first = 0
    for first, (_, cells) in enumerate(records):
        if len(cells) >= width and not (_is_comment(cells) and (len(cells) != width or not _names_itself(cells))):
            break
        following = records[first + 1][1] if first + 1 < len(records) else []
        if _is_row_named(cells, following, records[first + 1 :], width):
            break
        comment = cells
    if form.skip != "auto":
        first = 0
    skipped = skip + (records[first - 1][0] if first else 0)
    if first:
        shown = " ".join("".join(lines[: records[first - 1][0]]).split())
        count = "1 line" if skipped == 1 else f"{skipped} lines"
        notes.append(f"{count} before the table skipped: {shown[:60]}{'...' if len(shown) > 60 else ''}")
    end, cells = records[first]
    rows = [row for _, row in records[first + 1 :] if len(row) == width]
    has_header, header_note = (form.header, "") if form.header != "auto" else _has_header(cells, rows)
    notes += [header_note] if header_note else []
    if not has_header and form.header == "auto" and comment and len(comment := _uncommented(comment, delimiter)) == width:
        named = not any(_NUMBERISH.fullmatch(cell) for cell in comment)
        if named:
            return _Form(delimiter, _named(comment, width, rows), True, skipped, ("names of columns: the last comment line",))
    if not has_header:
        note = "line 1 holds no names: columns are named 0, 1, ...; header = true reads it as names"
        return _Form(delimiter, [str(n) for n in range(width)], False, skipped, (*notes, note))
    return _Form(delimiter, _named(cells, width, rows), True, skip + end, tuple(notes))


def _find_delimiter(path: Path, lines: Sequence[str], chosen: str) -> str:
    names = {"tab": "\t", "blanks": "", "blank": "", " ": ""}
    if chosen != "auto":
        delimiter = names.get(chosen, chosen)
        if len(delimiter) > 1 or delimiter in ('"', "\n", "\r"):
            raise DataError(f"{path}: delimiter = {chosen!r}: expected one character, tab or blanks")
        return delimiter
    scores = {}
    for delimiter in "\t;|,":
        rows = [cells for _, cells in _records(lines, delimiter) if cells and not _is_comment(cells)]
        width = _width(rows)
        scores[delimiter] = sum(len(cells) == width for cells in rows) / max(len(rows), 1) if width > 1 else 0.0
    if ".tsv" in path.name.lower() and scores["\t"] > 0:
        return "\t"
    best = max(scores, key=lambda delimiter: scores[delimiter])
    if scores[best] < 0.8:
        rows = [_blank_cells(line) for line in lines if line.strip() and not line.lstrip().startswith(COMMENTS)]
        width = _width(rows)
        same = [cells for cells in rows if len(cells) == width]
        numbers = sum(bool(_NUMBERISH.fullmatch(cell)) for cells in same for cell in cells)
        # Words with blanks in them are quoted, or else each line would be one text.
        few = 3 if any('"' in line for line in lines) else 2
        if width > 1 and len(same) >= 0.8 * len(rows) - 1 and few * numbers > width * len(same):
            return ""
    return best if scores[best] else ","


def _records(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records, each with the number of physical lines up to its end."""
    if not delimiter:
        yield from ((number + 1, _blank_cells(line)) for number, line in enumerate(lines))
        return
    limit = csv.field_size_limit(1 << 30)
    try:
        reader = csv.reader(iter(lines), delimiter=delimiter)
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error:
        return
    finally:
        csv.field_size_limit(limit)


def _blank_cells(line: str) -> list[str]:
    """Split a line at blanks outside quotes."""
    return [cell.strip('"') if cell.startswith('"') else cell for cell in re.findall(r'"[^"]*"|[^\s]+', line)]


def _tabbed(match: re.Match[bytes]) -> bytes:
    return match[1] or b"\t"


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
    if any(_NUMBERISH.fullmatch(cell.strip()) for cell in cells) or not all(cell.strip() for cell in cells):
        return False
    firsts = [row[0] for _, row in rows if len(row) == width]
    return len(set(firsts)) == len(firsts) or all(not row[-1].strip() for _, row in rows if len(row) == width)


def _named(cells: Sequence[str], width: int, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the names of all columns; those without one are called as pandas calls them, ``Unnamed: 0``."""
    names = [cell.strip() for cell in cells]
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


def _has_header(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[bool, str]:
    """Decide whether the first line holds names, by comparing it with the lines below; with a note if that is not clear."""
    cells = [cell.strip() for cell in cells]
    if len(rows) and len(cells) < len(rows[0]):
        return True, ""
    said = "line 1 is read as the names of columns; header = false reads it as a row"
    names, values, weak = 0, 0, 0
    for number, cell in enumerate(cells):
        below = [row[number].strip() for row in rows]
        below = [other for other in below if other not in MISSING and other not in PLACEHOLDERS]
        if cell in MISSING or cell in PLACEHOLDERS:
            continue
        is_number = bool(_NUMBERISH.fullmatch(cell)) or cell.lower() in ("true", "false")
        numeric = sum(bool(_NUMBERISH.fullmatch(other)) or other.lower() in ("true", "false") for other in below)
        if not below:
            weak += not is_number
            values += is_number
        elif numeric >= 0.8 * len(below):
            values, names = values + is_number, names + (not is_number)
        elif cell in below:
            values += 1
        elif cell.lower() in _KNOWN_NAMES:
            names += 2
        elif not is_number and _same_form(cell, below):
            values += 1
        else:
            weak += not is_number
    if _counts(cells, rows) or (names + weak and _is_progression(cells)):
        return True, said
    if names and values:
        return names >= values, said if names >= values else ""
    return bool(names) or bool(weak and not values), ""


def _same_form(cell: str, below: Sequence[str]) -> bool:
    """Return whether a word is made like all of those below it, such as a date, ``A12`` or ``x/1.png``."""
    forms = {re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", other)) for other in [cell, *below]}
    return len(below) > 1 and len(forms) == 1 and forms != {"a"}


def _counts(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the cells are 0, 1, ..., the names that pandas gives to columns without names."""
    names = list(cells[1:] if cells and not cells[0] else cells)
    if len(names) < 2 or not rows:
        return False
    zero_based, one_based = ([str(number + start) for number in range(len(names))] for start in (0, 1))
    below = rows[0][-len(names) :]
    goes_on = [str(int(name) + len(names)) for name in names] == list(below) if names in (zero_based, one_based) else False
    if names == zero_based:
        return not goes_on and (len(names) > 2 or any("." in cell for cell in below))
    return names == one_based and len(names) > 4 and not goes_on


def _is_progression(cells: Sequence[str]) -> bool:
    """Return whether the numbers among the cells are whole and evenly spaced, as years are."""
    numbers = [cell for cell in cells if _NUMBERISH.fullmatch(cell)]
    if len(numbers) < 2 or not all(re.fullmatch(r"\d+", number) for number in numbers):
        return False
    steps = {int(after) - int(before) for before, after in zip(numbers, numbers[1:])}
    return len(steps) == 1 and steps != {0}


def _parse(path: Path, body: bytes, delimiter: str, names: list[str]) -> pa.Table:
    def handle(row: Any) -> str:
        return "skip" if row.text.lstrip().startswith(COMMENTS) else "error"

    try:
        return pa_csv.read_csv(
            pa.py_buffer(body),
            read_options=pa_csv.ReadOptions(column_names=names, block_size=min(max(len(body) + 1, 1 << 10), BLOCK)),
            # A row with a line break would be cut at the border of a block.
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=b'"' in body, invalid_row_handler=handle
            ),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a readable table ({str(error).splitlines()[0]})") from None


def _chunked(column: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _respell(
    columns: list[Any], names: Sequence[str], body: bytes, delimiter: str, decimal: str
) -> tuple[list[Any], list[str]]:
    """Write numbers as Python does: with a decimal point, without separators of thousands, percent and currency signs.

    A decimal comma is assumed where a number can be read in no other way, and then in the other columns of the file too.
    """
    inner = f"'{_BLANKS}" + ("," if delimiter != "," or b'"' in body else "")
    if decimal != "," and not any(sign.encode() in body for sign in inner + _SIGNS + MINUS):
        return columns, []
    has_signs = any(sign.encode() in body for sign in _SIGNS)
    odd: dict[int, _Odd] = {}
    plain: list[int] = []
    said: dict[str, list[str]] = {"comma": [], "thousands": [], "signs": []}
    for number, column in enumerate(columns):
        if names[number].strip().lower() == "id":
            continue
        values = pc.filter(column, pc.invert(pc.is_in(column, pa.array([*MISSING, *PLACEHOLDERS]))))
        if _are_floats(values):
            plain.append(number)
            continue
        if MINUS.encode() in body:
            column = pc.replace_substring(column, MINUS, "-")
            values = pc.replace_substring(values, MINUS, "-")
        if has_signs and _share(_sample(values), _SIGNED) == 1 and _any(_sample(values), f"[{_SIGNS}]"):
            said["signs"].append(names[number])
            column, values = (pc.replace_substring_regex(each, _SIGNED, r"\1\2") for each in (column, values))
        columns[number] = column
        strange = pc.filter(values, pc.invert(pc.match_substring_regex(values, _PLAIN)))
        odd[number] = _Odd(column, _sample(strange), len(strange) / max(len(values), 1))
    commas = {number for number, each in odd.items() if each.share(_COMMA) >= 0.8 and _any(each.values, _SURELY_COMMA)}
    points = {number for number, each in odd.items() if _any(each.values, _SURELY_POINT)} - commas
    has_commas = decimal == "," or (decimal == "auto" and bool(commas))
    likely = has_commas or (delimiter == ";" and not points and decimal == "auto")
    for number, each in odd.items():
        if decimal != "." and each.share(_COMMA) >= 0.8 and (number in commas or (likely and number not in points)):
            if _any(each.values, ","):
                said["comma"].append(names[number])
            if _any(each.values, rf"\d(?:\.|{_BLANK})\d"):
                said["thousands"].append(names[number])
            columns[number] = _rewrite(each.column, _COMMA, rf"\.|{_BLANK}")
        elif each.share(_GROUPED_POINT) >= 0.8 and _any(each.values, _GROUPED_POINT):
            said["thousands"].append(names[number])
            columns[number] = _rewrite(each.column, _GROUPED_POINT, f",|{_BLANK}")
    for number in plain if has_commas and b"." in body else ():
        values = pc.filter(columns[number], pc.invert(pc.is_in(columns[number], pa.array(MISSING))))
        if _any(values, _GROUPED_DOTS) and _share(values, rf"^[+-]?\d{{1,3}}(?:\.\d{{3}})*$") == 1:
            said["thousands"].append(names[number])
            columns[number] = pc.replace_substring(columns[number], ".", "")
    notes = [f"decimal commas in {_quoted(said['comma'])}"] if said["comma"] else []
    notes += [f"separators of thousands in {_quoted(said['thousands'])}"] if said["thousands"] else []
    notes += [f"percent or currency signs are left out in {_quoted(said['signs'])}"] if said["signs"] else []
    return columns, notes


class _Odd(NamedTuple):
    """A column whose values are not all numbers as Python writes them.

    Attributes:
        column: all of it.
        values: some of the values that are not.
        fraction: the fraction of all values that are not.
    """

    column: Any
    values: Any
    fraction: float

    def share(self, pattern: str) -> float:
        """Return the share of values that are numbers if those that match a pattern are."""
        return 1 - self.fraction + self.fraction * _share(self.values, pattern)


def _sample(values: Any, most: int = 5000) -> Any:
    return values.take(pa.array(range(0, len(values), len(values) // most))) if len(values) > most else values


def _are_floats(values: Any) -> bool:
    try:
        values.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _rewrite(column: Any, pattern: str, separators: str) -> Any:
    numbers = pc.replace_substring(pc.replace_substring_regex(column, separators, ""), ",", ".")
    return pc.if_else(pc.match_substring_regex(column, pattern), numbers, column)


def _share(values: Any, pattern: str) -> float:
    """Return the share of values that match a whole pattern."""
    whole = pattern if pattern.startswith("^") else f"^(?:{pattern})$"
    return float(pc.mean(pc.match_substring_regex(values, whole)).as_py() or 0.0)


def _any(values: Any, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(values, pattern)).as_py())


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
