"""Turn columns of dates and times, of any type or format, into numbers that rise with time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers import tables

_FORMATS = ("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%H:%M:%S", "%H:%M", "%Y%m%d")
_DAY_FIRST = tuple(
    f"%d{mark}%m{mark}%Y{clock}" for mark in "./-" for clock in (" %H:%M:%S", " %H:%M", "", " %I:%M:%S %p", " %I:%M %p")
)
_MONTH_FIRST = tuple(form.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m") for form in _DAY_FIRST)


def times_to_numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    """Return times as (N,) seconds or numbers, NaN where one is missing; None where they are not understood."""
    kind = column.type
    if tables.is_numeric(column):
        return tables.to_floats(column).astype(np.float64)
    if tables.is_text(column):
        column = column.cast(pa.string())
        parsed = _parse(column)
        if parsed is None:
            return None
        column, kind = parsed, parsed.type
    if pa.types.is_time(kind):
        return _seconds(column.cast(pa.time64("us")).cast(pa.int64()), 1e6)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _seconds(column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64()), 1e6)
    if pa.types.is_duration(kind):
        return _seconds(column.cast(pa.duration("us"), safe=False).cast(pa.int64()), 1e6)
    return None


def _seconds(column: pa.ChunkedArray, units: float) -> np.ndarray:
    values = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return values.astype(np.float64) / units


def _parse(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Parse texts as times; None where no format fits all, or where it is unclear which is the day."""
    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.equal(column, ""), None, column)
    try:
        return column.cast(pa.timestamp("us"))
    except pa.ArrowException:
        pass
    try:
        return column.cast(pa.timestamp("us", "UTC"))
    except pa.ArrowException:
        pass
    if (parsed := _parse_as(column, _FORMATS)) is not None:
        return parsed
    both = [parsed for formats in (_DAY_FIRST, _MONTH_FIRST) if (parsed := _parse_as(column, formats)) is not None]
    if len(both) == 2:
        rising = [one for one in both if (np.diff(one.drop_null().cast(pa.int64()).to_numpy()) >= 0).all()]
        return rising[0] if len(rising) == 1 else None
    return both[0] if both else None


def _parse_as(column: pa.ChunkedArray, formats: Sequence[str]) -> pa.ChunkedArray | None:
    for form in formats:
        try:
            return pc.strptime(column, format=form, unit="us")
        except pa.ArrowException:
            continue
    return None
