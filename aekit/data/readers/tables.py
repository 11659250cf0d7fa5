"""CSV, TSV and Parquet files, read through pyarrow."""

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
"""Names of a column of labels, the most telling first. Columns of these names are never features."""

PATH_COLUMNS = ("path", "file", "filename", "image")
"""Names of a column of paths, which makes a table a list of files."""

_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")


def read_table(path: Path) -> pa.Table:
    """The whole table.

    A CSV file without a line of names gets the names "0", "1", ...; columns are separated by commas, or by semicolons
    or tabs where the first line has those. A number may be missing: "", "?", "NA", "NaN" and the like.

    Raises:
        DataError: it cannot be parsed, or it is empty.
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
        raise DataError(f"{path}: a table without rows")
    return table


def parts_in(folder: Path) -> dict[str, Path]:
    """Split -> its table, of a folder that holds tables named ``train``, ``test``, ``val`` and so on, and no others; else {}."""
    found = [path for path in folder.iterdir() if path.name.lower().endswith(TABLE_ENDINGS)]
    named = {split_named(path.name.partition(".")[0]): path for path in found}
    parts: dict[str, Path] = {split: named[split] for split in ("train", "validation", "test") if split in named}
    return parts if len(parts) == len(found) else {}


def read_parts(parts: dict[str, Path]) -> pa.Table:
    """The tables of several splits as one, with a column ``split``; what a table lacks is missing there.

    Raises:
        DataError: one cannot be read, or a column holds numbers in one and words in another.
    """
    read = []
    for split, path in parts.items():
        table = read_table(path)
        own = find_column(table.column_names, ["split"])
        table = table.drop_columns(own) if own else table
        read.append(table.append_column("split", pa.array([split] * len(table))))
    try:
        return pa.concat_tables(read, promote_options="permissive")
    except pa.ArrowException as error:
        names = ", ".join(path.name for path in parts.values())
        raise DataError(f"{names}: their columns are of different types ({str(error).splitlines()[0]})") from None


def column_names(path: Path) -> list[str]:
    """The names of the columns, without reading the rows; empty where it is no table."""
    try:
        if path.suffix == ".parquet":
            return pq.read_schema(path).names
        first = _first_line(path)
    except (pa.ArrowException, DataError):
        return []
    return [name.strip(' "') for name in first.split(_delimiter(first, path))]


def find_column(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """The first of the `wanted` names (lower case) that a table has, as the table spells it."""
    known = {name.strip().lower(): name for name in reversed(list(names))}
    return next((known[name] for name in wanted if name in known), None)


def is_numeric(column: pa.ChunkedArray) -> bool:
    """Whether its values are numbers, booleans, or all missing."""
    types = pa.types
    checks = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    return any(is_one(column.type) for is_one in checks)


def is_text(column: pa.ChunkedArray) -> bool:
    """Whether its values are strings, each by itself or out of a list of categories."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def to_floats(column: pa.ChunkedArray) -> np.ndarray:
    """(N,) floats, NaN where a value is missing; float32 stays what it is, and the rest becomes float64."""
    wanted = column.type if pa.types.is_float32(column.type) else pa.float64()
    return column.cast(wanted).to_numpy()


def to_strings(column: pa.ChunkedArray) -> np.ndarray:
    """(N,) strings, "" where a value is missing."""
    return np.array(["" if value is None else str(value) for value in column.to_pylist()])


def to_labels(column: pa.ChunkedArray) -> np.ndarray:
    """(N,) whole numbers where all are, else floats or strings."""
    if not is_numeric(column):
        return to_strings(column)
    whole = not column.null_count and not pa.types.is_floating(column.type)
    return column.cast(pa.int64()).to_numpy() if whole else to_floats(column)


def to_splits(column: pa.ChunkedArray, path: Path | str) -> np.ndarray:
    """(N,) of ``"train"``, ``"validation"``, ``"test"``.

    Raises:
        DataError: another name of a split.
    """
    found = to_strings(column)
    for row, name in enumerate(found):
        if split_named(name) is None:
            raise DataError(f"{path}: row {row} is of split {str(name)!r}; expected train, validation or test")
    return np.array([split_named(name) for name in found])


def split_named(name: str) -> str | None:
    """The split that a folder or a value means by its name, such as ``val``; None for other names."""
    return _SPLITS.get(name.strip().lower())


def _first_line(path: Path) -> str:
    with pa.input_stream(str(path)) as stream:  # unpacks .gz
        head = stream.read(1 << 16)
    lines = head.decode("utf-8-sig", "replace").splitlines()
    if not lines or not lines[0].strip():
        raise DataError(f"{path}: an empty file")
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
