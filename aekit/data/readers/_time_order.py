"""Sort the rows of a recording by their times, and find the gaps between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aekit.data.readers._calendar_columns import count_days
from aekit.errors import DataError

_REGULAR, _GAP, _GAP_IRREGULAR = 0.9, 1.5, 10.0
"""Fraction of steps of the usual length that makes a recording regular, and the multiple of it that is a gap."""


class Part(NamedTuple):
    """A recording in a table.

    Attributes:
        name: value of the column that tells recordings apart, or "".
        rows: (T,) positions in the table, in order of time.
        breaks: positions in `rows` after a gap.
    """

    name: str
    rows: np.ndarray
    breaks: tuple[int, ...]


class Times(NamedTuple):
    """When the steps were.

    Attributes:
        names: the columns that say so.
        values: (N,) seconds or numbers, NaN where one is missing.
        is_clock: whether they are times of day, without dates.
    """

    names: list[str]
    values: np.ndarray
    is_clock: bool = False


class Described:
    """Counts what was found in the order of rows, over all recordings of a table."""

    def __init__(self) -> None:
        self.sorted = self.gaps = self.restarts = self.midnights = 0
        self.longest = 0.0

    def lines(self, name: str) -> list[str]:
        """Return lines about what was found, by the name of the column of times."""
        lines = [f"{self.sorted} rows are out of order and sorted by {name!r}"] if self.sorted else []
        if self.midnights:
            lines.append(f"{name!r} passes midnight {_times(self.midnights)}: the rows behind are of the next day")
        if self.gaps:
            gaps = "1 gap" if self.gaps == 1 else f"{self.gaps} gaps"
            lines.append(f"{gaps} in {name!r}, of up to {self.longest:.6g} usual steps: no window crosses one")
        if self.restarts:
            lines.append(
                f"{name!r} starts again {_times(self.restarts)}: no window crosses that; group names the column of recordings"
            )
        return lines


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def few_restarts(values: np.ndarray) -> bool:
    """Return whether values rise, and start again from near their start at few rows."""
    falls = np.flatnonzero(np.diff(values) < 0)
    low = values.min() + 0.1 * (values.max() - values.min())
    return len(falls) * 4 <= len(values) and bool((values[falls + 1] <= low).all())


def _apart(values: np.ndarray) -> bool:
    """Return whether the stretches in which values rise do not overlap, as those of files in a wrong order."""
    falls = np.flatnonzero(np.diff(values) < 0)
    firsts, lasts = values[np.append(0, falls + 1)], values[np.append(falls, len(values) - 1)]
    order = np.argsort(firsts, kind="stable")
    return bool((lasts[order][:-1] < firsts[order][1:]).all())


def in_order(where: str, name: str, rows: np.ndarray, times: Times | None, described: Described) -> Part:
    """Sort the rows of a recording by time, and find its gaps."""
    if times is None:
        return Part(name, rows, ())
    values = times.values[rows]
    if times.is_clock:
        values, passes = count_days(values)
        described.midnights += passes
    if (np.diff(values) < 0).any():
        repeated = len(set(values.tolist())) < len(values)
        restarts = few_restarts(values)
        if _apart(values) or not (repeated or restarts):
            order = np.argsort(values, kind="stable")
            described.sorted += int((order != np.arange(len(order))).sum())
            rows, values = rows[order], values[order]
        elif not restarts:
            raise DataError(
                f"{where}: rows are not in order of {times.names[0]!r}, which has repeated values; group names a column that "
                "tells recordings apart, and time = 'none' keeps the order"
            )
    steps = np.diff(values)
    positive = steps[steps > 0]
    if not len(positive):
        return Part(name, rows, ())
    usual = float(np.median(positive))
    regular = (abs(positive - usual) <= 0.01 * usual).mean() >= _REGULAR
    gaps = steps > usual * (_GAP if regular else _GAP_IRREGULAR)
    if gaps.any():
        described.longest = max(described.longest, float(steps[gaps].max() / usual))
    described.gaps += int(gaps.sum())
    described.restarts += int((steps < 0).sum())
    return Part(name, rows, tuple((np.flatnonzero(gaps | (steps < 0)) + 1).tolist()))
