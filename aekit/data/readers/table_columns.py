"""Turn rows of a table into vectors: choose columns of features, labels, ids and splits, encode categories, and impute missing
values.

A trained encoder knows its columns by name, so that another table may have more columns, in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.metadata import Metadata
from aekit.data.readers import tables
from aekit.data.readers._cell_types import EXACT, categories_of, decide_types, holds_list_texts, to_texts
from aekit.data.readers._code_columns import find_codes, with_texts
from aekit.data.readers._column_roles import (
    FEW,
    find_row_names,
    find_splits,
    find_unnamed_label,
    further_columns,
    ids_of_index,
    split_column,
)
from aekit.data.readers._doubtful_numbers import constant_columns, doubtful_numbers
from aekit.data.readers._known_columns import find_known_columns, unknown_categories
from aekit.data.readers._missing_values import impute_missing, loses_most
from aekit.data.readers._number_spelling import mark_number_texts
from aekit.data.readers._times import is_time, to_seconds
from aekit.data.spec import Column, SampleSpec
from aekit.errors import DataError, closest_name

Categories = Literal["few", "none"]
Missing = Literal["auto", "skip", "median"]

MANY = 1000
"""Maximum number of categories of a text column that is chosen by name."""
SHOWN = 30
"""Most names of columns in a line."""
LARGEST = float(np.finfo(np.float32).max)


class Tabular(NamedTuple):
    """The samples of a file.

    Attributes:
        array: (N, ...); of a table (N, D) floats, NaN where a number is missing and not imputed.
        columns: columns of the D entries, in their order.
        labels: (N,) or None.
        ids: (N,) or None.
        splits: (N,) of ``"train"``, ``"validation"``, ``"test"``, or None.
        note: one line about choices.
        losses: lines about columns and values that were left out or changed.
        metadata: further columns of a table, as in `Source`; or None.
    """

    array: np.ndarray
    columns: tuple[Column, ...] = ()
    labels: np.ndarray | None = None
    ids: list[str] | None = None
    splits: np.ndarray | None = None
    note: str = ""
    losses: tuple[str, ...] = ()
    metadata: Metadata | None = None


def read_columns(
    table: pa.Table,
    where: str,
    *,
    x: str | Sequence[str] = "auto",
    y: str = "auto",
    categories: Categories = "few",
    missing: Missing | Literal["keep"] = "auto",
    like: SampleSpec | None = None,
    default_labels: Sequence[str] = tables.LABEL_COLUMNS,
    exclude: Sequence[str] = (),
    rows_are_samples: bool = True,
) -> Tabular:
    """Read the vectors, labels, ids and splits of a table.

    Args:
        table: a table of N rows.
        where: its path, for messages.
        x: names of the features; ``auto``: all columns of numbers and of few categories, except the label, ``id``, ``split``,
            and columns that only number or name the rows. Dates and times become seconds where they are named.
        y: name of the labels; ``auto``: one of `default_labels`; ``none``: no labels.
        categories: ``few``: a text column of 2 to 20 categories becomes an entry of 0 or 1 for each; ``none``: it is ignored.
        missing: ``skip``: a row with a missing number cannot be used; ``median``: the column's median replaces it; ``auto``:
            ``skip``, but ``median`` where it would leave out more than half of 20 or more rows; ``keep``: it stays NaN.
        like: spec of an encoder; if it knows its columns, they are found by name, and `categories` and `missing` are those of
            its training.
        default_labels: names (lower case) of labels; ``y`` is not one of them in a table with ``x`` and ``z``.
        exclude: names (lower case) of columns that are not features unless chosen.
        rows_are_samples: whether 0, 1, 2, ... are row numbers; among the steps of a recording, they may be measured.

    Raises:
        DataError: a chosen column is missing or cannot be used, or there are no features.
    """
    names = table.column_names
    tables.check_names(names, where)
    chosen = [x] if isinstance(x, str) and x != "auto" else list(x) if x != "auto" else None
    for name in [*(chosen or []), *([y] if y not in ("auto", "none") else [])]:
        if name not in names:
            raise DataError(f"{where}: no column {name!r}{closest_name(name, names)}")
    notes, losses = tables.remarks(table), list[str]()
    marked, number_texts, spelling = mark_number_texts(table)
    written, (table, strays, rounded) = table, decide_types(marked)
    others = [name for name in names if name not in (chosen or [])]
    known = {column.name for column in like.columns} if like is not None else set[str]()
    split = split_column(written, [name for name in others if name not in known and name != y])
    notes += [f"column {split!r} holds the splits"] if split and split.strip().lower() != "split" else []
    splits, split, loss = find_splits(written, split, where, chosen is not None)
    losses += loss
    ids = tables.find_column(others, ["id"])
    index, index_ids, loss = ids_of_index(written, {*(chosen or []), y}) if ids is None else ([], None, [])
    losses += loss
    notes += ["the index of the table names the samples"] if index_ids else []
    if {"x", "z"} <= {name.strip().lower() for name in names}:
        default_labels = [name for name in default_labels if name != "y"]
    label = y if y not in ("auto", "none") else tables.find_column(others, default_labels) if y == "auto" else None
    notes += [f"column {label!r} is the label"] if label else []
    if y == "auto" and label is None and chosen is None:
        label, note = find_unnamed_label(table, [n for n in names if n not in (ids, split)], splits, like)
        notes += note
    # A second column of labels among the features would leak the labels of the evaluation.
    excluded = {label, ids, split} | ({n for n in names if n.strip().lower() in default_labels} if label else set())
    excluded |= {n for n in names if n.lower() in exclude}
    candidates = [n for n in names if n not in excluded]
    if like is not None and like.columns:
        columns = find_known_columns(like.columns, chosen, candidates, table, where)
        losses += unknown_categories(written, columns)
    else:
        ignored = sorted(n for n in excluded - {label, ids, split} if n)
        notes += [f"columns ignored: {', '.join(ignored)}"] if ignored else []
        trained = None if splits is None or not (splits == "train").any() else pa.array(splits == "train")
        training = table if trained is None else table.filter(trained)
        # An encoder of an array that takes as many columns was trained on all of them.
        if chosen is None and (like is None or len(candidates) != like.size):
            row_names = find_row_names(table, candidates) | find_row_names(training, candidates)
            if not rows_are_samples:
                row_names = {name: kind for name, kind in row_names.items() if kind != "row numbers"}
            candidates = [name for name in candidates if name not in row_names]
            losses += _row_names_left_out({name: kind for name, kind in row_names.items() if name not in index})
        if like is None:
            codes = find_codes(marked, table, chosen or candidates, rows_are_samples)
            losses += codes.lines(chosen)
            if chosen is None:
                table = with_texts(marked, table, codes.texts)
                training = table if trained is None else table.filter(trained)
                candidates = [name for name in candidates if name not in codes.dates]
        # An encoder that knows no columns was not trained on categories.
        encoding = "none" if like is not None else categories
        if missing == "auto":
            missing = "median" if loses_most(training, chosen or candidates) else "skip"
            if missing == "median":
                losses.append(
                    "more than half of the rows have missing values, and are used; missing = 'skip' leaves them out"
                )
        columns, column_notes, column_losses = _choose_columns(
            training, chosen, candidates, encoding, missing, where, rounded
        )
        notes, losses = notes + column_notes, losses + column_losses
        if not columns and y == "auto" and label and label.strip().lower() == "y" and tables.is_numeric(table[label]):
            alone = read_columns(written, where, y="none", categories=categories, missing=missing, like=like)
            return alone._replace(
                losses=(*alone.losses, f"column {label!r} alone holds numbers: it is the sample, not the label")
            )
        if not columns:
            raise DataError(
                f"{where}: no columns of numbers; choose columns by x, and labels by y; {'; '.join(losses)}".rstrip(
                    "; "
                )
            )
    as_numbers = [column.name for column in columns if column.categories is None and column.name in number_texts]
    losses += [f"numbers written as text are read as numbers in {_quote(as_numbers)}"] if as_numbers else []
    notes += spelling if as_numbers else []
    features = []
    for column in columns:
        if column.categories is None and not column.time and column.name in rounded:
            raise _too_large(where, column.name)
        source = table if column.categories is None else written
        features.append(_entries(source[column.name], column, where))
        if column.categories is None:
            losses += _stray_words(column.name, strays.get(column.name, {}))
    losses += _check_range(columns, features, where, refuse=like is None)
    if like is None:
        losses += doubtful_numbers(columns, features, rows_are_samples)
        notes += constant_columns(columns, features)
    losses += impute_missing(columns, features) if missing != "keep" else []
    labels = tables.to_labels(written[label]) if label else None
    id_list, id_lines = tables.to_ids(written[ids], ids) if ids else (index_ids, [])
    losses += id_lines
    further = further_columns(written, table, {column.name for column in columns}, (label, ids, split))
    all_notes = "; ".join(notes)
    return Tabular(np.column_stack(features), columns, labels, id_list, splits, all_notes, tuple(losses), further)


def _row_names_left_out(row_names: dict[str, str]) -> list[str]:
    if not row_names:
        return []
    listed = ", ".join(f"{name!r} ({kind})" for name, kind in row_names.items())
    return [f"columns that number or name the rows ignored: {listed}; x = [...] uses them"]


def _choose_columns(
    table: pa.Table,
    chosen: list[str] | None,
    candidates: list[str],
    encoding: Categories,
    missing: str,
    where: str,
    too_large: set[str],
) -> tuple[tuple[Column, ...], list[str], list[str]]:
    """Return the columns of features, notes on choices, and lines on columns that are left out."""
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
        # A column with a different value in nearly every row names the rows.
        if 2 <= len(values) <= (min(FEW, len(table) // 2) if chosen is None else MANY):
            columns.append(Column(name, tuple(values)))
            encoded.append(name)
        elif chosen is None and tables.is_empty(column):
            empty.append(name)
        else:
            not_numeric.append(name)
    losses = [f"columns without numbers ignored: {_quote(not_numeric)}"] if not_numeric else []
    if lists := [name for name in not_numeric if holds_list_texts(table[name])]:
        losses.append(
            f"lists of numbers as text, which are not read: {_quote(lists)}; save them as .npy, or a column each"
        )
    losses += [f"empty columns ignored: {_quote(empty)}"] if empty else []
    losses += [f"columns of dates and times ignored: {_quote(times)}; x = [...] uses them as seconds"] if times else []
    if rounded:
        losses.append(f"columns of whole numbers beyond 2^53, which float64 would round, ignored: {_quote(rounded)}")
    if not_numeric and (chosen is not None or not columns):
        also = "".join(f"; {loss}" for loss in losses[1:])
        raise DataError(f"{where}: no numbers in {_quote(not_numeric)}; choose columns by x, and labels by y{also}")
    notes = [f"an entry of 0 or 1 for each category in {_quote(encoded)}"] if encoded else []
    return tuple(columns), notes, losses


def _too_large(where: str, name: str) -> DataError:
    advice = "subtract the smallest, or divide them"
    return DataError(
        f"{where}: column {name!r} holds whole numbers beyond 2^53 ({EXACT}), which float64 would round; {advice}"
    )


def _entries(column: pa.ChunkedArray, described: Column, where: str) -> np.ndarray:
    """Return the entries of a column: (N,) numbers, NaN where one is missing, or (N, categories) of 0 and 1."""
    if described.categories is not None:
        positions = pc.index_in(to_texts(column), value_set=pa.array(described.categories, pa.string()))
        return (positions.fill_null(-1).to_numpy()[:, None] == np.arange(described.size)).astype(np.float64)
    if described.time:
        return to_seconds(column, f"{where}: column {described.name!r}")
    if not tables.is_numeric(column):
        raise DataError(f"{where}: column {described.name!r} does not hold numbers; expected numbers")
    return tables.to_floats(column)


def _stray_words(name: str, strays: dict[str, int]) -> list[str]:
    if not strays:
        return []
    shown = [f"{word!r} (row {row})" for word, row in list(strays.items())[:3]]
    more = f" and {len(strays) - 3} other words" if len(strays) > 3 else ""
    verb = "is a missing value" if len(strays) == 1 else "are missing values"
    return [f"{', '.join(shown)}{more} among the numbers of {name!r} {verb}"]


def _check_range(columns: tuple[Column, ...], features: list[np.ndarray], where: str, *, refuse: bool) -> list[str]:
    """Check that numbers fit float32, in which networks compute; those of new rows become infinite, which are skipped."""
    lines = []
    for number, (column, values) in enumerate(zip(columns, features)):
        huge = np.isfinite(values) & (np.abs(values) > LARGEST)
        if column.categories is not None or not huge.any():
            continue
        worst = values[huge][np.abs(values[huge]).argmax()]
        text = f"value {worst:.3g} in column {column.name!r}: beyond the range of float32 ({LARGEST:.2g})"
        if refuse:
            raise DataError(f"{where}: {text}; divide the values, use their logarithm, or leave the column out by x")
        features[number] = np.where(huge, np.sign(values) * np.inf, values)
        lines.append(f"{text}; {huge.sum():,} rows cannot be used")
    return lines


def _quote(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
