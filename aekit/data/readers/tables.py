"""Read text tables, workbooks, ARFF and Parquet files as tables of Arrow, and find their columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aekit.data.readers._arff_files import arff_names, is_arff, read_arff
from aekit.data.readers._cell_types import (
    is_empty as is_empty,
    is_numeric as is_numeric,
    is_text as is_text,
    to_floats as to_floats,
    to_labels as to_labels,
    to_strings as to_strings,
)
from aekit.data.readers._data_frames import objects_as_text, with_arrow_types
from aekit.data.readers._label_names import LABEL_COLUMNS as LABEL_COLUMNS
from aekit.data.readers._parquet_files import parquet_columns, read_parquet
from aekit.data.readers._spreadsheets import is_spreadsheet, read_first_rows, read_sheet
from aekit.data.readers._statistics_files import read_statistics, statistics_names
from aekit.data.readers._text_form import AUTO, TextFormat, find_form
from aekit.data.readers._times import is_time as is_time
from aekit.data.readers.delimited import LABEL, delimited_names, parse_delimited, read_delimited
from aekit.data.readers.endings import ARFF_ENDINGS, STATISTICS_ENDINGS
from aekit.errors import DataError

_DESCRIBED = (*ARFF_ENDINGS, *STATISTICS_ENDINGS)
"""Endings of files that say what their columns hold."""
PATH_COLUMNS = ("path", "file", "filename", "image")
"""Names of a column of paths, which makes a table a list of files."""

_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "validation")
_SPLITS |= {"publictest": "validation", "privatetest": "test"}  # of competitions
_HEADERLESS, _REMARKS = b"aekit.headerless", b"aekit.remarks"


def read_table(path: Path, form: TextFormat = AUTO) -> pa.Table:
    """Read a table.

    Columns of a CSV file or of a workbook hold its text (`aekit.data.readers._cell_types.CellText`), whose type depends on its
    use; without a header they are named "0", "1", ... `remarks` returns the choices that reading it made.

    Args:
        path: the file.
        form: how a text file or a workbook is written; not for files that say themselves how they are.

    Raises:
        DataError: it cannot be parsed, or has no rows.
    """
    _refuse_form(path, form)
    if path.suffix.lower() == ".parquet":
        table = _with_categories(read_parquet(path))
    elif is_arff(path):
        table, label, notes = read_arff(path)
        table = _with_facts(with_remarks(table, notes), {LABEL: label.encode()} if label else {})
    elif path.name.lower().endswith(STATISTICS_ENDINGS):
        table = with_remarks(*read_statistics(path))
    else:
        table, has_header, notes = _read_sheet(path, form) if is_spreadsheet(path) else read_delimited(path, form)
        table = _with_facts(
            table, {_REMARKS: json.dumps(notes).encode(), **({} if has_header else {_HEADERLESS: b"1"})}
        )
    if not table.num_rows:
        raise DataError(f"{path}: the table has no rows")
    return table


def _read_sheet(path: Path, form: TextFormat) -> tuple[pa.Table, bool, list[str]]:
    text, sheet_notes = read_sheet(path, form.sheet)
    table, has_header, notes = parse_delimited(path, text.encode("utf-8", "replace"), replace(form, delimiter=","))
    return table, has_header, [*sheet_notes, *notes]


def to_table(data: Any) -> pa.Table:
    """Return a table of pandas, polars or pyarrow as one of Arrow.

    Columns of Python objects of several types, as pandas reads them from files with words among numbers, hold their text, and
    sparse columns all their values.

    Raises:
        DataError: names that are not unique, or a column of unknown values.
    """
    if hasattr(data, "iloc"):  # of pandas
        data = with_arrow_types(data)
    try:
        return pa.table(data)
    except (ValueError, TypeError, NotImplementedError, OverflowError) as error:
        if isinstance(error, (pa.ArrowException, OverflowError)) and (table := objects_as_text(data)) is not None:
            return table
        check_names(list(map(str, getattr(data, "columns", []))), "the table")
        reason = " ".join(map(str, error.args[:1] or [error])).splitlines()[0]
        raise DataError(f"the table: a column of mixed or unknown values ({reason})") from None


def check_names(names: Iterable[str], where: str) -> None:
    """Check that names of columns differ.

    Raises:
        DataError: one occurs more than once.
    """
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        listed = ", ".join(map(repr, repeated))
        names = "names" if len(repeated) == 1 else "each name"
        raise DataError(f"{where}: {listed} {names} more than one column; names must differ") from None


def with_remarks(table: pa.Table, lines: Sequence[str]) -> pa.Table:
    """Return a table that carries lines about the choices that reading it made, for `remarks`."""
    return _with_facts(table, {_REMARKS: json.dumps(list(lines)).encode()})


def remarks(table: pa.Table) -> list[str]:
    """Return the choices that reading a table made, a line each."""
    try:
        lines = json.loads((table.schema.metadata or {}).get(_REMARKS, b"[]"))
    except (ValueError, RecursionError):  # not ours
        return []
    return list(map(str, lines)) if isinstance(lines, list) else []


def is_headerless(table: pa.Table) -> bool:
    """Return whether a table has no names of columns, so that they are "0", "1", ..."""
    facts = table.schema.metadata or {}
    return _HEADERLESS in facts or table.column_names == [str(number) for number in range(table.num_columns)]


def declared_label(table: pa.Table) -> str | None:
    """Return the name of the column that the file's format says is the class; None if it says nothing."""
    name = (table.schema.metadata or {}).get(LABEL)
    text = None if name is None else name.decode("utf-8", "replace")
    return text if text in table.column_names else None


def index_columns(table: pa.Table) -> list[str]:
    """Return the names of the columns that hold the index of a table of pandas."""
    return [name for name in _noted(table, "index_columns") if isinstance(name, str) and name in table.column_names]


def index_range(table: pa.Table) -> list[str] | None:
    """Return the (N,) ids in an index of pandas that is a range, such as that of ``frame[10:20]``; None for another."""
    for noted in _noted(table, "index_columns"):
        if isinstance(noted, dict) and noted.get("kind") == "range":
            bounds = [bound for name in ("start", "stop", "step") if isinstance(bound := noted.get(name), int)]
            if len(bounds) == 3 and max(map(abs, bounds)) < 2**61 and bounds[2]:
                numbers = range(*bounds)
                return [str(number) for number in numbers] if len(numbers) == len(table) else None
    return None


def _with_categories(table: pa.Table) -> pa.Table:
    """Return a table of a Parquet file with the categories that pandas has noted, as Arrow restores those of text alone."""
    for noted in _noted(table, "columns"):
        name = noted.get("name") if isinstance(noted, dict) and noted.get("pandas_type") == "categorical" else None
        if isinstance(name, str) and table.column_names.count(name) == 1 and pa.types.is_primitive(table[name].type):
            table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    return table


def _noted(table: pa.Table, what: str) -> list[Any]:
    """Return a list in the notes of pandas on a table; [] where there are none."""
    try:
        noted = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))[what]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return noted if isinstance(noted, list) else []


def join_parts(by_split: Mapping[str, pa.Table], where: str) -> pa.Table:
    """Join the tables of several splits, with a column ``split``; a column that a table lacks is missing there.

    Args:
        by_split: ``train``, ``validation`` or ``test`` -> its rows.
        where: where they come from, for messages.

    Raises:
        DataError: a column has numbers in one table and text in another.
    """
    tables = []
    for split, table in by_split.items():
        column = find_column(table.column_names, ["split"])
        table = table.drop_columns(column) if column else table
        tables.append(table.append_column("split", pa.array([split] * len(table))))
    try:
        _check_types(tables)
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{where}: their columns are of different types ({str(error).splitlines()[0]})") from None


def column_names(path: Path, form: TextFormat = AUTO) -> list[str]:
    """Return the names of the columns, without reading the rows; empty if it is not a table."""
    try:
        if path.suffix.lower() == ".parquet":
            return parquet_columns(path).names
        if is_arff(path):
            return arff_names(path)
        if path.name.lower().endswith(STATISTICS_ENDINGS):
            return statistics_names(path)
        if is_spreadsheet(path):
            return find_form(path, read_first_rows(path, form.sheet), replace(form, delimiter=",")).names
        return delimited_names(path, form)
    except DataError:
        return []


def find_column(names: Iterable[str], candidates: Iterable[str]) -> str | None:
    """Return the first of the `candidates` (lower case) that a table has, as the table spells it; None if it has none."""
    known = {name.strip().lower(): name for name in reversed(list(names))}
    return next((known[name] for name in candidates if name in known), None)


def say_ids(name: str) -> str:
    """Return the line that a column holds the ids."""
    return f"column {name!r} holds the ids"


def to_ids(column: pa.ChunkedArray, name: str) -> tuple[list[str] | None, list[str]]:
    """Return the ids (N,) in a column; None and a line, if they repeat or are missing, and so do not name the rows."""
    ids, reason = unique_ids(to_strings(column).tolist())
    return ids, [f"column {name!r} is not an id, as {reason}: rows are numbered instead"] if reason else []


def unique_ids(ids: list[str]) -> tuple[list[str] | None, str]:
    """Return ids (N,) and ""; or None and the reason, if they repeat or are missing, and so do not name the rows."""
    if "" in ids:
        return None, "values are missing"
    if len(set(ids)) < len(ids):
        repeated, count = Counter(ids).most_common(1)[0]
        return None, f"values repeat ({repeated!r} in {count:,} rows)"
    return ids, ""


def to_splits(column: pa.ChunkedArray, path: Path | str) -> np.ndarray:
    """Return a column as (N,) splits ``"train"``, ``"validation"`` or ``"test"``.

    Raises:
        DataError: a value is not the name of a split.
    """
    return splits_of(to_strings(column), path)


def splits_of(names: np.ndarray, path: Path | str) -> np.ndarray:
    """Return the splits (N,) that names (N,) stand for; arguments and errors as of `to_splits`."""
    for row, name in enumerate(names):
        if split_named(name) is None:
            raise DataError(f"{path}: row {row} has split {str(name)!r}; expected train, validation or test")
    return np.array([split_named(name) for name in names])


def choose_splits(names: Iterable[str]) -> dict[str, str | None]:
    """Return the splits of a data set that are used, with what they stand for: those for train, validation and test, or all."""
    stands_for = {name: split_named(name) for name in names}
    return {name: split for name, split in stands_for.items() if split is not None} or stands_for


def split_named(name: str) -> str | None:
    """Return the split that a name such as ``val`` stands for; None for other names."""
    return _SPLITS.get(name.strip().lower())


def _with_facts(table: pa.Table, facts: dict[bytes, bytes]) -> pa.Table:
    """Return a table that carries facts about itself, as pandas' do."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **facts})


def _refuse_form(path: Path, form: TextFormat) -> None:
    """Refuse options that have no meaning for a kind of file."""
    sheet, text = {"sheet"}, {"encoding", "delimiter"}
    for name, value in vars(form).items():
        if value == "auto":
            continue
        if path.name.lower().endswith((".parquet", *_DESCRIBED)):
            kind = "Parquet" if path.suffix.lower() == ".parquet" else path.suffix
            raise DataError(f"{path}: {name} = {value!r}: is for text tables such as .csv, not for {kind}")
        if name in (text if is_spreadsheet(path) else sheet):
            kind = "text tables such as .csv" if name in text else "Excel workbooks"
            raise DataError(f"{path}: {name} = {value!r}: is for {kind}")


def _check_types(split_tables: Sequence[pa.Table]) -> None:
    """Check that each column is of numbers, or of text, in all tables; raises `pa.ArrowInvalid`."""
    for name in dict.fromkeys(name for table in split_tables for name in table.column_names):
        columns = [table[name] for table in split_tables if table.column_names.count(name) == 1]
        numeric = [is_numeric(column) for column in columns if not is_empty(column)]
        # Texts that look like numbers in a later table are texts, as in the first.
        if numeric and numeric[0] and not all(numeric) and name.strip().lower() not in ("id", *LABEL_COLUMNS):
            raise pa.ArrowInvalid(f"column {name!r} holds numbers in one and text in another")
