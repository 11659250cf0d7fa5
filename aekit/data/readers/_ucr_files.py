"""Read series in the text files of the UCR archive: a line is the class, then the values, between tabs, commas or blanks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aekit.data.readers._cell_types import MISSING, is_numeric, to_floats, to_typed
from aekit.data.readers._number_spelling import looks_numeric
from aekit.data.readers._text_form import TextFormat
from aekit.data.readers._ts_files import SeriesFile
from aekit.data.readers.delimited import first_rows_of, read_delimited
from aekit.errors import DataError

UCR_ENDINGS = (".tsv", ".txt")
_FORM = TextFormat(header=False)
_FEWEST_STEPS = 8


def read_ucr(path: Path) -> SeriesFile:
    """Read a text file of the UCR archive.

    Missing values at the end of a line belong to a shorter series; those within it are missing values.

    Raises:
        DataError: it is not a table of numbers, or the classes are not whole numbers.
    """
    table, _, _ = read_delimited(path, _FORM)
    columns = [to_typed(column).column for column in table.columns]
    if wrong := [name for name, column in zip(table.column_names, columns) if not is_numeric(column)]:
        raise DataError(
            f"{path}: column {wrong[0]} holds words; expected a class and the values of a series in each line"
        )
    values = np.column_stack([to_floats(column) for column in columns])
    classes = values[:, 0]
    if not np.array_equal(classes, np.rint(classes)):
        raise DataError(f"{path}: its first column holds fractions or gaps; expected the classes, as whole numbers")
    known = ~np.isnan(values[:, 1:])
    lengths = np.where(known.any(1), known.shape[1] - known[:, ::-1].argmax(1), 0)
    series = [
        row[None, :length].astype(np.float32) if length else f"line {number}: no values"
        for number, (row, length) in enumerate(zip(values[:, 1:], lengths), 1)
    ]
    return SeriesFile(series, classes.astype(np.int64).astype(str))


def looks_like_ucr(path: Path) -> bool:
    """Return whether a file is called as those of the archive are, such as ``GunPoint_TRAIN.tsv``, and holds what they hold."""
    if not path.name.lower().endswith(UCR_ENDINGS) or not path.stem.upper().endswith(("_TRAIN", "_TEST")):
        return False
    try:
        rows = [[cell.strip() for cell in row] for row in first_rows_of(path, _FORM)]
    except DataError:
        return False
    if not rows or len(rows[0]) <= _FEWEST_STEPS:
        return False
    if not all(looks_numeric(cell) or cell in MISSING for row in rows for cell in row) or "" in (
        row[0] for row in rows
    ):
        return False
    classes = [float(row[0]) for row in rows]
    return all(map(float.is_integer, classes)) and len(set(classes)) < len(classes)
