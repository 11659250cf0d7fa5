"""Find the columns of a recording that say when a step was, and which machine it is from; sort its rows, and find gaps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers import tables
from aekit.data.readers._calendar_columns import times_of_parts
from aekit.data.readers._cell_types import decide_types
from aekit.data.readers._time_order import Described, Part, Times, few_restarts, in_order
from aekit.data.readers._times import to_seconds
from aekit.errors import DataError, closest_name
from aekit.io.arrow import arrow_values, filled


def _set(words: str) -> set[str]:
    return set(words.split())


TIME_COLUMNS = ("time", "timestamp", "date", "datetime")
"""Names of columns of times, which are never channels unless chosen."""
_TIME = _set("t ts epoch elapsed sec secs seconds ms millis utc unixtime") | set(TIME_COLUMNS)
_COUNTERS = _set("index idx step steps cycle cycles frame tick seq sequence row counter no nr n sample unnamed")
_UNITS = _set("s h min minutes hours days ns us in of the start stamp local number id key code name num")
_MACHINES = _set(
    "machine unit engine device subject patient participant person user station vehicle asset well bearing battery meter "
    "household turbine pump motor robot animal node customer client host server plant site serial uuid"
)
"""Words in names of columns that tell recordings apart."""
_MAYBE = _set("id run trial session experiment episode recording track group cell batch series car file name sensor")
"""Words in names of columns that do so where their values come in blocks, or at the same times."""
_DAY, _LEAST_DISTINCT = 86400, 64
"""Seconds of a day, and the most steps for each distinct date in a column of dates of any name."""


class TimeAxis(NamedTuple):
    """The recordings of a table.

    Attributes:
        parts: the recordings.
        columns: columns of times and of machines, which are no channels.
        notes: lines about choices.
        losses: lines about rows that are sorted or left out, and gaps.
    """

    parts: list[Part]
    columns: list[str]
    notes: list[str]
    losses: list[str]


def find_time_axis(
    table: pa.Table, where: str, time: str = "auto", group: str = "auto", channels: Iterable[str] = ()
) -> TimeAxis:
    """Find the recordings of a table, in order of time.

    Args:
        table: a table with a row for each step.
        where: its path, for messages.
        time: column of the times; ``auto``: by type, name and values; ``none``: rows are in order.
        group: column that tells recordings apart; ``auto``: by names such as ``machine``, or where times start again;
            ``none``: there is one.
        channels: columns that are channels or labels, which are neither.

    Raises:
        DataError: a column is missing, or rows are out of order and times occur more than once.
    """
    for option, name in (("time", time), ("group", group)):
        if name not in ("auto", "none", *table.column_names):
            raise DataError(f"{where}: {option} = {name!r}: no such column{closest_name(name, table.column_names)}")
    tables.check_names(table.column_names, where)
    written, table = table, decide_types(table).table
    names = [name for name in table.column_names if name not in set(channels)]
    notes: list[str] = []
    losses: list[str] = []
    machines = (
        [group] if group not in ("auto", "none") else _by_name(table, names, _MACHINES) if group == "auto" else []
    )
    # As they are written: machines 007 and 7 differ.
    groups = _codes(written, machines[0]) if machines else np.zeros(len(table), np.int64)
    times, ignored = _find_times(table, where, names, time, groups, losses)
    if group == "auto" and not machines:
        machines = _found_by_times(table, names, times)
        groups = _codes(written, machines[0]) if machines else groups
        if machines and time == "auto":
            times, ignored = _find_times(table, where, names, time, groups, losses)
    kept = np.ones(len(table), bool) if times is None else ~np.isnan(times.values)
    if not kept.all() and times is not None:
        losses.append(f"{(~kept).sum()} of {len(kept)} rows have no {times.names[0]!r} and are left out")
    parts, described = [], Described()
    for rows in _rows_of_groups(groups, np.flatnonzero(kept)):
        name = str(written[machines[0]][int(rows[0])].as_py()) if machines else ""
        parts.append(in_order(where, name, rows, times, described))
    if times is not None:
        notes.append(f"steps are in order of {' and '.join(map(repr, times.names))}")
        losses += described.lines(times.names[0])
    if machines:
        notes.append(f"{len(parts)} recordings by {machines[0]!r}")
    return TimeAxis(parts, [*(times.names if times else []), *ignored, *machines], notes, losses)


def _rows_of_groups(groups: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each group, in the order in which groups begin."""
    order = rows[np.argsort(groups[rows], kind="stable")]
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return sorted((part for part in parts if len(part)), key=lambda part: int(part[0]))


def _words(name: str) -> list[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return re.findall(r"[a-z]+", spaced.lower())


def _named(name: str, known: set[str]) -> bool:
    """Return whether a name consists of one of the known words, with words such as ``id`` or a unit."""
    words = set(_words(name))
    return bool(words & known) and words <= known | _UNITS


def _by_name(table: pa.Table, names: Sequence[str], known: set[str]) -> list[str]:
    """Return the columns of these names whose values tell rows apart, but not each from the others."""
    columns = []
    for name in names:
        kind = table.schema.field(name).type
        if _named(name, known) and (pa.types.is_integer(kind) or tables.is_text(table[name])):
            distinct = pc.count_distinct(table[name]).as_py()
            if 1 < distinct <= len(table) // 2:
                columns.append(name)
    return columns


def _codes(table: pa.Table, name: str) -> np.ndarray:
    """Return a number (N,) for each distinct value of a column."""
    column = table[name]
    if isinstance(column.type, pa.ExtensionType):
        column = column.cast(column.type.storage_type)
    encoded = column.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return arrow_values(filled(encoded.indices, -1)).astype(np.int64)


def _found_by_times(table: pa.Table, names: Sequence[str], times: Times | None) -> list[str]:
    """Return the column that tells recordings apart, where times or blocks of rows say that there are several."""
    candidates = [name for name in names if times is None or name not in times.names]
    named = _by_name(table, candidates, _MAYBE)
    if times is None:
        return [name for name in named if _in_blocks(_codes(table, name))][:1]
    if _rises(times.values, np.zeros(len(table), np.int64), strictly=True):
        return [name for name in named if _in_blocks(_codes(table, name))][:1]
    discrete = [
        name
        for name in candidates
        if name not in named and (tables.is_text(table[name]) or pa.types.is_integer(table.schema.field(name).type))
    ]
    for name in [*named, *discrete]:
        if 1 < pc.count_distinct(table[name]).as_py() <= len(table) // 4 and _distinct_within(
            times.values, _codes(table, name)
        ):
            return [name]
    return []


def _in_blocks(codes: np.ndarray) -> bool:
    """Return whether the rows of each value are next to each other, in blocks of at least two on average."""
    blocks = 1 + int((np.diff(codes) != 0).sum())
    return blocks == len(set(codes.tolist())) and 2 * blocks <= len(codes)


def _distinct_within(values: np.ndarray, codes: np.ndarray) -> bool:
    order = np.lexsort((values, codes))
    return not ((np.diff(values[order]) == 0) & (np.diff(codes[order]) == 0)).any()


def _rises(values: np.ndarray, codes: np.ndarray, strictly: bool = False) -> bool:
    """Return whether values rise from row to row in each group."""
    order = np.argsort(codes, kind="stable")
    steps, same = np.diff(values[order]), np.diff(codes[order]) == 0
    return bool((steps[same] > 0).all() if strictly else (steps[same] >= 0).all())


def _find_times(
    table: pa.Table, where: str, names: Sequence[str], time: str, groups: np.ndarray, losses: list[str]
) -> tuple[Times | None, list[str]]:
    """Return the times, and other columns of times that are no channels."""
    if time == "none":
        return None, [name for name in names if name.strip().lower() in TIME_COLUMNS]
    if time != "auto":
        values = _to_numbers(table[time])
        if values is None:
            raise DataError(f"{where}: time = {time!r}: its values are not times, e.g. {str(table[time][0])!r}")
        return Times([time], values), []
    typed = [name for name in names if pa.types.is_temporal(table.schema.field(name).type)]
    exact = [name for name in names if name in typed or name.strip().lower() in TIME_COLUMNS]
    values_of = {name: _to_numbers(table[name]) for name in exact}
    clocks = {name: values for name, values in values_of.items() if values is not None and np.nanmax(values) < _DAY}
    if all(values is None or name in clocks for name, values in values_of.items()):
        values_of |= _dates_as_text(table, [name for name in names if name not in exact], clocks)
        exact = [name for name in names if name in values_of]
    unread = [name for name, values in values_of.items() if values is None]
    known = {name: values for name, values in values_of.items() if values is not None and len(set(values.tolist())) > 1}
    if len(known) == 2:  # a date and a time of day
        (first, days), (second, clock) = sorted(known.items(), key=lambda item: -np.nanmax(item[1]))
        if np.nanmax(clock) < _DAY and (np.nan_to_num(days) % _DAY == 0).all():
            return Times([first, second], days + clock), []
    if known:
        name = max(known, key=lambda one: len(set(known[one].tolist())))
        is_clock = not tables.is_numeric(table[name]) and name not in typed and float(np.nanmax(known[name])) < _DAY
        others = [other for other in [*exact, *_counters(table, names, exact, groups)] if other != name]
        return Times([name], known[name], is_clock), others
    if not exact and (dated := times_of_parts(table, names)):
        return Times(*dated), []
    if unread and not values_of.keys() - set(unread):
        losses.append(
            f"{unread[0]!r} holds no times that are understood, e.g. {str(table[unread[0]][0])!r}: rows are taken in their order"
        )
    ordered = _counters(table, names, exact, groups)
    if not ordered:
        return None, exact
    name = ordered[0]
    return Times([name], tables.to_floats(table[name]).astype(np.float64)), [*exact, *ordered[1:]]


def _dates_as_text(
    table: pa.Table, names: Sequence[str], clocks: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray | None]:
    """Return the columns of text of any name that say when a step was, as Zeit and measured_at do: seconds, or None if unclear.

    These hold dates that differ enough to be those of steps, unlike birthdays, or dates beside times of day.

    Args:
        table: the table.
        names: its columns whose names say nothing.
        clocks: the times of day in columns whose names say so.
    """
    written = [name for name in names if tables.is_text(table[name]) and tables.is_time(table[name])]
    values_of = {name: _to_numbers(table[name]) for name in written}
    known = {name: values for name, values in values_of.items() if values is not None}
    dates = {name: values for name, values in known.items() if np.nanmax(values) >= _DAY}
    clocks = {**clocks, **{name: values for name, values in known.items() if name not in dates}}
    days = {name: values for name, values in dates.items() if (np.nan_to_num(values) % _DAY == 0).all()}
    if len(days) == len(dates) == len(clocks) == 1:
        (day, start), (clock, passed) = *days.items(), *clocks.items()
        if _tell_steps(start + passed):
            return {day: start, clock: passed}
    unclear = dict.fromkeys(name for name in written if name not in known)
    return {**{name: values for name, values in dates.items() if _tell_steps(values)}, **unclear}


def _tell_steps(values: np.ndarray) -> bool:
    return _LEAST_DISTINCT * len(set(values.tolist())) >= len(values)


def _counters(table: pa.Table, names: Sequence[str], exact: Sequence[str], groups: np.ndarray) -> list[str]:
    """Return the columns that count or time the steps by their names and values, the likeliest first."""
    others, counters = [], []
    numeric = [name for name in names if tables.is_numeric(table[name])]
    for name in names:
        if name in exact or not tables.is_numeric(table[name]) or pa.types.is_boolean(table.schema.field(name).type):
            continue
        values = tables.to_floats(table[name]).astype(np.float64)
        if np.isnan(values).any() or len(set(values.tolist())) < 2:
            continue
        words = set(_words(name))
        ordered_or_restarts = _rises(values, groups) or few_restarts(values)
        shuffled = _distinct_within(values, groups) and (bool(words & set(TIME_COLUMNS)) or _is_range(values))
        if (_named(name, _TIME) or _named(name, _COUNTERS)) and (ordered_or_restarts or shuffled):
            others.append(name)
        elif (not words and _counts(values, groups)) or (
            # What rises evenly beside no other column is what was recorded.
            (words & set(TIME_COLUMNS) or (name == names[0] and len(numeric) > 1)) and _is_regular(values, groups)
        ):
            counters.append(name)
    return others + counters


def _counts(values: np.ndarray, groups: np.ndarray) -> bool:
    """Return whether values are whole numbers that rise by one in each row."""
    order = np.argsort(groups, kind="stable")
    steps, same = np.diff(values[order]), np.diff(groups[order]) == 0
    return len(values) > 2 and bool(same.any()) and bool((steps[same] == 1).all())


def _is_range(values: np.ndarray) -> bool:
    """Return whether values are the whole numbers of a range, in any order."""
    ordered = np.sort(values)
    return bool((np.diff(ordered) == 1).all())


def _is_regular(values: np.ndarray, groups: np.ndarray) -> bool:
    """Return whether values rise by the same amount in each row of a group."""
    order = np.argsort(groups, kind="stable")
    steps = np.diff(values[order])[np.diff(groups[order]) == 0]
    return len(steps) > 2 and bool((steps > 0).all()) and bool(np.ptp(steps) <= 0.01 * np.median(steps))


def _to_numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    """Return times as (N,) seconds or numbers, NaN where one is missing; None where they are not understood."""
    if tables.is_numeric(column):
        return tables.to_floats(column).astype(np.float64)
    try:
        return to_seconds(column, "")
    except DataError:
        return None
