"""Find the classes in columns of 0 and 1, one for each class, beside the names of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from aekit.data.readers import tables

_SHOWN = 5


def one_hot_columns(table: pa.Table, candidates: Iterable[str]) -> list[str]:
    """Return the columns of 0 and 1, both of which occur, if there are two or more; else none."""
    names = [
        name for name in candidates if tables.is_numeric(table[name]) and _is_binary(tables.to_floats(table[name]))
    ]
    return names if len(names) > 1 else []


def one_hot_labels(table: pa.Table, names: Sequence[str]) -> tuple[list[str], np.ndarray | None]:
    """Return a line on columns of 0 and 1, and the labels (N,) in them: the name of the column with the 1 of each row.

    The labels are None where a row has several ones; a row without one has no label.
    """
    ones = np.column_stack([tables.to_floats(table[name]) for name in names]) == 1
    listed = ", ".join(map(repr, names[:_SHOWN])) + (" ..." if len(names) > _SHOWN else "")
    counts = ones.sum(1)
    if counts.max() > 1:
        advice = "a column 'label' would be the label"
        return [
            f"{listed} hold 0 and 1, several of them 1 in {int((counts > 1).sum()):,} rows: no label; {advice}"
        ], None
    labels = np.where(counts == 1, np.array(names)[ones.argmax(1)], "")
    lacking = f"; {int((counts == 0).sum()):,} rows have none" if (counts == 0).any() else ""
    return [f"the labels are the columns {listed}, of which each row has one that is 1{lacking}"], labels


def _is_binary(values: np.ndarray) -> bool:
    return set(np.unique(values).tolist()) == {0.0, 1.0}
