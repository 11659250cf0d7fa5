"""Decide what becomes of missing numbers in a table, and impute them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from aekit.data.readers._cell_types import is_numeric, to_floats
from aekit.data.spec import Column

MIN_ROWS = 20
"""Fewest rows whose medians stand for what is missing unless asked for."""


def loses_most(table: pa.Table, names: Sequence[str]) -> bool:
    """Return whether more than half of 20 or more rows lack one of their numbers, columns without any number aside."""
    incomplete = np.zeros(len(table), bool)
    for column in map(table.column, names):
        if column.null_count < len(column) and is_numeric(column):
            incomplete |= np.isnan(to_floats(column))
    return len(table) >= MIN_ROWS and 2 * int(incomplete.sum()) > len(table)


def impute_missing(columns: tuple[Column, ...], features: list[np.ndarray]) -> list[str]:
    """Impute missing values in place, where a column has a value for them, and return notes."""
    imputed, incomplete, missing = [], np.zeros(len(features[0]), bool), dict[str, int]()
    for number, (column, values) in enumerate(zip(columns, features)):
        if column.categories is not None or not (gaps := np.isnan(values)).any():
            continue
        if column.impute_value is None:
            incomplete |= gaps
            missing[column.name] = int(gaps.sum())
        else:
            features[number] = np.where(gaps, np.asarray(column.impute_value, values.dtype), values)
            imputed.append(f"{column.name!r} ({gaps.sum():,} of {len(values):,})")
    notes = [f"missing values are replaced by the median in {', '.join(imputed)}"] if imputed else []
    if incomplete.any():
        rows = "1 row has" if incomplete.sum() == 1 else f"{incomplete.sum():,} rows have"
        most, worst = max(missing.items(), key=lambda item: item[1])
        where = f"; {most!r} is missing in {worst:,}" if len(missing) > 1 else ""
        notes.append(f"{rows} missing values and cannot be used; missing = 'median' imputes them{where}")
    return notes
