"""Read ARFF files of Weka and OpenML, whose header declares which columns hold numbers and which hold categories."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from aekit.data.readers._cell_types import as_cells
from aekit.data.readers.endings import ARFF_ENDINGS
from aekit.data.reading import read_all, reading
from aekit.errors import DataError
from aekit.io.memory import check_memory

_COMPLAINT = "not a readable ARFF file"
_NUMBERS = ("numeric", "real", "integer")
_NAME = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s{]+)"""
_RELATION = b"@relation"
_ATTRIBUTE = re.compile(rf"(?i)@attribute\s+({_NAME})\s*(.+)")
_WEIGHT = re.compile(r",\s*\{[^{}]*\}\s*$")
"""The weight of an instance behind its last value."""
_CELL_BYTES = 64


class _Attribute(NamedTuple):
    """A column, and its categories in the order of the header; None: numbers, dates or texts."""

    name: str
    kind: str
    categories: list[str] | None


def is_arff(path: Path) -> bool:
    """Return whether a file is ARFF: by its name, or by how a .dat begins, as the archive KEEL has it."""
    name = path.name.lower()
    if not name.endswith(".dat") or not path.is_file():
        return name.endswith(ARFF_ENDINGS)
    with reading(path, _COMPLAINT), path.open("rb") as file:
        return file.read(len(_RELATION)).lower() == _RELATION


def read_arff(path: Path) -> tuple[pa.Table, str | None, list[str]]:
    """Read an ARFF file, dense or sparse, gzipped or not.

    Args:
        path: the file.

    Returns:
        a table with numbers and dates as text of a file, texts, and categories as dictionaries of texts; the name of the last
        column if it holds categories, which is the class as Weka has it, else None; and lines about what is left out.

    Raises:
        DataError: it is damaged, has relational attributes, or does not fit in memory.
    """
    with reading(path, _COMPLAINT), pa.input_stream(str(path)) as stream:  # unpacks .gz
        raw = read_all(stream, path, copies=3)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    lines = enumerate(io.StringIO(text, newline=None), 1)  # of any system
    with reading(path, _COMPLAINT):
        attributes = _header(path, lines)
        rows, notes = _rows(path, lines, attributes)
    columns = []
    for attribute, cells in zip(attributes, zip(*rows) if rows else [[]] * len(attributes)):
        values = pa.chunked_array([pa.array([None if cell == "?" else cell for cell in cells], pa.string())])
        if attribute.categories is not None:
            columns.append(values.dictionary_encode())
        else:
            columns.append(values if attribute.kind == "string" else as_cells(values))
    table = pa.Table.from_arrays(columns, names=[attribute.name for attribute in attributes])
    last = attributes[-1]
    return table, last.name if last.categories is not None else None, notes


def arff_names(path: Path) -> list[str]:
    """Return the names of the columns of an ARFF file; raises as `read_arff`."""
    with reading(path, _COMPLAINT), pa.input_stream(str(path)) as stream:
        text = io.TextIOWrapper(stream, "utf-8", "replace")
        return [attribute.name for attribute in _header(path, enumerate(text, 1))]


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> list[_Attribute]:
    """Return the attributes, and advance to the line after ``@data``."""
    attributes: list[_Attribute] = []
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("%") or re.match(r"(?i)@(?:relation|inputs?|outputs?)\b", text):
            continue
        if re.fullmatch(r"(?i)@data\b.*", text):
            if not attributes:
                raise DataError(f"{path}: no @attribute before its @data line")
            return attributes
        match = _ATTRIBUTE.match(text)
        if match is None:
            raise DataError(f"{path}: line {number} is {text[:40]!r}; expected @attribute NAME TYPE or @data")
        attributes.append(_attribute(path, number, _unquoted(match[1]), match[2].strip()))
    raise DataError(f"{path}: has no @data line; expected an ARFF file as Weka writes it")


def _attribute(path: Path, number: int, name: str, declared: str) -> _Attribute:
    if declared.startswith("{"):
        listed, closed, _ = declared[1:].rpartition("}")
        if not closed:
            raise DataError(f"{path}: line {number}: the categories of {name!r} are not closed by a brace")
        return _Attribute(name, "nominal", [cell.strip() for cell in _cells(listed)])
    kind = declared.split()[0].lower()
    if kind == "relational":
        raise DataError(
            f"{path}: attribute {name!r} is relational: series of several channels; open the .ts file instead"
        )
    if kind not in (*_NUMBERS, "string", "date"):
        raise DataError(
            f"{path}: line {number}: {name!r} is of type {kind[:40]!r}; expected numeric, string, date or {{...}}"
        )
    return _Attribute(name, kind, None)


def _rows(
    path: Path, lines: Iterator[tuple[int, str]], attributes: Sequence[_Attribute]
) -> tuple[list[list[str]], list[str]]:
    """Return the cells of each row as text."""
    width, rows, weighted = len(attributes), list[list[str]](), 0
    omitted = ["0" if each.categories is None else (each.categories or ["?"])[0] for each in attributes]
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("%"):
            continue
        weighted += bool(_WEIGHT.search(text))
        text = _WEIGHT.sub("", text)
        row = _sparse(path, number, text, omitted) if text.startswith("{") else _cells(text)
        if len(row) != width:
            raise DataError(f"{path}: line {number} has {len(row)} values; expected {width}, one for each attribute")
        rows.append(row)
        if len(rows) % 1000 == 1:
            check_memory(_CELL_BYTES * width * (len(rows) + 999), f"{path}: its rows")
    what = "the weight of 1 row is" if weighted == 1 else f"the weights of {weighted:,} rows are"
    return rows, [f"{what} not used"] if weighted else []


def _sparse(path: Path, number: int, text: str, omitted: Sequence[str]) -> list[str]:
    """Return the row of ``{1 5, 3 'a b'}``, where values that are left out are 0 or the first category."""
    row = list(omitted)
    if not text.endswith("}"):
        raise DataError(f"{path}: line {number}: a sparse row is not closed by a brace")
    for cell in _cells(text[1:-1]) if text[1:-1].strip() else []:
        place, _, value = cell.strip().partition(" ")
        if not place.isascii() or not place.isdigit() or int(place) >= len(row):
            raise DataError(
                f"{path}: line {number}: {cell[:40]!r} names no attribute; expected one of 0 to {len(row) - 1}"
            )
        row[int(place)] = _unquoted(value.strip())
    return row


def _cells(text: str) -> list[str]:
    """Split values at commas outside quotes, of either kind; tabs where there are no commas."""
    if "'" not in text and '"' not in text and "\\" not in text:
        return [cell.strip() for cell in text.split("," if "," in text or "\t" not in text else "\t")]
    quote = min("'\"", key=lambda mark: text.find(mark) if mark in text else len(text))
    reader = csv.reader([text], quotechar=quote, escapechar="\\", skipinitialspace=True)
    return [cell.strip() for cell in next(reader)]


def _unquoted(name: str) -> str:
    if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", name[1:-1])
    return name
