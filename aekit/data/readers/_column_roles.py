"""Find the columns of a table that are no features: those that number or name the rows, splits, and labels without a name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.metadata import Metadata
from aekit.data.readers import tables
from aekit.data.readers._cell_types import as_written
from aekit.data.readers._label_names import is_likely_label
from aekit.data.readers._record_types import is_text
from aekit.data.readers._stacked_names import MOST_LINES
from aekit.data.readers._times import is_time
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.io.arrow import arrow_values

FEW = 20
"""Maximum number of categories of a text column that becomes features by default."""
_FOLD_NAME = re.compile(r"(?i)(k|cv)?[_. ]?folds?([_. ]?(id|idx|no|nr|num|number|index))?")
_SPLIT_NAME = re.compile(r"(?i)(is|in)?[_. ]?(train(ing)?|test(ing)?|valid(ation)?|holdout)([_. ]?(set|split|flag))?")
MIN_NUMBERED, MIN_SAMPLED = 10, 20
"""Minimum numbers of rows from which 0, 1, ... are row numbers, in any order, and with up to half of them missing."""
_INDEX_NAME = re.compile(r"(?i)unnamed: 0(\.\d+|_level_\d+)*|__index_level_\d+__")
ID_NAME = re.compile(
    r"(?i:(.*[\W_])?(ids?|u?uid|guid|idx|index|level_0|row[._ ]?(id|idx|num|number|no|nr|names?)?))|.*[a-z](Id|ID)"
)


class Roles(NamedTuple):
    """The columns of a table that are not features.

    Attributes:
        label: name of the column of labels, or None.
        ids: name of the column of ids, or None.
        split: name of the column of splits, or None.
        splits: (N,) splits of the rows, or None.
        label_like: names of columns that may be labels too.
        index_columns: names of the columns of the index; [] if it has no ids.
        index_ids: (N,) ids in the index, or None.
        notes: lines about choices.
        losses: lines about columns that are left out.
    """

    label: str | None
    ids: str | None
    split: str | None
    splits: np.ndarray | None
    label_like: set[str]
    index_columns: list[str]
    index_ids: list[str] | None
    notes: list[str]
    losses: list[str]

    @property
    def named(self) -> set[str]:
        """Names of the columns of labels, ids and splits."""
        return {name for name in (self.label, self.ids, self.split) if name}


def find_roles(
    written: pa.Table,
    typed: pa.Table,
    where: str,
    *,
    chosen: Sequence[str] | None,
    y: str,
    default_labels: Sequence[str],
    like: SampleSpec | None,
) -> Roles:
    """Find the columns of labels, ids and splits.

    Args:
        written: the columns as they are written.
        typed: the columns with their types.
        where: path of the table, for messages.
        chosen: names of the features, or None.
        y: name of the labels, ``auto`` or ``none``.
        default_labels: names (lower case) of labels; ``y`` is not one of them in a table with ``x`` and ``z``.
        like: spec of an encoder, whose columns are features.

    Raises:
        DataError: a column named as splits holds something else.
    """
    names = written.column_names
    others = [name for name in names if name not in (chosen or [])]
    known = {column.name for column in like.columns} if like is not None else set[str]()
    split = split_column(written, [name for name in others if name not in known and name != y])
    notes = [f"column {split!r} holds the splits"] if split and split.strip().lower() != "split" else []
    splits, split, losses = find_splits(written, split, where, chosen is not None)
    ids = tables.find_column(others, ["id"])
    index, index_ids, lines = ids_of_index(written, {*(chosen or []), y}) if ids is None else ([], None, [])
    notes += ["the index of the table names the samples"] if index_ids else []
    if {"x", "z"} <= {name.strip().lower() for name in names}:
        default_labels = [name for name in default_labels if name != "y"]
    label = y if y not in ("auto", "none") else tables.find_column(others, default_labels) if y == "auto" else None
    notes += [f"column {label!r} is the label"] if label else []
    if y == "auto" and label is None and chosen is None:
        label, note = find_unnamed_label(typed, [name for name in names if name not in (ids, split)], splits, like)
        notes += note
    # A second column of labels among the features would leak the labels of the evaluation.
    label_like = {name for name in names if name.strip().lower() in default_labels} if label else set[str]()
    return Roles(label, ids, split, splits, label_like, index, index_ids, notes, [*losses, *lines])


def find_row_names(table: pa.Table, candidates: Iterable[str]) -> dict[str, str]:
    """Return the columns that number or name the rows, and so are no features, as name -> kind.

    The kinds are ``index``, ``row numbers``, ``ids``, ``folds`` and ``a split``, of 0 and 1.

    These are the index of pandas and of R; whole numbers 0, 1, ... or 1, 2, ..., also shuffled or as a part of a table has them;
    and whole numbers that are all different where the name says that they are ids; and numbers of folds by their name. Fractions
    are measurements, whatever they are called.
    """
    index, rows = tables.index_columns(table), np.arange(len(table))
    row_names = {}
    for name in candidates:
        is_empty = table[name].null_count == len(table[name])
        if name in index or (_INDEX_NAME.fullmatch(name.strip()) and not is_empty):
            row_names[name] = "index"
            continue
        values = as_written(table[name])
        # Lines of units below the names leave gaps.
        few_gaps = values.null_count <= min(MOST_LINES, len(values) // 10)
        if not pa.types.is_integer(values.type) or not few_gaps or len(values) < 2:
            continue
        numbers = arrow_values(values.drop_null())
        first, last = int(numbers.min()), int(numbers.max())
        if _FOLD_NAME.fullmatch(name.strip()) and 1 < len(np.unique(numbers)) <= FEW:
            row_names[name] = "folds"
            continue
        if _SPLIT_NAME.fullmatch(name.strip()) and (first, last) == (0, 1):
            row_names[name] = "a split"
            continue
        if len(np.unique(numbers)) < len(numbers):
            continue
        spans = first in (0, 1) and last - first == len(numbers) - 1 and len(numbers) >= MIN_NUMBERED
        part = first >= 0 and last < 2 * len(numbers) and len(numbers) >= MIN_SAMPLED
        if spans and np.array_equal(numbers, rows[: len(numbers)] + first):
            row_names[name] = "row numbers"
        elif ID_NAME.fullmatch(name.strip()):
            row_names[name] = "ids"
        elif spans or part:
            row_names[name] = "row numbers"
    return row_names


def ids_of_index(table: pa.Table, taken: Collection[str | None]) -> tuple[list[str], list[str] | None, list[str]]:
    """Return the names of the columns that hold the index of a table, the (N,) ids in it, and lines on an index that is no id.

    Args:
        table: the columns as they are written.
        taken: names of columns that have another use.

    Returns:
        [] and None without an index, and where its values are row numbers, repeat or are missing; the last two are said of an
        index of pandas. The names are [] too where pandas has noted a range instead of columns. The ids of an index of several
        levels are their values with a slash between.
    """
    noted = tables.index_columns(table)
    names = noted or [name for name in table.column_names if _INDEX_NAME.fullmatch(name.strip())]
    names = [name for name in names if name not in taken]
    if len(names) > 1 and not noted:
        return [], None, []
    levels = [tables.to_strings(table[name]).tolist() for name in names]
    written = ["" if "" in values else "/".join(values) for values in zip(*levels)]
    ids, reason = tables.unique_ids(written) if names else (tables.index_range(table), "")
    lines = [f"the index is not an id, as {reason}: rows are numbered instead"] if noted and reason else []
    if ids is None or ids == [str(row) for row in range(len(ids))]:
        return [], None, lines
    return names, ids, lines


def further_columns(
    table: pa.Table, typed: pa.Table, features: Iterable[str], others: Iterable[str | None]
) -> Metadata:
    """Return the metadata of rows: all columns but the `others`; features, row numbers and indexes where they are named.

    Args:
        table: the columns as they are written.
        typed: the columns with their types.
        features: names of the columns that are entries of the samples.
        others: names of the columns of labels, ids and splits.
    """
    names = [name for name in table.column_names if name not in others]
    beside = [name for name in names if name not in features]
    numbers = {name for name, kind in find_row_names(typed, beside).items() if kind != "ids"}
    return Metadata.of(table.select(names), [name for name in beside if name not in numbers])


def split_column(table: pa.Table, candidates: Iterable[str]) -> str | None:
    """Return the column that holds splits: the one named ``split``, or else the only one whose values are names of splits."""
    candidates = list(candidates)
    if named := tables.find_column(candidates, ["split"]):
        return named
    holding = [name for name in candidates if _holds_splits(table[name])]
    return holding[0] if len(holding) == 1 else None


def _holds_splits(column: pa.ChunkedArray) -> bool:
    values = as_written(column)
    if not is_text(values.type) or values.null_count or not len(values):
        return False
    if tables.split_named(values[0].as_py()) is None:  # as in most columns, which need not be read
        return False
    splits = {tables.split_named(name) for name in map(str, pc.unique(values).slice(0, FEW + 1).to_pylist())}
    return None not in splits and "train" in splits and len(splits) > 1


def find_splits(
    table: pa.Table, split: str | None, where: str, has_choice: bool
) -> tuple[np.ndarray | None, str | None, list[str]]:
    """Return the splits of the rows and the name of their column, unless it holds something else, and lines on that."""
    if split is None:
        return None, None, []
    if tables.is_numeric(table[split]) and not tables.is_empty(table[split]):
        return None, None, [] if has_choice else [f"column {split!r} holds numbers, not splits: it is a feature"]
    try:
        return tables.to_splits(table[split], where), split, []
    except DataError as error:
        if has_choice:
            return None, None, [f"column {split!r} ignored: its values are not train, validation and test"]
        raise DataError(f"{error}; choose columns by x where it means something else") from None


_PER_CLASS = 5
"""Rows for each value, in the mean, from which a column of text may be the label."""


def find_unnamed_label(
    table: pa.Table, candidates: Sequence[str], splits: np.ndarray | None, like: SampleSpec | None
) -> tuple[str | None, list[str]]:
    """Return the column that must be the label though its name does not say so, and a note."""
    known = {column.name for column in like.columns} if like is not None else set()
    if splits is not None:
        lacking = [
            name
            for name in candidates
            if name not in known
            and any(
                tables.is_empty(table[name].filter(pa.array(splits == split)))
                for split in set(splits.tolist()) - {"train"}
            )
            and not tables.is_empty(table[name].filter(pa.array(splits == "train")))
        ]
        if len(lacking) == 1:
            return lacking[0], [f"column {lacking[0]!r} is the label, as only the training part has it"]
    declared = tables.declared_label(table)
    if declared in candidates and declared not in known:
        return declared, [f"column {declared!r} is the label, by the file's format; y = 'none' uses it as a feature"]
    if len(candidates) < 2:
        return None, []
    texts = [name for name in candidates if tables.is_text(table[name]) and not is_time(table[name])]
    if not tables.is_headerless(table):
        return None, _label_hint(table, candidates, texts) if like is None else []
    for name in (candidates[-1], candidates[0]):
        if name in known:
            continue
        values = as_written(table[name])
        count = len(pc.unique(values))
        if texts == [name] and 2 <= count <= len(values) // 2:
            return name, [f"column {name!r} is the label, as it alone holds words; y = 'none' uses it as a feature"]
        whole = pa.types.is_integer(values.type)
        if not texts and whole and 2 <= count <= min(FEW, len(values) // 4) and not known:
            return None, [f"column {name!r} has {count} different values; y = {name!r} uses it as the label"]
    return None, _label_hint(table, candidates, texts) if like is None and len(texts) == 1 else []


def _label_hint(table: pa.Table, candidates: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return a line about the column of few values that may be the label: by its name, as the only text, or as the last."""
    likely = [name for name in candidates if is_likely_label(name) and not find_row_names(table, [name])]
    last = next((name for name in reversed(candidates) if not find_row_names(table, [name])), None)
    alone = texts if len(texts) == 1 else ()
    for name in [*likely, *alone, *([last] if last is not None and last not in texts else [])]:
        is_text = name in texts
        values = as_written(table[name]).drop_null()
        if not is_text and (not tables.is_numeric(values) or pa.types.is_floating(values.type)):
            continue
        count = len(set(pc.unique(values).to_pylist()) - {""})
        most = len(table) if is_text else FEW if name in likely else 2
        if 2 <= count <= min(most, len(table) // _PER_CLASS):
            return [f"if {name!r} is the label, y = {name!r} says so"]
    repeated = [name for name in texts if 2 <= len(pc.unique(table[name])) <= len(table) // _PER_CLASS]
    if len(repeated) < 2 or tables.is_headerless(table):
        return []
    listed = ", ".join(map(repr, repeated[:3])) + (" ..." if len(repeated) > 3 else "")
    return [f"if one of {listed} is the label, y = NAME says so"]
