"""Choose which columns of a table are features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from aekit.data.readers import tables
from aekit.data.readers._cell_types import categories_of, holds_list_texts
from aekit.data.readers._column_roles import FEW
from aekit.data.readers._times import is_time, to_seconds
from aekit.data.spec import Column
from aekit.errors import DataError

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
        values = categories_of(column) if encoding == "few" and tables.is_text(column) else []
        # A column with a different value in nearly every row names the rows.
        if 2 <= len(values) <= (min(FEW, len(table) // 2) if chosen is None else MANY):
            columns.append(Column(name, tuple(values)))
            encoded.append(name)
        elif chosen is None and tables.is_empty(column):
            empty.append(name)
        else:
            not_numeric.append(name)
    losses = [f"columns without numbers ignored: {quote_names(not_numeric)}"] if not_numeric else []
    if lists := [name for name in not_numeric if holds_list_texts(table[name])]:
        losses.append(
            f"lists of numbers as text, which are not read: {quote_names(lists)}; save them as .npy, or a column each"
        )
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


def row_names_left_out(row_names: dict[str, str]) -> list[str]:
    if not row_names:
        return []
    listed = ", ".join(f"{name!r} ({kind})" for name, kind in row_names.items())
    return [f"columns that number or name the rows ignored: {listed}; x = [...] uses them"]


def quote_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
