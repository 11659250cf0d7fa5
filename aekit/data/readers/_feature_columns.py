"""Choose which columns of a table are features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    Raises:
        DataError: a column of words is chosen, or there is nothing but words.
    """
    columns, encoded, empty, not_numeric, times, rounded = [], [], [], [], [], []
    for name in candidates if chosen is None else chosen:
        column = table[name]
        if is_time(column):
            if chosen is None:
                times.append(name)
                continue
            impute_value = None
            if missing == "median" and not tables.is_empty(column):
                impute_value = float(np.nanmedian(to_seconds(column, f"{where}: column {name!r}")))
            columns.append(Column(name, impute_value=impute_value, time=True))
            continue
        if tables.is_numeric(column):
            if chosen is None and column.null_count == len(column):
                empty.append(name)
                continue
            if name in too_large and chosen is None:
                rounded.append(name)
                continue
            impute_value = None
            if missing == "median" and column.null_count < len(column):
                impute_value = float(np.nanmedian(tables.to_floats(column)))
            columns.append(Column(name, impute_value=impute_value))
            continue
        values = categories_of(column) if encoding == "few" and tables.is_text(column) else []
        # A column with a different value in nearly every row names the rows, and one with words among numbers measures.
        many = MANY if len(values) <= FEW or not words_among_numbers(column) else 0
        if 2 <= len(values) <= (min(FEW, len(table) // 2) if chosen is None else many):
            columns.append(Column(name, tuple(values)))
            encoded.append(name)
        elif chosen is None and tables.is_empty(column):
            empty.append(name)
        else:
            not_numeric.append(name)
    mixed = {name: words for name in not_numeric if (words := words_among_numbers(table[name]))}
    not_numeric = [name for name in not_numeric if name not in mixed]
    losses = [f"columns without numbers ignored: {quote_names(not_numeric)}"] if not_numeric else []
    losses += [f"columns with words among their numbers ignored: {_with_words(mixed)}"] if mixed else []
    if lists := [name for name in not_numeric if holds_list_texts(table[name])]:
        advice = "save them as .npy, or a column each"
        losses.append(f"lists of numbers as text, which are not read: {quote_names(lists)}; {advice}")
    losses += [f"empty columns ignored: {quote_names(empty)}"] if empty else []
    if times:
        losses.append(f"columns of dates and times ignored: {quote_names(times)}; x = [...] uses them as seconds")
    if rounded:
        losses.append(
            f"columns of whole numbers beyond 2^53, which float64 would round, ignored: {quote_names(rounded)}"
        )
    if chosen is None:
        _refuse_long_lists(table, not_numeric, sum(column.size for column in columns), where)
    if chosen is not None and mixed:
        raise DataError(f"{where}: words among the numbers of {_with_words(mixed)}")
    if not_numeric and (chosen is not None or not columns):
        advice = "aekit does not embed text" if chosen is None else "choose columns by x, and labels by y"
        raise DataError("; ".join([f"{where}: no numbers in {quote_names(not_numeric)}", advice, *losses[1:]]))
    return tuple(columns), Said(
        [f"an entry of 0 or 1 for each category in {quote_names(encoded)}"] if encoded else [], losses
    )


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
