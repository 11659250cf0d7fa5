"""Choose which further columns of the data, such as a price, embeddings keep, and with which types."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers._cell_types import NO_LABEL, PLACEHOLDERS, CellText, as_written, to_typed
from aekit.data.readers._record_types import is_text as is_text_type
from aekit.data.readers._times import to_calendar
from aekit.data.readers.tables import to_table
from aekit.errors import LONGEST, DataError, closest_name, printable
from aekit.io.arrow import arrow_texts
from aekit.progress import SILENT, Progress

MetadataChoice = Literal["auto", "none"] | Sequence[str] | None
"""Names of columns; ``auto``: all small ones that are not entries of the samples; ``none``: no columns."""

RESERVED = ("id", "vector", "hash", "label", "split", "query", "rank", "row", "score")
"""Names that embeddings, and the records of neighbors, use themselves."""
MOST_COLUMNS, LONGEST_TEXT = 64, 256
"""Most columns that are kept unasked, and most bytes of their texts on average."""
MANY_NAMED = 8
"""Most columns that a line names."""


class Metadata:
    """Columns of N samples, each read when it is asked for.

    Args:
        columns: name -> function that returns the column, of N values.
        unasked: those that are kept without being named; None: all. Entries of vectors are not among them.
    """

    def __init__(
        self, columns: Mapping[str, Callable[[], pa.ChunkedArray]], unasked: Collection[str] | None = None
    ) -> None:
        self._columns, self._unasked = columns, columns.keys() if unasked is None else unasked

    @classmethod
    def of(cls, table: pa.Table, unasked: Collection[str] | None = None) -> Metadata:
        """Make metadata of a table in memory."""
        return cls({name: _column_of(table, name) for name in table.column_names}, unasked)

    @property
    def names(self) -> list[str]:
        """Names of all columns that can be kept."""
        return list(self._columns)

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column as it is, of any type."""
        return self._columns[name]()

    def repeated(self, rows: Sequence[int]) -> Metadata:
        """Return the metadata of samples that are parts of others: of the (M,) rows that these have here."""
        indices = pa.array(rows, pa.int64())
        return Metadata({name: _taken(read, indices) for name, read in self._columns.items()}, self._unasked)

    def choose(self, wanted: Literal["auto"] | Sequence[str], progress: Progress = SILENT) -> pa.Table | None:
        """Read the columns to keep: N rows of numbers, text, true and false, dates or times; or None if there are none.

        Args:
            wanted: their names; ``auto``: those of numbers, text, true and false, dates and times, if they are small.
            progress: receives lines on what is kept, left out and changed.

        Raises:
            DataError: there is no such column, or it cannot be kept.
        """
        kept, left_out, notes = dict[str, pa.ChunkedArray](), list[str](), list[str]()
        if wanted == "auto":
            names = [name for name in self._columns if name in self._unasked]
            if len(names) > MOST_COLUMNS:
                left_out = [f"{_listed(names[MOST_COLUMNS:])} (beyond the first {MOST_COLUMNS})"]
                names = names[:MOST_COLUMNS]
        else:
            names = list(dict.fromkeys(wanted))
        for name in names:
            problem = self._problem(name)
            if not problem:
                plain = self._read(name)
                problem = plain.problem
                if wanted == "auto" and not problem and _is_long(plain.column):
                    problem = "long text"
            if problem and wanted != "auto":
                raise DataError(f"metadata {name!r}: {problem}")
            if problem:
                left_out.append(f"{name} ({problem})")
            else:
                kept[name] = plain.column
                notes += [f"metadata {name}: {plain.change}"] if plain.change else []
        if kept:
            notes.insert(0, f"metadata kept: {_listed([f'{n} ({_kind(c.type)})' for n, c in kept.items()])}")
        if left_out:
            notes.append(f"metadata left out: {_listed(left_out)}; metadata (--metadata) chooses columns")
        for line in notes:
            progress.say(printable(line, LONGEST))
        return pa.table(kept) if kept else None

    def _read(self, name: str) -> Plain:
        try:
            return to_plain(self.column(name))
        except DataError as error:  # damaged, or too large for the memory
            return Plain(pa.chunked_array([], pa.null()), str(error))

    def _problem(self, name: str) -> str:
        if name not in self._columns:
            known = f"; there are {_listed(self.names)}" if self.names else "; there are none"
            return f"no such column{closest_name(name, self.names) or known}"
        if name in RESERVED or name.isdigit():
            return "embeddings use this name themselves; rename the column"
        return ""


def checked_metadata(table: Any, count: int) -> pa.Table | None:
    """Return all columns of a table of `count` rows with plain types; None of None.

    Raises:
        DataError: it has other rows, or a column cannot be kept.
    """
    if table is None:
        return None
    columns = to_table(table)
    if len(columns) != count:
        raise DataError(f"metadata of {len(columns)} rows for {count} samples: expected one row each")
    return Metadata.of(columns).choose(columns.column_names)


class Plain(NamedTuple):
    """A column of a plain type.

    Attributes:
        column: text, numbers, true and false, dates, or times without a zone; missing values are null.
        problem: why it has no plain type, or "".
        change: what was changed, or "".
    """

    column: pa.ChunkedArray
    problem: str = ""
    change: str = ""


def to_plain(column: pa.ChunkedArray) -> Plain:
    """Convert a column to a plain type: text of files by what all its cells hold, moments to UTC, decimals to float64.

    Codes with a leading zero, such as ``00117``, stay text. Empty cells of files are missing, as are ``NA``, ``NaN`` and ``?``.
    """
    typed, written, types = to_typed(column), as_written(column), pa.types
    values, change = typed.column, ""
    if isinstance(column.type, CellText):
        if types.is_integer(values.type) and pc.any(pc.match_substring_regex(written, r"^[+-]?0\d")).as_py():
            values = written
        elif words := [word for word in typed.strays if word not in PLACEHOLDERS]:
            change = f"{words[0]!r}{' and other words' if len(words) > 1 else ''} among its numbers are missing values"
        if types.is_string(values.type):
            values = pc.if_else(pc.is_in(values, arrow_texts(["", *NO_LABEL])), None, values)
    kind = values.type
    if values.null_count == len(values):
        return Plain(values, "all values are missing")
    if is_text_type(kind):
        try:
            calendar = to_calendar(values)
        except DataError as error:
            reason = str(error).removeprefix("dates: ")
            return Plain(values.cast(pa.string()), change=f"kept as text, as {reason}")
        return Plain(values.cast(pa.string()) if calendar is None else calendar)
    if types.is_float16(kind):
        values = values.cast(pa.float32())
    if types.is_floating(kind):
        return Plain(pc.if_else(pc.is_nan(values), None, values), change=change)
    if types.is_boolean(kind) or types.is_date32(kind):
        return Plain(values)
    if types.is_integer(kind):
        try:
            return Plain(values.cast(pa.int64()), change=change)
        except pa.ArrowInvalid:
            return Plain(values, "whole numbers beyond 2^63")
    if types.is_decimal(kind):
        return Plain(values.cast(pa.float64(), safe=False))
    if types.is_time(kind):
        return Plain(values.cast(pa.time64("us"), safe=False))
    if types.is_date64(kind):
        return Plain(values.cast(pa.date32()))
    if types.is_timestamp(kind):
        change = f"in UTC, from {kind.tz}" if kind.tz not in (None, "UTC") else ""
        return Plain(values.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.timestamp("us")), change=change)
    if types.is_duration(kind):
        seconds = pc.divide(values.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64()), 1e6)
        return Plain(seconds, change="in seconds")
    return Plain(values, f"holds {kind}" if len(str(kind)) < 40 else "holds lists or records")


def _column_of(table: pa.Table, name: str) -> Callable[[], pa.ChunkedArray]:
    return lambda: table[name]


def _taken(read: Callable[[], pa.ChunkedArray], rows: pa.Array) -> Callable[[], pa.ChunkedArray]:
    return lambda: read().take(rows)


def _is_long(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_string(column.type):
        return False
    return (pc.mean(pc.binary_length(column)).as_py() or 0) > LONGEST_TEXT


def _kind(kind: pa.DataType) -> str:
    names = (
        (pa.types.is_string(kind), "text"),
        (pa.types.is_boolean(kind), "true or false"),
        (pa.types.is_date(kind), "date"),
        (pa.types.is_temporal(kind), "time"),
    )
    return next((name for applies, name in names if applies), "number")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MANY_NAMED} more" if len(names) > MANY_NAMED else ""
    return f"{', '.join(names[:MANY_NAMED])}{more}"
