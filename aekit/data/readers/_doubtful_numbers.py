"""Point out numbers that may be no measurements: codes of missing values, numbers or times of rows, and a last row of sums."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from aekit.data.readers._totals import last_row_of_numbers
from aekit.data.spec import Column

_ISOLATED = 2.0
"""Ranges of the other numbers by which a code lies outside of them."""
_MIN_ROWS, _MIN_RISING = 4, 20
_CODES = {999.25, *(float(2**bits - less) for bits in (15, 16, 31, 32, 63, 64) for less in (0, 1))}
"""Codes besides those of nines: of well logs, and the bounds of types of integers."""
_SURE_CODES = (-99.0, -999.0, -9999.0, -99999.0)
"""Codes that are one even where they occur once."""
_HUGE = 9e33
"""Magnitude of the codes that netCDF and others take from the end of float32."""
_POWER = re.compile(r"1e\+(?:1[5-9]|[23]\d)")


def doubtful_numbers(
    columns: Sequence[Column], features: Sequence[np.ndarray], rows_are_samples: bool = True
) -> list[str]:
    """Return lines about numbers that are used as they are, although they may not be meant so.

    Args:
        columns: of the table.
        features: (N,) numbers of each, or (N, K) entries of its categories.
        rows_are_samples: whether their order is arbitrary, unlike that of the steps of a recording.
    """
    numeric = [
        (column.name, values)
        for column, values in zip(columns, features)
        if column.categories is None and not column.time and len(values) >= _MIN_ROWS
    ]
    empty = "leave these cells empty"
    lines = [line for name, values in numeric if (line := _missing_code(repr(name), values, empty))]
    lines += [line for name, values in numeric if rows_are_samples and (line := _rising(name, values))]
    return [*lines, *last_row_of_numbers(numeric)]


def constant_columns(columns: Sequence[Column], features: Sequence[np.ndarray]) -> list[str]:
    """Return a line about columns of numbers that are the same in all rows."""
    names = [
        repr(column.name)
        for column, values in zip(columns, features)
        if column.categories is None and len(values) > 1 and (values == values[0]).all()
    ]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} others" if len(names) > 3 else "")
    return [f"the same in all rows, so that it tells nothing: {listed}"] if names else []


def doubtful_entries(source: object) -> list[str]:
    """Return lines about numbers that may stand for missing ones in a source of vectors (N, D), of which some are looked at."""
    array: np.ndarray = getattr(source, "array", np.zeros(0))
    if array.ndim != 2 or array.dtype.kind not in "fi" or not array.size or array.shape[1] > _WIDEST:
        return []
    some = np.asarray(array[:: max(1, array.size // _LOOKED_AT)])
    lines = [
        _missing_code(f"entry {entry}", some[:, entry].astype(np.float64), "put NaN there")
        for entry in range(array.shape[1])
    ]
    return [line for line in lines if line][:5]


_LOOKED_AT, _WIDEST = 1 << 22, 1000


def _rising(name: str, values: np.ndarray) -> str:
    if len(values) < _MIN_RISING or not (values[1:] > values[:-1]).all():
        return ""
    ends = f"from {values[0]:.10g} to {values[-1]:.10g}"
    return f"{name!r} rises from row to row, {ends}; if it numbers or times the rows, leave it out by x = [...]"


def _is_code(value: float) -> bool:
    """Return whether a number is one that programs write for a missing value, such as -999, 1e20 or -32768."""
    digits = f"{abs(value):.7g}"
    is_nines = len(digits.replace(".", "")) > 1 and set(digits) <= {"9", "."} and digits[:2] != "9."
    return is_nines or abs(value) in _CODES or abs(value) >= _HUGE or bool(_POWER.fullmatch(digits))


def _missing_code(name: str, values: np.ndarray, advice: str) -> str:
    """Return a line if the lowest or the highest number is a code such as -999, repeated, and far from all others."""
    known = values[np.isfinite(values)]
    for code in (known.min(initial=np.inf), known.max(initial=-np.inf)):
        others = known[known != code]
        least = 1 if code in _SURE_CODES else 2
        if len(known) - len(others) < least or not len(others) or not _is_code(float(code)):
            continue
        distance = others.min() - code if code < others.min() else code - others.max()
        if distance > _ISOLATED * (others.max() - others.min()):
            count = f"{len(known) - len(others):,} of {len(values):,} rows"
            return f"{name} is {code:.7g} in {count}, far from its other numbers; if that means missing, {advice}"
    return ""
