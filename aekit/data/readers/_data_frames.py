"""Prepare data frames of pandas for Arrow, which lacks some of their types."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from aekit.data.readers._cell_types import as_cells


def with_arrow_types(frame: Any) -> Any:
    """Return a DataFrame without the types that Arrow lacks.

    Names of columns are text, and those of rows where they are of several types; sparse columns hold all their values, periods
    the time of their start, intervals their text, and numbers of another order of bytes, as FITS has them, are turned.
    """
    if type(frame.index).__name__ in ("PeriodIndex", "IntervalIndex"):
        frame = frame.set_axis(frame.index.astype(str))
    elif frame.index.nlevels == 1 and frame.index.inferred_type.startswith(
        "mixed"
    ):  # as frame.loc["Total"] = ... makes it
        frame = frame.set_axis(frame.index.map(_text))
    if frame.columns.nlevels == 1 and not all(isinstance(name, str) for name in frame.columns):
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)  # Arrow warns of names of several types
    kinds = list(zip(frame.columns, frame.dtypes))
    sparse = {name: kind.subtype for name, kind in kinds if type(kind).__name__ == "SparseDtype"}
    turned = {}
    if frame.columns.is_unique:
        turned = {
            name: kind.newbyteorder("=") for name, kind in kinds if hasattr(kind, "newbyteorder") and not kind.isnative
        }
    frame = frame.astype({**sparse, **turned}) if sparse or turned else frame
    periods = {name: frame[name].dt.to_timestamp() for name, kind in kinds if type(kind).__name__ == "PeriodDtype"}
    intervals = {name: frame[name].map(_text).astype(object) for name, kind in kinds if _holds_intervals(kind)}
    if periods or intervals:
        frame = frame.copy(deep=False)
        for name, values in {**periods, **intervals}.items():
            frame[name] = values
    return frame


def _holds_intervals(kind: Any) -> bool:
    """Return whether values are intervals, or categories that are, as `pandas.cut` makes them."""
    return "IntervalDtype" in (
        type(kind).__name__,
        type(getattr(getattr(kind, "categories", None), "dtype", None)).__name__,
    )


def _text(value: Any) -> str | None:
    return None if _is_missing(value) else str(value)


def objects_as_text(data: Any) -> pa.Table | None:
    """Return a DataFrame whose columns of objects are text; None if it is no DataFrame of pandas."""
    if not hasattr(data, "dtypes") or not hasattr(data, "assign"):
        return None
    mixed = [name for name, dtype in zip(data.columns, data.dtypes) if str(dtype) == "object"]
    texts = {str(name): as_cells(pa.chunked_array([list(map(_text, data[name]))], pa.string())) for name in mixed}
    try:
        table = pa.table(data.drop(columns=mixed))
    except (pa.ArrowException, ValueError):
        return None
    for place, name in enumerate(map(str, data.columns)):
        if name in texts:
            table = table.add_column(place, name, texts[name])
    return table


def _is_missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType")
    )
