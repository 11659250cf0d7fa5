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
from aekit.data.readers._cell_types import EXACT, decide_types, to_texts
from aekit.data.readers._code_columns import find_codes, with_texts
from aekit.data.readers._column_roles import (
    find_roles,
    find_row_names,
    further_columns,
)
from aekit.data.readers._doubtful_numbers import constant_columns, doubtful_numbers
from aekit.data.readers._feature_columns import (
    Categories as Categories,
    choose_columns,
    quote_names,
    row_names_left_out,
)
from aekit.data.readers._known_columns import find_known_columns, unknown_categories
from aekit.data.readers._missing_values import impute_missing, loses_most
from aekit.data.readers._number_spelling import mark_number_texts
from aekit.data.readers._times import to_seconds
from aekit.data.spec import Column, SampleSpec
from aekit.errors import DataError, closest_name
from aekit.io.arrow import arrow_texts, arrow_values

Missing = Literal["auto", "skip", "median"]

STRAY_LINES = 10
"""Most lines about words among the numbers of a column each."""
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
    roles = find_roles(written, table, where, chosen=chosen, y=y, default_labels=default_labels, like=like)
    label, splits = roles.label, roles.splits
    notes, losses = notes + roles.notes, losses + roles.losses
    excluded = roles.label_like | {name for name in names if name.lower() in exclude}
    candidates = [name for name in names if name not in excluded and name not in roles.named]
    if like is not None and like.columns:
        columns = find_known_columns(like.columns, chosen, candidates, table, where)
        losses += unknown_categories(written, columns)
    else:
        ignored = sorted(excluded - roles.named)
        notes += [f"columns ignored: {', '.join(ignored)}"] if ignored else []
        trained = None if splits is None or not (splits == "train").any() else pa.array(splits == "train")
        training = table if trained is None else table.filter(trained)
        # An encoder of an array that takes as many columns was trained on all of them.
        if chosen is None and (like is None or len(candidates) != like.size):
            row_names = find_row_names(table, candidates) | find_row_names(training, candidates)
            if not rows_are_samples:
                row_names = {name: kind for name, kind in row_names.items() if kind != "row numbers"}
            candidates = [name for name in candidates if name not in row_names]
            losses += row_names_left_out(
                {name: kind for name, kind in row_names.items() if name not in roles.index_columns}
            )
        if like is None:
            codes = find_codes(marked, table, chosen or candidates, rows_are_samples)
            losses += codes.lines(chosen)
            if chosen is None:
                candidates = [name for name in candidates if name not in codes.dates]
                table = with_texts(marked, table, codes.texts)
                if codes.texts:
                    training = table if trained is None else table.filter(trained)
        # An encoder that knows no columns was not trained on categories.
        encoding = "none" if like is not None else categories
        if missing == "auto":
            missing = "median" if loses_most(training, chosen or candidates) else "skip"
            if missing == "median":
                losses.append(
                    "more than half of the rows have missing values, and are used; missing = 'skip' leaves them out"
                )
        columns, column_notes, column_losses = choose_columns(
            training, chosen, candidates, encoding, missing, where, rounded
        )
        notes, losses = notes + column_notes, losses + column_losses
        if not columns and y == "auto" and label and label.strip().lower() == "y" and tables.is_numeric(table[label]):
            alone = read_columns(written, where, y="none", categories=categories, missing=missing, like=like)
            return alone._replace(
                losses=(*alone.losses, f"column {label!r} alone holds numbers: it is the sample, not the label")
            )
        if not columns and not len(table):
            raise DataError(f"{where}: has no rows")
        if not columns:
            raise DataError(
                f"{where}: no columns of numbers; choose columns by x, and labels by y; {'; '.join(losses)}".rstrip(
                    "; "
                )
            )
    as_numbers = [column.name for column in columns if column.categories is None and column.name in number_texts]
    losses += [f"numbers written as text are read as numbers in {quote_names(as_numbers)}"] if as_numbers else []
    notes += spelling if as_numbers else []
    features = []
    for column in columns:
        if column.categories is None and not column.time and column.name in rounded:
            raise _too_large(where, column.name)
        source = table if column.categories is None else written
        features.append(_entries(source[column.name], column, where))
    numeric = {column.name for column in columns if column.categories is None}
    losses += _stray_words({name: words for name, words in strays.items() if name in numeric})
    losses += _check_range(columns, features, where, refuse=like is None)
    if like is None:
        losses += doubtful_numbers(columns, features, rows_are_samples)
        notes += constant_columns(columns, features)
    losses += impute_missing(columns, features) if missing != "keep" else []
    labels = tables.to_labels(written[label]) if label else None
    id_list, id_lines = tables.to_ids(written[roles.ids], roles.ids) if roles.ids else (roles.index_ids, [])
    losses += id_lines
    further = further_columns(written, table, {column.name for column in columns}, (label, roles.ids, roles.split))
    all_notes = "; ".join(notes)
    return Tabular(np.column_stack(features), columns, labels, id_list, splits, all_notes, tuple(losses), further)


def _too_large(where: str, name: str) -> DataError:
    advice = "subtract the smallest, or divide them"
    return DataError(
        f"{where}: column {name!r} holds whole numbers beyond 2^53 ({EXACT}), which float64 would round; {advice}"
    )


def _entries(column: pa.ChunkedArray, described: Column, where: str) -> np.ndarray:
    """Return the entries of a column: (N,) numbers, NaN where one is missing, or (N, categories) of 0 and 1."""
    if described.categories is not None:
        positions = pc.index_in(to_texts(column), value_set=arrow_texts(described.categories))
        return (arrow_values(positions.fill_null(-1))[:, None] == np.arange(described.size)).astype(np.float64)
    if described.time:
        return to_seconds(column, f"{where}: column {described.name!r}")
    if not tables.is_numeric(column):
        raise DataError(f"{where}: column {described.name!r} does not hold numbers; expected numbers")
    return tables.to_floats(column)


def _stray_words(strays: dict[str, dict[str, int]]) -> list[str]:
    lines = []
    for name, words in list(strays.items())[:STRAY_LINES]:
        shown = [f"{word!r} (row {row})" for word, row in list(words.items())[:3]]
        more = f" and {len(words) - 3} other words" if len(words) > 3 else ""
        verb = "is a missing value" if len(words) == 1 else "are missing values"
        lines.append(f"{', '.join(shown)}{more} among the numbers of {name!r} {verb}")
    if (others := len(strays) - STRAY_LINES) > 0:
        lines.append(f"words among the numbers of {others} more columns are missing values, too")
    return lines


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
