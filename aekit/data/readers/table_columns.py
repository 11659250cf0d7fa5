"""Turn rows of a table into vectors: choose columns of features, labels, ids and splits, encode categories, and impute missing
values.

A trained encoder knows its columns by name, so that another table may have more columns, in another order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers import tables
from aekit.data.spec import Column, SampleSpec
from aekit.errors import DataError, closest_name

Categories = Literal["few", "none"]
Missing = Literal["skip", "median"]

FEW = 20
"""Maximum number of categories of a text column that becomes features by default."""
MANY = 1000
"""Maximum number of categories of a text column that is chosen by name."""


class Tabular(NamedTuple):
    """The samples of a file.

    Attributes:
        array: (N, ...); of a table (N, D) floats, NaN where a number is missing and not imputed.
        columns: columns of the D entries, in their order.
        labels: (N,) or None.
        ids: (N,) or None.
        splits: (N,) of ``"train"``, ``"validation"``, ``"test"``, or None.
        note: one line about chosen and ignored columns.
    """

    array: np.ndarray
    columns: tuple[Column, ...] = ()
    labels: np.ndarray | None = None
    ids: list[str] | None = None
    splits: np.ndarray | None = None
    note: str = ""


def read_columns(
    table: pa.Table,
    where: str,
    *,
    x: str | Sequence[str] = "auto",
    y: str = "auto",
    categories: Categories = "few",
    missing: Missing | Literal["keep"] = "skip",
    like: SampleSpec | None = None,
    default_labels: Sequence[str] = tables.LABEL_COLUMNS,
    exclude: Sequence[str] = (),
) -> Tabular:
    """Read the vectors, labels, ids and splits of a table.

    Args:
        table: a table of N rows.
        where: its path, for messages.
        x: names of the features; ``auto``: all columns of numbers and of few categories, except the label, ``id`` and
            ``split``.
        y: name of the labels; ``auto``: one of `default_labels`; ``none``: no labels.
        categories: ``few``: a text column of 2 to 20 categories becomes an entry of 0 or 1 for each; ``none``: it is ignored.
        missing: ``skip``: a row with a missing number cannot be used; ``median``: the column's median replaces it; ``keep``: it
            stays NaN.
        like: spec of an encoder; if it knows its columns, they are found by name, and `categories` and `missing` are those of
            its training.
        default_labels: names (lower case) of labels; ``y`` is not one of them in a table with ``x`` and ``z``.
        exclude: names (lower case) of columns that are not features unless chosen.

    Raises:
        DataError: a chosen column is missing or cannot be used, or there are no features.
    """
    names = table.column_names
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{where}: {_quote(repeated)} names more than one column; names must differ")
    if {"x", "z"} <= {name.strip().lower() for name in names}:
        default_labels = [name for name in default_labels if name != "y"]
    label = None if y == "none" else tables.find_column(names, default_labels) if y == "auto" else y
    ids, split = tables.find_column(names, ["id"]), tables.find_column(names, ["split"])
    chosen = [x] if isinstance(x, str) and x != "auto" else list(x) if x != "auto" else None
    for name in [*(chosen or []), *([label] if label else [])]:
        if name not in names:
            raise DataError(f"{where}: no column {name!r}{closest_name(name, names)}")
    splits = tables.to_splits(table[split], where) if split else None
    notes = [f"column {label!r} is the label"] if label else []
    # A second column of labels among the features would leak the labels of the evaluation.
    excluded = {label, ids, split} | ({n for n in names if n.lower() in default_labels} if label else set())
    excluded |= {n for n in names if n.lower() in exclude}
    candidates = [n for n in names if n not in excluded]
    if like is not None and like.columns:
        columns = _find_columns(like.columns, chosen, candidates, table, where)
        notes += _unknown_categories(table, columns)
    else:
        ignored = sorted(n for n in excluded - {label, ids, split} if n)
        notes += [f"columns ignored: {', '.join(ignored)}"] if ignored else []
        training = (
            table if splits is None or not (splits == "train").any() else table.filter(pa.array(splits == "train"))
        )
        # An encoder that knows no columns was not trained on categories.
        encoding = "none" if like is not None else categories
        columns, column_notes = _choose_columns(training, chosen, candidates, encoding, missing, where)
        notes += column_notes
    features = [_entries(table[column.name], column) for column in columns]
    notes += _impute_missing(columns, features) if missing != "keep" else []
    array = np.column_stack(features)
    labels = tables.to_labels(table[label]) if label else None
    return Tabular(
        array, columns, labels, tables.to_strings(table[ids]).tolist() if ids else None, splits, "; ".join(notes)
    )


def _choose_columns(
    table: pa.Table, chosen: list[str] | None, candidates: list[str], encoding: Categories, missing: str, where: str
) -> tuple[tuple[Column, ...], list[str]]:
    """Return the columns of features, and notes on them."""
    columns, encoded, empty, not_numeric = [], [], [], []
    for name in candidates if chosen is None else chosen:
        column = table[name]
        if tables.is_numeric(column):
            if chosen is None and column.null_count == len(column):
                empty.append(name)
                continue
            impute_value = None
            if missing == "median" and column.null_count < len(column):
                impute_value = float(np.nanmedian(tables.to_floats(column)))
            columns.append(Column(name, impute_value=impute_value))
            continue
        values = _categories(column) if encoding == "few" and tables.is_text(column) else []
        # A column with a different value in nearly every row names the rows.
        if 2 <= len(values) <= (min(FEW, len(table) // 2) if chosen is None else MANY):
            columns.append(Column(name, tuple(values)))
            encoded.append(name)
        else:
            not_numeric.append(name)
    if not columns or (not_numeric and chosen is not None):
        problem = f"no numbers in {_quote(not_numeric)}" if not_numeric else "no columns of numbers"
        raise DataError(f"{where}: {problem}; choose columns by x, and labels by y")
    notes = [f"an entry of 0 or 1 for each category in {_quote(encoded)}"] if encoded else []
    notes += [f"columns without numbers ignored: {_quote(not_numeric)}"] if not_numeric else []
    notes += [f"empty columns ignored: {_quote(empty)}"] if empty else []
    return tuple(columns), notes


def _find_columns(
    columns: tuple[Column, ...], chosen: list[str] | None, candidates: list[str], table: pa.Table, where: str
) -> tuple[Column, ...]:
    """Return the columns of an encoder under the names of a table, matched in order if chosen or if the table has no header."""
    names = table.column_names
    headerless = names == [str(number) for number in range(len(names))]  # names by `tables.read_table`
    in_order = chosen if chosen is not None else candidates if headerless else None
    if in_order is not None:
        if len(in_order) != len(columns):
            expected = ", ".join(column.name for column in columns)
            raise DataError(f"{where}: {len(in_order)} columns, expected {len(columns)}: {expected}")
        columns = tuple(replace(column, name=name) for column, name in zip(columns, in_order))
    for column in columns:
        if column.name not in names:
            raise DataError(
                f"{where}: no column {column.name!r}, expected by the encoder{closest_name(column.name, names)}"
            )
        if column.categories is None and not tables.is_numeric(table[column.name]):
            raise DataError(f"{where}: column {column.name!r} does not hold numbers; expected numbers")
        if column.categories is not None and pa.types.is_nested(table[column.name].type):
            raise DataError(f"{where}: column {column.name!r} holds lists or records; expected categories")
    return columns


def _entries(column: pa.ChunkedArray, described: Column) -> np.ndarray:
    """Return the entries of a column: (N,) numbers, NaN where one is missing, or (N, categories) of 0 and 1."""
    if described.categories is not None:
        positions = pc.index_in(column.cast(pa.string()), value_set=pa.array(described.categories, pa.string()))
        return (positions.fill_null(-1).to_numpy()[:, None] == np.arange(described.size)).astype(np.float64)
    return tables.to_floats(column)


def _impute_missing(columns: tuple[Column, ...], features: list[np.ndarray]) -> list[str]:
    """Impute missing values in place, where a column has a value for them, and return notes."""
    imputed, incomplete = [], np.zeros(len(features[0]), bool)
    for number, (column, values) in enumerate(zip(columns, features)):
        if column.categories is not None or not (gaps := np.isnan(values)).any():
            continue
        if column.impute_value is None:
            incomplete |= gaps
        else:
            features[number] = np.where(gaps, np.asarray(column.impute_value, values.dtype), values)
            imputed.append(f"{column.name!r} ({gaps.sum():,} of {len(values):,})")
    notes = [f"missing values are replaced by the median in {', '.join(imputed)}"] if imputed else []
    if incomplete.any():
        rows = "1 row has" if incomplete.sum() == 1 else f"{incomplete.sum():,} rows have"
        notes.append(f"{rows} missing values and cannot be used; missing = 'median' imputes them")
    return notes


def _unknown_categories(table: pa.Table, columns: tuple[Column, ...]) -> list[str]:
    """Return notes on categories of a table that an encoder does not know."""
    notes = []
    for column in columns:
        if column.categories is not None:
            new = [value for value in _categories(table[column.name]) if value not in column.categories]
            notes += [f"categories in {column.name!r} unknown to the encoder: {_quote(new[:5])}"] if new else []
    return notes


def _categories(column: pa.ChunkedArray) -> list[str]:
    """Return the distinct values of a column, sorted, without missing and empty ones."""
    return sorted({str(value) for value in pc.unique(column).to_pylist() if value not in (None, "")})


def _quote(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
