"""Read CSV, TSV and Parquet files with pyarrow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from aekit.errors import DataError

TABLE_ENDINGS = (".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz")
LABEL_COLUMNS = ("class", "label", "target", "y")
"""Names of a column of labels, in order of precedence. Columns of these names are never features."""

PATH_COLUMNS = ("path", "file", "filename", "image")
"""Names of a column of paths, which makes a table a list of files."""

_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")


def read_table(path: Path) -> pa.Table:
    """Read a table.

    Columns of a CSV file without a header are named "0", "1", ...; they are separated by commas, or by semicolons or tabs if
    the first line has those instead. "", "?", "NA", "NaN" and the like are missing values.

    Raises:
        DataError: it cannot be parsed, or has no rows.
    """
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            first = _first_line(path)
            parse = csv.ParseOptions(delimiter=_delimiter(first, path))
            names = first.split(parse.delimiter)
            nameless = all(_is_number(name) for name in names)
            read = csv.ReadOptions(column_names=[str(n) for n in range(len(names))]) if nameless else None
            convert = csv.ConvertOptions(null_values=[*csv.ConvertOptions().null_values, "?"])
            table = csv.read_csv(path, parse_options=parse, read_options=read, convert_options=convert)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a readable table ({str(error).splitlines()[0]})") from None
    if not table.num_rows:
        raise DataError(f"{path}: the table has no rows")
    return table


def parts_in(folder: Path) -> dict[str, Path]:
    """Return the tables of a folder by split, if all are named ``train``, ``test``, ``val`` and so on; else {}."""
    paths = [path for path in folder.iterdir() if path.name.lower().endswith(TABLE_ENDINGS)]
    by_split = {split_named(path.name.partition(".")[0]): path for path in paths}
    parts: dict[str, Path] = {split: by_split[split] for split in ("train", "validation", "test") if split in by_split}
    return parts if len(parts) == len(paths) else {}


def read_parts(parts: dict[str, Path]) -> pa.Table:
    """Read the tables of several splits as one, with a column ``split``; a column that a table lacks is missing there.

    Raises:
        DataError: a table cannot be read, or a column has numbers in one table and text in another.
    """
    split_tables = []
    for split, path in parts.items():
        table = read_table(path)
        column = find_column(table.column_names, ["split"])
        table = table.drop_columns(column) if column else table
        split_tables.append(table.append_column("split", pa.array([split] * len(table))))
    try:
        return pa.concat_tables(split_tables, promote_options="permissive")
    except pa.ArrowException as error:
        names = ", ".join(path.name for path in parts.values())
        raise DataError(f"{names}: their columns are of different types ({str(error).splitlines()[0]})") from None


def column_names(path: Path) -> list[str]:
    """Return the names of the columns, without reading the rows; empty if it is not a table."""
    try:
        if path.suffix == ".parquet":
            return pq.read_schema(path).names
        first = _first_line(path)
    except (pa.ArrowException, DataError):
        return []
    return [name.strip(' "') for name in first.split(_delimiter(first, path))]


def find_column(names: Iterable[str], candidates: Iterable[str]) -> str | None:
    """Return the first of the `candidates` (lower case) that a table has, as the table spells it; None if it has none."""
    known = {name.strip().lower(): name for name in reversed(list(names))}
    return next((known[name] for name in candidates if name in known), None)


def is_numeric(column: pa.ChunkedArray) -> bool:
    """Return whether the values of a column are numbers, booleans, or all missing."""
    types = pa.types
    checks = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    return any(is_one(column.type) for is_one in checks)


def is_text(column: pa.ChunkedArray) -> bool:
    """Return whether the values of a column are strings, or categories of strings."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def to_floats(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as (N,) floats, NaN where a value is missing: float32 if it is that already, else float64."""
    dtype = column.type if pa.types.is_float32(column.type) else pa.float64()
    return column.cast(dtype).to_numpy()


def to_strings(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as (N,) strings, "" where a value is missing."""
    return np.array(["" if value is None else str(value) for value in column.to_pylist()])


def to_labels(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as (N,) labels: integers if all values are, else floats or strings."""
    if not is_numeric(column):
        return to_strings(column)
    integers = not column.null_count and not pa.types.is_floating(column.type)
    return column.cast(pa.int64()).to_numpy() if integers else to_floats(column)


def to_splits(column: pa.ChunkedArray, path: Path | str) -> np.ndarray:
    """Return a column as (N,) splits ``"train"``, ``"validation"`` or ``"test"``.

    Raises:
        DataError: a value is not the name of a split.
    """
    names = to_strings(column)
    for row, name in enumerate(names):
        if split_named(name) is None:
            raise DataError(f"{path}: row {row} has split {str(name)!r}; expected train, validation or test")
    return np.array([split_named(name) for name in names])


def split_named(name: str) -> str | None:
    """Return the split that a name such as ``val`` stands for; None for other names."""
    return _SPLITS.get(name.strip().lower())


def _first_line(path: Path) -> str:
    with pa.input_stream(str(path)) as stream:  # unpacks .gz
        head = stream.read(1 << 16)
    lines = head.decode("utf-8-sig", "replace").splitlines()
    if not lines or not lines[0].strip():
        raise DataError(f"{path}: empty file")
    return lines[0]


def _delimiter(line: str, path: Path) -> str:
    if ".tsv" in path.suffixes:
        return "\t"
    return max(",;\t", key=line.count) if "," not in line else ","


def _is_number(text: str) -> bool:
    try:
        float(text.strip(' "'))
    except ValueError:
        return False
    return True
