"""Bring labels, splits and metadata of stored embeddings up to date, which change without the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.source import Source
from aekit.errors import DataError


class CurrentColumns:
    """What the data says now of its samples.

    Args:
        source: the data.
        metadata: further columns of its N samples, or None.
    """

    def __init__(self, source: Source, metadata: pa.Table | None) -> None:
        self._position = {name: position for position, name in enumerate(source.ids)}
        columns = dict[str, Any]()
        if source.labels is not None:
            columns["label"] = pa.array(source.labels.tolist())
        if source.splits is not None:
            columns["split"] = pa.array(source.splits.tolist(), pa.string())
        if metadata is not None:
            columns |= {name: metadata[name] for name in metadata.column_names}
        self._columns = columns

    def update(self, stored: pa.Table) -> pa.Table | None:
        """Return the label, split and metadata of stored rows as they are now, or None if they are stored so.

        Rows whose sample is no longer in the data keep what they have, as far as its type is still the same.

        Args:
            stored: ids of the rows, and their present columns but the vectors.

        Raises:
            DataError: such a row has a label of another type than the data has now.
        """
        positions = np.asarray([self._position.get(name, -1) for name in stored["id"].to_pylist()], np.int64)
        missing = pa.array(positions < 0)
        rows = pa.array(positions, mask=positions < 0)
        updated = dict[str, Any]()
        for name, column in self._columns.items():
            updated[name] = column.take(rows)
            if missing.true_count:
                updated[name] = pc.if_else(missing, _as_type(stored, name, column.type), updated[name])
        present = [name for name in stored.column_names if name not in ("id", "hash")]
        if sorted(present) == sorted(updated) and all(_same(stored[name], updated[name]) for name in present):
            return None
        return pa.table(updated) if updated else stored.select([])


def _as_type(stored: pa.Table, name: str, kind: pa.DataType) -> Any:
    try:
        return stored[name].cast(kind) if name in stored.column_names else pa.nulls(len(stored), kind)
    except pa.ArrowException:
        if name != "label":
            return pa.nulls(len(stored), kind)
        raise DataError(
            f"labels are {kind} now and were {stored[name].type}, also of samples that are no longer in the data; "
            "drop_missing=True (--drop-missing) removes these"
        ) from None


def _same(stored: pa.ChunkedArray, updated: Any) -> bool:
    """Return whether two columns are the same; where both are not a number, they are."""
    one, other = (
        column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in (stored, updated)
    )
    if one.type != other.type:
        return False
    if pa.types.is_list(one.type):
        return pc.list_value_length(one).equals(pc.list_value_length(other)) and _same(one.flatten(), other.flatten())
    if pa.types.is_floating(one.type):
        one, other = (pc.if_else(pc.is_nan(column), None, column) for column in (one, other))
    return one.equals(other)
