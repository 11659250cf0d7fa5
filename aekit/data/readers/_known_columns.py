"""Find the columns that an encoder knows in another table."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from aekit.data.readers import tables
from aekit.data.readers._cell_types import categories_of
from aekit.data.readers._column_roles import find_row_names
from aekit.data.spec import Column
from aekit.errors import DataError, closest_name

SHOWN = 5
"""Most new categories in a line."""


def find_known_columns(
    columns: tuple[Column, ...], chosen: list[str] | None, candidates: list[str], table: pa.Table, where: str
) -> tuple[Column, ...]:
    """Return the columns of an encoder under the names of a table, matched in order if chosen or if the table has no header.

    Raises:
        DataError: a column is missing, or holds something else than in training.
    """
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
            new = [value for value in categories_of(table[column.name]) if value not in column.categories]
            notes += (
                [f"categories in {column.name!r} unknown to the encoder: {', '.join(map(repr, new[:SHOWN]))}"]
                if new
                else []
            )
    return notes
