"""Choose which columns of a table are features, or find those of a trained encoder by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers import tables
from aekit.data.readers._cell_types import to_texts
from aekit.data.readers._column_roles import FEW, find_row_names
from aekit.data.readers._times import is_time, to_seconds
from aekit.data.spec import Column
from aekit.errors import DataError, closest_name

Categories = Literal["few", "none"]

MANY = 1000
"""Maximum number of categories of a text column that is chosen by name."""
SHOWN = 30
"""Most names of columns in a line."""


def choose_columns(
    table: pa.Table,
    chosen: list[str] | None,
    candidates: list[str],
    encoding: Categories,
    missing: str,
    where: str,
    too_large: set[str],
) -> tuple[tuple[Column, ...], list[str], list[str]]:
    """Return the columns of features, notes on choices, and lines on columns that are left out."""
    columns, encoded, empty, not_numeric, times, rounded = [], [], [], [], [], []
    for name in candidates if chosen is None else chosen:
        column = table[name]
        if is_time(column):
            if chosen is None:
                times.append(name)
                continue
            impute_value = None
            if missing == "median" and not tables.is_empty(column):
                impute_value = float(np.nanmedian(to_seconds(column, f"{where}: column {name!r}")))
            columns.append(Column(name, impute_value=impute_value, time=True))
            continue
        if tables.is_numeric(column):
            if chosen is None and column.null_count == len(column):
                empty.append(name)
                continue
            if name in too_large and chosen is None:
                rounded.append(name)
                continue
            impute_value = None
            if missing == "median" and column.null_count < len(column):
                impute_value = float(np.nanmedian(tables.to_floats(column)))
            columns.append(Column(name, impute_value=impute_value))
            continue
        values = _categories(column) if encoding == "few" and tables.is_text(column) else []
        # A column with a different value in nearly every row names the rows.
        if 2 <= len(values) <= (min(FEW, len(table) // 2) if chosen is None else MANY):
            columns.append(Column(name, tuple(values)))
            encoded.append(name)
        elif chosen is None and tables.is_empty(column):
            empty.append(name)
        else:
            not_numeric.append(name)
    losses = [f"columns without numbers ignored: {quote_names(not_numeric)}"] if not_numeric else []
    losses += [f"empty columns ignored: {quote_names(empty)}"] if empty else []
    losses += (
        [f"columns of dates and times ignored: {quote_names(times)}; x = [...] uses them as seconds"] if times else []
    )
    if rounded:
        losses.append(
            f"columns of whole numbers beyond 2^53, which float64 would round, ignored: {quote_names(rounded)}"
        )
    if not_numeric and (chosen is not None or not columns):
        also = "".join(f"; {loss}" for loss in losses[1:])
        advice = "aekit does not embed text" if chosen is None else "choose columns by x, and labels by y"
        raise DataError(f"{where}: no numbers in {quote_names(not_numeric)}; {advice}{also}")
    notes = [f"an entry of 0 or 1 for each category in {quote_names(encoded)}"] if encoded else []
    return tuple(columns), notes, losses


def find_columns(
    columns: tuple[Column, ...], chosen: list[str] | None, candidates: list[str], table: pa.Table, where: str
) -> tuple[Column, ...]:
    """Return the columns of an encoder under the names of a table, matched in order if chosen or if the table has no header."""
    names = table.column_names
    in_order = chosen
    if chosen is None and tables.is_headerless(table) and not {column.name for column in columns} <= set(names):
        in_order = candidates
        if len(in_order) != len(columns):
            row_names = find_row_names(table, candidates)
            in_order = [name for name in candidates if name not in row_names]
    if in_order is not None:
        if len(in_order) != len(columns):
            expected = ", ".join(column.name for column in columns)
            raise DataError(f"{where}: {len(in_order)} columns, expected {len(columns)}: {expected}")
        columns = tuple(replace(column, name=name) for column, name in zip(columns, in_order))
    for column in columns:
        if column.name not in names:
            raise DataError(
                f"{where}: no column {column.name!r}, expected by the encoder{closest_name(column.name, names)}"
            )
        if column.categories is None and not column.time and not tables.is_numeric(table[column.name]):
            raise DataError(f"{where}: column {column.name!r} does not hold numbers; expected numbers")
        if column.categories is not None and pa.types.is_nested(table[column.name].type):
            raise DataError(f"{where}: column {column.name!r} holds lists or records; expected categories")
    return columns


def unknown_categories(table: pa.Table, columns: tuple[Column, ...]) -> list[str]:
    """Return notes on categories of a table that an encoder does not know."""
    notes = []
    for column in columns:
        if column.categories is not None:
            new = [value for value in _categories(table[column.name]) if value not in column.categories]
            notes += [f"categories in {column.name!r} unknown to the encoder: {quote_names(new[:5])}"] if new else []
    return notes


def row_names_left_out(row_names: dict[str, str]) -> list[str]:
    if not row_names:
        return []
    listed = ", ".join(f"{name!r} ({kind})" for name, kind in row_names.items())
    return [f"columns that number or name the rows ignored: {listed}; x = [...] uses them"]


def _categories(column: pa.ChunkedArray) -> list[str]:
    """Return the distinct values of a column, sorted, without missing and empty ones."""
    return sorted({value for value in pc.unique(to_texts(column)).to_pylist() if value not in (None, "")})


def quote_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
