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
from aekit.data.readers._arrow_types import with_usual_types
from aekit.data.readers._cell_types import EXACT, decide_types, to_texts, words_for_no_label
from aekit.data.readers._code_columns import find_codes, with_texts
from aekit.data.readers._column_roles import Roles, find_roles, find_row_names, further_columns
from aekit.data.readers._doubtful_numbers import constant_columns, doubtful_numbers
from aekit.data.readers._feature_columns import (
    Categories as Categories,
    Said,
    cells_without_category,
    choose_columns,
    quote_names,
    row_names_left_out,
)
from aekit.data.readers._known_columns import find_known_columns, unknown_categories
from aekit.data.readers._missing_values import impute_missing, loses_most
from aekit.data.readers._number_spelling import mark_number_texts
from aekit.data.readers._times import to_seconds
from aekit.data.readers._totals import rows_that_sum_up
from aekit.data.spec import Column, SampleSpec
from aekit.errors import DataError, closest_name
from aekit.io.arrow import arrow_texts, arrow_values, filled

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
    table = with_usual_types(table)
    chosen = _check_names(table.column_names, where, x, y)
    content = _content_of(table, where)
    roles = find_roles(
        content.written, content.typed, where, chosen=chosen, y=y, default_labels=default_labels, like=like
    )
    said = Said([*tables.remarks(table), *roles.notes], [*roles.losses, *rows_that_sum_up(table)])
    ids = _read_ids(content, roles, said) if rows_are_samples else None
    excluded = roles.label_like | {name for name in table.column_names if name.lower() in exclude}
    candidates = [name for name in table.column_names if name not in excluded and name not in roles.named]
    if like is not None and like.columns:
        columns = find_known_columns(like.columns, chosen, candidates, content.typed, where)
        said.losses += unknown_categories(content.written, columns)
    else:
        unused = {roles.ids} if roles.ids and not rows_are_samples else set()  # of the steps of a recording
        ignored = sorted((excluded - roles.named) | unused)
        said.notes += [f"columns ignored: {', '.join(ignored)}"] if ignored else []
        columns = _choose_features(
            content, roles, chosen, candidates, categories, missing, like, rows_are_samples, said
        )
        if not columns and y == "auto" and _is_sample(content, roles.label):
            alone = read_columns(table, where, y="none", categories=categories, missing=missing, like=like)
            line = f"column {roles.label!r} alone holds numbers: it is the sample, not the label"
            return alone._replace(losses=(*alone.losses, line))
        if not columns and not len(table):
            raise DataError(f"{where}: has no rows")
        if not columns:
            why = "; ".join(["no columns of numbers; choose columns by x, and labels by y", *said.losses])
            raise DataError(f"{where}: {why}")
    features = _read_features(content, columns, said, refuse=like is None)
    if like is None:
        said.losses += doubtful_numbers(columns, features, rows_are_samples)
        said.notes += constant_columns(columns, features)
        said.add(cells_without_category(columns, features))
    said.losses += impute_missing(columns, features) if missing != "keep" else []
    labels = tables.to_labels(content.written[roles.label]) if roles.label else None
    said.notes += words_for_no_label(content.written[roles.label], roles.label) if roles.label else []
    others = (roles.label, roles.ids, roles.split)
    further = further_columns(content.written, content.typed, {column.name for column in columns}, others)
    return Tabular(
        np.column_stack(features),
        columns,
        labels,
        ids,
        roles.splits,
        "; ".join(said.notes),
        tuple(said.losses),
        further,
    )


def _check_names(names: Sequence[str], where: str, x: str | Sequence[str], y: str) -> list[str] | None:
    """Check that names of columns differ and that those of options exist; return the chosen features, or None."""
    tables.check_names(names, where)
    chosen = [x] if isinstance(x, str) and x != "auto" else list(x) if x != "auto" else None
    for name in [*(chosen or []), *([y] if y not in ("auto", "none") else [])]:
        if name not in names:
            raise DataError(f"{where}: no column {name!r}{closest_name(name, names)}")
    return chosen


class _Content(NamedTuple):
    """The columns of a table in the forms that their uses need.

    Attributes:
        where: path of the table, for messages.
        written: as they are written.
        marked: texts of numbers marked as cells of a file.
        typed: with their types.
        strays: name -> words among its numbers, with the row of the first.
        rounded: names of columns of integers that are too large for float64.
        number_texts: names of columns that hold numbers as text.
        spelling: lines about how these numbers are written.
    """

    where: str
    written: pa.Table
    marked: pa.Table
    typed: pa.Table
    strays: dict[str, dict[str, int]]
    rounded: set[str]
    number_texts: list[str]
    spelling: list[str]


def _content_of(table: pa.Table, where: str) -> _Content:
    marked, number_texts, spelling = mark_number_texts(table)
    return _Content(where, table, marked, *decide_types(marked), number_texts, spelling)


def _read_ids(content: _Content, roles: Roles, said: Said) -> list[str] | None:
    """Return the (N,) ids in the column of ids, or else in the index; None where the rows are numbered."""
    if not roles.ids:
        return roles.index_ids
    ids, lines = tables.to_ids(content.written[roles.ids], roles.ids)
    said.losses += lines
    said.notes += [tables.say_ids(roles.ids)] if ids else []
    return ids


def _choose_features(
    content: _Content,
    roles: Roles,
    chosen: list[str] | None,
    candidates: list[str],
    categories: Categories,
    missing: Missing | Literal["keep"],
    like: SampleSpec | None,
    rows_are_samples: bool,
    said: Said,
) -> tuple[Column, ...]:
    """Choose the features among the candidates, where no encoder knows them, by the rows for training."""
    table = content.typed
    is_training = None if roles.splits is None else pa.array(roles.splits == "train")
    trained = is_training if is_training is not None and pc.any(is_training).as_py() else None
    training = table if trained is None else table.filter(trained)
    # An encoder of an array that takes as many columns was trained on all of them.
    if chosen is None and (like is None or len(candidates) != like.size):
        row_names = find_row_names(table, candidates) | find_row_names(training, candidates)
        if not rows_are_samples:
            row_names = {name: kind for name, kind in row_names.items() if kind != "row numbers"}
        candidates = [name for name in candidates if name not in row_names]
        said.losses += row_names_left_out(
            {name: kind for name, kind in row_names.items() if name not in roles.index_columns}
        )
    if like is None:
        codes = find_codes(content.marked, table, chosen or candidates, rows_are_samples)
        said.losses += codes.lines(chosen, content.rounded)
        if chosen is None:
            candidates = [name for name in candidates if name not in codes.dates]
            table = with_texts(content.marked, table, codes.texts)
            training = table if trained is None else table.filter(trained)
    # An encoder that knows no columns was not trained on categories.
    encoding = "none" if like is not None else categories
    if missing == "auto":
        missing = "median" if loses_most(training, chosen or candidates) else "skip"
        if missing == "median":
            advice = "missing = 'skip' leaves them out"
            said.losses.append(f"more than half of the rows have missing values, and are used; {advice}")
    columns, lines = choose_columns(training, chosen, candidates, encoding, missing, content.where, content.rounded)
    said.add(lines)
    return columns


def _is_sample(content: _Content, label: str | None) -> bool:
    """Return whether the column that is called the label is a feature called y, as of a curve."""
    return label is not None and label.strip().lower() == "y" and tables.is_numeric(content.typed[label])


def _read_features(content: _Content, columns: tuple[Column, ...], said: Said, *, refuse: bool) -> list[np.ndarray]:
    """Return the entries of all columns; where one is beyond float32, `refuse` it or leave its rows out."""
    numeric = [column.name for column in columns if column.categories is None]
    if as_numbers := [name for name in numeric if name in content.number_texts]:
        said.losses.append(f"numbers written as text are read as numbers in {quote_names(as_numbers)}")
        said.notes += content.spelling
    features = []
    for column in columns:
        if column.categories is None and not column.time and column.name in content.rounded:
            raise _too_large(content.where, column.name)
        source = content.typed if column.categories is None else content.written
        features.append(_entries(source[column.name], column, content.where))
    said.losses += _stray_words({name: words for name, words in content.strays.items() if name in set(numeric)})
    said.losses += _check_range(columns, features, content.where, refuse=refuse)
    return features


def _too_large(where: str, name: str) -> DataError:
    advice = "subtract the smallest, or divide them"
    return DataError(
        f"{where}: column {name!r} holds whole numbers beyond 2^53 ({EXACT}), which float64 would round; {advice}"
    )


def _entries(column: pa.ChunkedArray, described: Column, where: str) -> np.ndarray:
    """Return the entries of a column: (N,) numbers, NaN where one is missing, or (N, categories) of 0 and 1."""
    if described.categories is not None:
        positions = pc.index_in(to_texts(column), value_set=arrow_texts(described.categories))
        return (arrow_values(filled(positions, -1))[:, None] == np.arange(described.size)).astype(np.float64)
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
