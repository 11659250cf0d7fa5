"""Join columns such as year, month, day and hour to times, and times of day over midnight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from aekit.data.readers import tables

_DATE, _CLOCK = ("year", "month", "day"), ("hour", "minute", "second")
_DAY = 86400


def times_of_parts(table: pa.Table, names: Sequence[str]) -> tuple[list[str], np.ndarray] | None:
    """Return the columns year, month, day and perhaps hour, minute and second of a table, and the (N,) seconds since 1970.

    Returns:
        the names and the seconds, NaN where a part is missing or no part of a date; None without a year, a month and a day.
    """
    columns = {part: name for part in (*_DATE, *_CLOCK) if (name := tables.find_column(names, [part]))}
    if not columns.keys() >= set(_DATE) or not all(tables.is_numeric(table[name]) for name in columns.values()):
        return None
    parts = {part: tables.to_floats(table[name]).astype(np.float64) for part, name in columns.items()}
    known = np.isfinite(list(parts.values())).all(axis=0)
    for part, highest in zip((*_DATE, *_CLOCK), (9999, 12, 31, 24, 60, 61)):
        known &= (parts.get(part, np.ones(1)) >= (part in _DATE)) & (parts.get(part, np.ones(1)) <= highest)
    if not known.any():
        return None
    year, month, day = (np.where(known, parts[part], 1) for part in _DATE)
    months = ((year - 1970) * 12 + month - 1).astype(np.int64).astype("datetime64[M]")
    seconds = months.astype("datetime64[s]").astype(np.int64) + (day - 1) * _DAY
    for part, length in zip(_CLOCK, (3600, 60, 1)):
        seconds = seconds + np.where(known, parts.get(part, np.zeros(1)), 0) * length
    return list(columns.values()), np.where(known, seconds, np.nan)


def count_days(clock: np.ndarray) -> tuple[np.ndarray, int]:
    """Return times of day (N,), in seconds, as seconds since the first midnight, and how often they pass midnight."""
    passes = np.diff(clock, prepend=clock[:1]) < -_DAY / 2
    return clock + _DAY * np.cumsum(passes), int(passes.sum())
