"""Choose which columns of a table are features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa

from aekit.data.readers import tables
from aekit.data.readers._cell_types import categories_of, entries_of_list_texts, holds_list_texts, words_among_numbers
from aekit.data.readers._column_roles import FEW
from aekit.data.readers._times import is_time, to_seconds
from aekit.data.spec import Column
from aekit.errors import DataError

Categories = Literal["few", "none"]

MANY = 1000
"""Maximum number of categories of a text column that is chosen by name."""
SHOWN = 30
"""Most names of columns in a line."""


@dataclass
class Said:
    """Lines about what reading a table has chosen and left out.

    Attributes:
        notes: about choices.
        losses: about columns and values that are left out or changed.
    """

    notes: list[str]
    losses: list[str]

    def add(self, other: Said) -> None:
        """Add the lines of another."""
        self.notes.extend(other.notes)
        self.losses.extend(other.losses)


@dataclass
class _Ignored:
    """Names of columns that are not features, by the reason.

    Attributes:
        times: dates and times, which are used as seconds where they are chosen.
        rounded: whole numbers that float64 would round.
        empty: no values.
        words: name -> some of the words among its numbers.
        texts: no numbers and too many categories.
    """

    times: list[str] = field(default_factory=list)
    rounded: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    words: dict[str, Sequence[str]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def lines(self, table: pa.Table) -> list[str]:
        """Return a line for each reason."""
        losses = [f"columns without numbers ignored: {quote_names(self.texts)}"] if self.texts else []
        losses += [f"columns with words among their numbers ignored: {_with_words(self.words)}"] if self.words else []
        if lists := [name for name in self.texts if holds_list_texts(table[name])]:
            advice = "save them as .npy, or a column each"
            losses.append(f"lists of numbers as text, which are not read: {quote_names(lists)}; {advice}")
        losses += [f"empty columns ignored: {quote_names(self.empty)}"] if self.empty else []
        if self.times:
            advice = "x = [...] uses them as seconds"
            losses.append(f"columns of dates and times ignored: {quote_names(self.times)}; {advice}")
        if self.rounded:
            what = "columns of whole numbers beyond 2^53, which float64 would round"
            losses.append(f"{what}, ignored: {quote_names(self.rounded)}")
        return losses


def choose_columns(
    table: pa.Table,
    chosen: list[str] | None,
    candidates: list[str],
    encoding: Categories,
    missing: str,
    where: str,
    too_large: set[str],
) -> tuple[tuple[Column, ...], Said]:
    """Return the columns of features, and lines on choices and on columns that are left out.

    Args:
        table: the rows for training.
        chosen: names that the user chose, each of which has to be a feature; or None.
        candidates: names to choose among otherwise.
        encoding: whether text columns of few categories are features.
        missing: ``median`` imputes missing numbers.
        where: path of the table, for messages.
        too_large: names of columns of integers that are too large for float64.

    Raises:
        DataError: a column of words is chosen, or there is nothing but words.
    """
    columns, ignored = list[Column](), _Ignored()
    is_free = chosen is None
    for name in candidates if chosen is None else chosen:
        column, is_of_time = table[name], is_time(table[name])
        is_number = not is_of_time and tables.is_numeric(column)
        if is_free and is_of_time:
            ignored.times.append(name)
        elif is_free and is_number and column.null_count == len(column):
            ignored.empty.append(name)
        elif is_free and is_number and name in too_large:
            ignored.rounded.append(name)
        elif is_of_time or is_number:
            impute_value = _median(column, is_of_time, f"{where}: column {name!r}") if missing == "median" else None
            columns.append(Column(name, impute_value=impute_value, time=is_of_time))
        elif categories := _categories(column, encoding, is_chosen=not is_free):
            columns.append(Column(name, categories))
        elif is_free and tables.is_empty(column):
            ignored.empty.append(name)
        elif words := words_among_numbers(column):
            ignored.words[name] = words
        else:
            ignored.texts.append(name)
    losses = ignored.lines(table)
    if chosen is None:
        _refuse_long_lists(table, ignored.texts, sum(column.size for column in columns), where)
    elif ignored.words:
        raise DataError(f"{where}: words among the numbers of {_with_words(ignored.words)}")
    if ignored.texts and (chosen is not None or not columns):
        advice = "aekit does not embed text" if chosen is None else "choose columns by x, and labels by y"
        raise DataError("; ".join([f"{where}: no numbers in {quote_names(ignored.texts)}", advice, *losses[1:]]))
    encoded = [column.name for column in columns if column.categories is not None]
    notes = [f"an entry of 0 or 1 for each category in {quote_names(encoded)}"] if encoded else []
    return tuple(columns), Said(notes, losses)


def _median(column: pa.ChunkedArray, is_of_time: bool, what: str) -> float | None:
    """Return the median of a column of times or numbers; None if all are missing."""
    if tables.is_empty(column):
        return None
    return float(np.nanmedian(to_seconds(column, what) if is_of_time else tables.to_floats(column)))


def _categories(column: pa.ChunkedArray, encoding: Categories, *, is_chosen: bool) -> tuple[str, ...]:
    """Return the categories of a column of texts if they are few, else ()."""
    values = categories_of(column) if encoding == "few" and tables.is_text(column) else []
    most = min(FEW, len(column) // 2)
    if is_chosen:
        # A column with a different value in nearly every row names the rows, and one with words among numbers measures.
        most = MANY if len(values) <= FEW or not words_among_numbers(column) else 0
    return tuple(values) if 2 <= len(values) <= most else ()


def _with_words(mixed: Mapping[str, Sequence[str]]) -> str:
    """Return names of columns with words that are among their numbers, and what to do."""
    listed = ", ".join(f"{name!r} ({', '.join(map(repr, words))})" for name, words in list(mixed.items())[:SHOWN])
    return f"{listed}; write numbers for the words, or leave their cells empty"


def _refuse_long_lists(table: pa.Table, names: Sequence[str], size: int, where: str) -> None:
    """Refuse a table whose samples are probably lists of numbers as text, as of pixels, beside `size` other entries."""
    for name in names:
        if (count := entries_of_list_texts(table[name])) > max(FEW, 2 * size):
            advice = "save them as .npy, or a column each, or choose other columns by x"
            raise DataError(f"{where}: {name!r} holds lists of {count:,} numbers as text, which are not read; {advice}")


def cells_without_category(columns: Sequence[Column], features: Sequence[np.ndarray]) -> Said:
    """Return lines on empty cells of categories, whose entries are all 0.

    Args:
        columns: the columns of features.
        features: (N,) numbers or (N, categories) of 0 and 1 for each.
    """
    gaps, merged = [], []
    for column, values in zip(columns, features):
        if column.categories is None:
            continue
        known = np.asarray(values.any(axis=1))
        if known.all():
            continue
        gaps.append(f"{column.name!r} ({len(known) - known.sum():,} of {len(known):,})")
        # A value in the first row of each group alone is what merged cells leave.
        if known[0] and 2 * known.sum() <= len(known) and known.sum() == values.shape[1]:
            merged.append(column.name)
    losses = [
        f"{quote_names(merged)} has each value once, with empty cells below, as merged cells leave them; "
        "if a value is for these rows too, repeat it in each"
    ]
    notes = [f"cells without a category: {', '.join(gaps[:SHOWN])}"]
    return Said(notes if gaps else [], losses if merged else [])


def row_names_left_out(row_names: dict[str, str]) -> list[str]:
    if not row_names:
        return []
    listed = ", ".join(f"{name!r} ({kind})" for name, kind in row_names.items())
    return [f"columns that number or name the rows ignored: {listed}; x = [...] uses them"]


def quote_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
