"""Read JSON lines, one record a line, and JSON files that hold records in one of the usual shapes."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json

from aekit.data.readers import tables
from aekit.data.readers._cell_types import as_cells
from aekit.data.reading import read_all, reading
from aekit.errors import DataError

_SCALARS = (str, int, float, bool, type(None))
_DEPTH = 8
"""Levels of nested records whose keys become columns."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LONG_INTEGER = re.compile(rb"(?<![\d.eE+])\d{19,}(?![\d.eE])")
"""Whole numbers that may be beyond 64 bits, which Arrow would round."""


def read_json_lines(path: Path) -> pa.Table:
    """Read records as a table; a key that a record lacks is a missing value, and a nested one is named ``outer.inner``.

    A file may hold a record a line, a list of records, an object with one list of records, or the columns of a table: lists, or
    objects by row, as pandas writes them. `aekit.data.readers.tables.remarks` says which, where it is not the first two.

    Raises:
        DataError: the file is empty, a line is not a record, or a key has lists in one record and numbers in another.
    """
    with reading(path, f"not readable as JSON{'' if path.name.lower().endswith(('.json', '.json.gz')) else ' lines'}"):
        with pa.input_stream(str(path)) as stream:  # unpacks .gz
            content = read_all(stream, path, copies=3).removeprefix(b"\xef\xbb\xbf")
        if not content.strip():
            raise DataError(f"{path}: empty file")
        if content.lstrip()[:1] == b"[":
            return _from_records(path, json.loads(content))
        if content.lstrip()[:1] != b"{":  # Arrow ends the process where the first record is null
            raise DataError(f"{path}: its first line is not a record; expected {{...}} with named values")
        options = pa.json.ReadOptions(block_size=max(len(content) + 1, 1 << 20))
        try:
            if _LONG_INTEGER.search(content):
                raise pa.ArrowInvalid("a whole number that may be beyond 64 bits")
            table = pa.json.read_json(io.BytesIO(content), options)
        except pa.ArrowInvalid:  # or one object over several lines, or a key with values of several types
            records = _parse(content)
            if records is None:
                raise
            shaped = _from_object(path, records[0]) if len(records) == 1 else None
            return _from_records(path, records) if shaped is None else shaped
        if len(table) == 1 and (records := _parse(content)) is not None:
            shaped = _from_object(path, records[0])
            if shaped is not None:
                return shaped
        table.validate(full=True)  # before text that is not UTF-8 is used
        return _flat(table)


def _parse(content: bytes) -> list[Any] | None:
    """Return the one object of a file, or those of its lines; None if it is neither."""
    try:
        return [json.loads(content)]
    except json.JSONDecodeError:
        pass
    try:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    except json.JSONDecodeError:
        return None


def _from_records(path: Path, records: list[Any]) -> pa.Table:
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise DataError(f"{path}: entry {number} of the list is not a record; expected {{...}} with named values")
    try:
        return _to_table(records)
    except OverflowError:  # in a record inside one, where it cannot be kept as text
        return _to_table([_unnested(record) for record in records])


def _to_table(records: list[dict[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for record in records for name in record))
    return _flat(pa.table({name: _column(name, [record.get(name) for record in records]) for name in names}))


def _from_object(path: Path, single: dict[str, Any]) -> pa.Table | None:
    """Return the table in an object that is not a record: one with a list of records, or with columns; None for a record."""
    if {"images", "annotations"} <= set(single) or {"shapes", "imagePath"} <= set(single):
        kind = "COCO" if "images" in single else "LabelMe"
        raise DataError(
            f"{path}: annotations of images, as {kind} has them, not samples; open the folder of the images"
        )
    lists = {name: value for name, value in single.items() if _holds(value, dict)}
    if len(lists) == 1:
        name, records = next(iter(lists.items()))
        others = [other for other in single if other != name]
        left_out = f"; left out: {', '.join(others[:10])}{', ...' if len(others) > 10 else ''}" if others else ""
        return tables.with_remarks(_from_records(path, records), [f"the records are the list in {name!r}{left_out}"])
    columns = list(single.values())
    if set(single) >= {"columns", "data"} and _holds(single["data"], list) and _holds(single["columns"], str):
        names, rows = single["columns"], single["data"]
        if all(len(row) == len(names) for row in rows):
            row_ids = _ids(single.get("index", []), names)
            records = [{**one, **dict(zip(names, row))} for one, row in zip(row_ids or repeat({}), rows)]
            table = _from_records(path, records)
            return tables.with_remarks(table, ["its rows are the lists in 'data'"])
    if columns and all(isinstance(column, dict) and column for column in columns):
        rows = list(dict.fromkeys(row for column in columns for row in column))
        if _are_rows(single):
            row_ids = _ids(list(single), list(columns[0]))
            records = [{**one, **record} for one, record in zip(row_ids or repeat({}), columns)]
            return tables.with_remarks(_from_records(path, records), ["its objects are rows, by name"])
        if len(rows) > 1 and all(isinstance(value, _SCALARS) for column in columns for value in column.values()):
            ids = [one["id"] for one in _ids(rows, list(single))]
            values = {name: [column.get(row) for row in rows] for name, column in single.items()}
            named = {**({"id": ids} if ids else {}), **values}
            table = pa.table({name: _column(name, column) for name, column in named.items()})
            return tables.with_remarks(table, ["its objects are columns, by row"])
    if len(columns) > 1 and all(isinstance(column, list) and len(column) == len(columns[0]) > 1 for column in columns):
        if not all(isinstance(value, _SCALARS) for column in columns for value in column):
            return None
        table = pa.table({name: _column(name, column) for name, column in single.items()})
        return tables.with_remarks(table, ["its lists are columns"])
    return None


def _ids(index: Sequence[Any], names: Sequence[str]) -> list[dict[str, str]]:
    """Return the ids of rows in an index of pandas; [] if it only counts them, has several levels, or there are other ids."""
    texts = [str(name) for name in index if isinstance(name, _SCALARS)]
    is_needed = "id" not in names and len(texts) == len(index) and texts != [str(row) for row in range(len(texts))]
    return [{"id": text} for text in texts] if is_needed else []


def _are_rows(single: dict[str, dict[str, Any]]) -> bool:
    """Return whether an object of objects has a row in each, by its number or name, rather than a column."""
    inner = {name for row in single.values() for name in row}
    if len(single) < 2 or any(name.isdigit() or _DATE.match(name) for name in inner):
        return False
    if all(name.isdigit() or _DATE.match(name) for name in single):
        return True
    # A column is of one type, a row may be of several.
    is_text = [{isinstance(value, str) for value in row.values() if value is not None} for row in single.values()]
    return all(len(kinds) > 1 for kinds in is_text)


def _unnested(record: dict[str, Any], depth: int = _DEPTH) -> dict[str, Any]:
    """Return a record whose nested records are values of their own, as `_flat` names them."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict) and value and "bytes" not in value and depth:
            flat |= {f"{name}.{key}": inner for key, inner in _unnested(value, depth - 1).items()}
        else:
            flat[name] = value
    return flat


def _holds(value: Any, kind: type) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(entry, kind) for entry in value)


def _column(name: str, values: list[Any]) -> pa.ChunkedArray:
    """Return a column; of numbers and texts, or numbers beyond 64 bits, it holds the text, as a column of a text file."""
    try:
        return pa.chunked_array([pa.array(values)])
    except (pa.ArrowException, OverflowError) as error:
        if not all(isinstance(value, _SCALARS) for value in values):
            if not isinstance(error, OverflowError):
                raise pa.ArrowInvalid(f"{name!r} holds values that make no column: {error}") from None
            if any(isinstance(value, dict) for value in values):
                raise  # it is kept as text once the records inside are columns of their own
            raise pa.ArrowInvalid(f"{name!r} holds lists with a whole number beyond 64 bits") from None
        return as_cells(pa.chunked_array([[None if value is None else str(value) for value in values]], pa.string()))


def _flat(table: pa.Table) -> pa.Table:
    """Turn nested records into columns of their own, other than encoded images."""
    for _ in range(_DEPTH):
        nested = [f.name for f in table.schema if pa.types.is_struct(f.type) and "bytes" not in f.type.names]
        if not nested:
            break
        arrays, names = list[Any](), list[str]()
        for name in table.column_names:
            one = pa.table({name: table[name]})
            one = one.flatten() if name in nested else one
            arrays += one.columns
            names += one.column_names
        table = pa.table(arrays, names=names)
    return table
