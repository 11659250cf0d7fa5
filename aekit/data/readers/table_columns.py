"""Rows of a table as vectors: which columns are features, which name classes, rows and splits, and what becomes of words and
of what is missing.

A trained encoder knows its columns by name, so that another table may have them in another order and others besides.
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
"""Different words that a column may hold to become features of its own accord."""
MANY = 1000
"""Different words that a column may hold where it is asked for by name."""


class Tabular(NamedTuple):
    """What a file holds, as samples.

    Attributes:
        array: (N, ...); of a table (N, D) floats, NaN where a number is missing and nothing stands in for it.
        columns: of the D entries, in their order.
        labels: (N,) or None.
        ids: (N,) or None.
        splits: (N,) of ``"train"``, ``"validation"``, ``"test"``, or None.
        note: what was chosen and what was left out, in a line.
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
    """Takes a table apart.

    Args:
        table: of N rows.
        where: it is from, for messages.
        x: names of the features; ``auto``: all columns of numbers and of few words, but for the label, ``id`` and ``split``.
        y: name of the labels; ``auto``: one of the usual names; ``none``: there are none.
        words: ``few``: a column of 2 to 20 different words becomes an entry of 0 or 1 for each; ``none``: it is left out.
        missing: ``skip``: a row that lacks a number cannot be used; ``median``: the column's median stands in for it; ``keep``:
            that is left to the caller.
        like: what an encoder takes: where it knows its columns, they are looked for by name, and `words` and `missing` are
            as they were when it was trained.
        usual: names (lower case) of labels; ``y`` is none of them beside ``x`` and ``z``, which are three directions.
        without: names (lower case) of columns that are no features unless they are asked for.

    Raises:
        DataError: a column that is named is not there or is of no use, or there is nothing to take.
    """
    names = table.column_names
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{where}: {_listed(twice)} names more than one column; names must differ")
    if {"x", "z"} <= {name.strip().lower() for name in names}:
        default_labels = [name for name in default_labels if name != "y"]
    label = None if y == "none" else tables.find_column(names, default_labels) if y == "auto" else y
    ids, split = tables.find_column(names, ["id"]), tables.find_column(names, ["split"])
    asked = [x] if isinstance(x, str) and x != "auto" else list(x) if x != "auto" else None
    for name in [*(asked or []), *([label] if label else [])]:
        if name not in names:
            raise DataError(f"{where}: no column {name!r}{closest_name(name, names)}")
    splits = tables.to_splits(table[split], where) if split else None
    said = [f"column {label!r} is the label"] if label else []
    # A second column of labels among the features would tell the encoder what it is judged by.
    kept_out = {label, ids, split} | ({n for n in names if n.lower() in default_labels} if label else set())
    kept_out |= {n for n in names if n.lower() in exclude}
    others = [n for n in names if n not in kept_out]
    if like is not None and like.columns:
        columns = _known(like.columns, asked, others, table, where)
        said += _strangers(table, columns)
    else:
        aside = sorted(n for n in kept_out - {label, ids, split} if n)
        said += [f"{', '.join(aside)} left out"] if aside else []
        seen = table if splits is None or not (splits == "train").any() else table.filter(pa.array(splits == "train"))
        # An encoder that knows no columns was not trained on words.
        columns, found = _described(seen, asked, others, "none" if like is not None else categories, missing, where)
        said += found
    features = [_entries(table[column.name], column) for column in columns]
    said += _impute_missing(columns, features) if missing != "keep" else []
    array = np.column_stack(features)
    labels = tables.to_labels(table[label]) if label else None
    return Tabular(
        array, columns, labels, tables.to_strings(table[ids]).tolist() if ids else None, splits, "; ".join(said)
    )


def _described(
    table: pa.Table, asked: list[str] | None, others: list[str], words: Categories, missing: str, where: str
) -> tuple[tuple[Column, ...], list[str]]:
    """The columns to take, and what there is to say of them."""
    columns, worded, empty, useless = [], [], [], []
    for name in others if asked is None else asked:
        column = table[name]
        if tables.is_numeric(column):
            if asked is None and column.null_count == len(column):
                empty.append(name)
                continue
            fill = None
            if missing == "median" and column.null_count < len(column):
                fill = float(np.nanmedian(tables.to_floats(column)))
            columns.append(Column(name, impute_value=fill))
            continue
        different = _different(column) if words == "few" and tables.is_text(column) else []
        # A column with another word in nearly every row names the rows.
        if 2 <= len(different) <= (min(FEW, len(table) // 2) if asked is None else MANY):
            columns.append(Column(name, tuple(different)))
            worded.append(name)
        else:
            useless.append(name)
    if not columns or (useless and asked is not None):
        found = f"not numbers in {_listed(useless)}" if useless else "no columns of numbers"
        raise DataError(f"{where}: {found}; x chooses columns, y names the labels")
    said = [f"an entry of 0 or 1 for each word in {_listed(worded)}"] if worded else []
    said += [f"left out, as they hold no numbers: {_listed(useless)}"] if useless else []
    said += [f"left out, as they are empty: {_listed(empty)}"] if empty else []
    return tuple(columns), said


def _known(
    columns: tuple[Column, ...], asked: list[str] | None, others: list[str], table: pa.Table, where: str
) -> tuple[Column, ...]:
    """The columns that an encoder takes, as a table names them: in their order where they are asked for by name or have none."""
    names = table.column_names
    nameless = names == [str(number) for number in range(len(names))]  # as `tables.read_table` calls them
    instead = asked if asked is not None else others if nameless else None
    if instead is not None:
        if len(instead) != len(columns):
            taken = ", ".join(column.name for column in columns)
            raise DataError(f"{where}: {len(instead)} columns, expected {len(columns)}: {taken}")
        columns = tuple(replace(column, name=name) for column, name in zip(columns, instead))
    for column in columns:
        if column.name not in names:
            raise DataError(f"{where}: no column {column.name!r}, which is expected{closest_name(column.name, names)}")
        if column.categories is None and not tables.is_numeric(table[column.name]):
            raise DataError(f"{where}: column {column.name!r} holds no numbers, which are expected")
        if column.categories is not None and pa.types.is_nested(table[column.name].type):
            raise DataError(f"{where}: column {column.name!r} holds lists or records; words are expected")
    return columns


def _entries(column: pa.ChunkedArray, described: Column) -> np.ndarray:
    """(N,) numbers, NaN where one is missing, or (N, words) of 0 and 1."""
    if described.categories is not None:
        which = pc.index_in(column.cast(pa.string()), value_set=pa.array(described.categories, pa.string()))
        return (which.fill_null(-1).to_numpy()[:, None] == np.arange(described.size)).astype(np.float64)
    return tables.to_floats(column)


def _impute_missing(columns: tuple[Column, ...], features: list[np.ndarray]) -> list[str]:
    """Fills what is missing, in place, where something stands in for it, and says what there is to say."""
    filled, lacking = [], np.zeros(len(features[0]), bool)
    for number, (column, own) in enumerate(zip(columns, features)):
        if column.categories is not None or not (gaps := np.isnan(own)).any():
            continue
        if column.impute_value is None:
            lacking |= gaps
        else:
            features[number] = np.where(gaps, np.asarray(column.impute_value, own.dtype), own)
            filled.append(f"{column.name!r} ({gaps.sum():,} of {len(own):,})")
    said = [f"the median stands in for what is missing in {', '.join(filled)}"] if filled else []
    if lacking.any():
        rows = "1 row lacks" if lacking.sum() == 1 else f"{lacking.sum():,} rows lack"
        said.append(f"{rows} a number and cannot be used; missing = 'median' fills such gaps")
    return said


def _strangers(table: pa.Table, columns: tuple[Column, ...]) -> list[str]:
    """What a table holds that an encoder does not know."""
    said = []
    for column in columns:
        if column.categories is not None:
            new = [word for word in _different(table[column.name]) if word not in column.categories]
            said += [f"words in {column.name!r} that the encoder does not know: {_listed(new[:5])}"] if new else []
    return said


def _different(column: pa.ChunkedArray) -> list[str]:
    """The words of a column, sorted; what is missing or empty is none."""
    return sorted({str(word) for word in pc.unique(column).to_pylist() if word not in (None, "")})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
