"""Point out numbers of a table that may be no measurements: codes of missing values, and a last row of sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aekit.data.spec import Column

_ISOLATED = 2.0
"""Ranges of the other numbers by which a code lies outside of them."""
_MIN_ROWS = 4
_TOLERANCE = 1e-9


def doubtful_numbers(columns: Sequence[Column], features: Sequence[np.ndarray]) -> list[str]:
    """Return lines about numbers that are used as they are, although they may not be meant so.

    Args:
        columns: of the table.
        features: (N,) numbers of each, or (N, K) entries of its categories.
    """
    numeric = [
        (column.name, values)
        for column, values in zip(columns, features)
        if column.categories is None and not column.time and len(values) >= _MIN_ROWS
    ]
    lines = [line for name, values in numeric if (line := _missing_code(name, values))]
    sums = [name for name, values in numeric if _ends_with_sum(values)]
    if numeric and len(sums) == len(numeric):
        lines.append(f"the last row is the sum of the others in {', '.join(map(repr, sums[:5]))}; is it a sample?")
    return lines


def _missing_code(name: str, values: np.ndarray) -> str:
    """Return a line if the lowest or the highest number is of nines, such as -999, repeated, and far from all others."""
    known = values[np.isfinite(values)]
    for code in (known.min(initial=np.inf), known.max(initial=-np.inf)):
        digits = f"{abs(code):g}"
        others = known[known != code]
        if len(digits) < 2 or set(digits) != {"9"} or len(known) - len(others) < 2 or not len(others):
            continue
        distance = others.min() - code if code < others.min() else code - others.max()
        if distance > _ISOLATED * (others.max() - others.min()):
            count = f"{len(known) - len(others):,} of {len(values):,} rows"
            return f"{name!r} is {code:g} in {count}, far from its other numbers; if that means missing, leave these cells empty"
    return ""


def _ends_with_sum(values: np.ndarray) -> bool:
    if not np.isfinite(values).all():
        return False
    total, last = values[:-1].sum(), values[-1]
    return bool(last != 0 and abs(total - last) <= _TOLERANCE * np.abs(values).sum())
