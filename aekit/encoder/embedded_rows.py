"""Hold embedded samples in memory, and convert them to and from tables of Arrow."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aekit.errors import DataError
from aekit.io.arrow import arrow_numbers, arrow_texts, arrow_values

if TYPE_CHECKING:
    from aekit.encoder.inference import Precision

OWN_COLUMNS = ("id", "vector", "label", "split", "hash")
"""Columns of a part besides its metadata, in their order."""


@dataclass(frozen=True)
class Rows:
    """Embedded samples.

    Attributes:
        ids: (N,) ids.
        vectors: (N, D) float32.
        labels: (N,) or None.
        splits: (N,) of str or None.
        hashes: (N,) content hashes.
        metadata: table of N rows with further columns, or None.
    """

    ids: Sequence[str]
    vectors: np.ndarray
    labels: np.ndarray | None
    splits: np.ndarray | None
    hashes: Sequence[str]
    metadata: pa.Table | None = None


def column_order(name: str) -> int:
    """Return the place of a column in a part: behind `OWN_COLUMNS`, the metadata has an order of its own."""
    return OWN_COLUMNS.index(name) if name in OWN_COLUMNS else len(OWN_COLUMNS)


def to_table(rows: Rows, digest: str, precision: Precision) -> pa.Table:
    """Return the table of a part: id, vector, hash, and label and split where present; and its metadata.

    The digest and the precision are in the metadata of the schema.
    """
    vectors = pa.FixedSizeListArray.from_arrays(arrow_numbers(rows.vectors.ravel()), rows.vectors.shape[1])
    columns = {"id": arrow_texts(rows.ids), "vector": vectors}
    if rows.labels is not None:
        is_text = rows.labels.dtype.kind == "U"
        columns["label"] = arrow_texts(rows.labels) if is_text else pa.array(rows.labels.tolist())
    if rows.splits is not None:
        columns["split"] = arrow_texts(rows.splits)
    columns["hash"] = arrow_texts(rows.hashes)
    if rows.metadata is not None:
        columns |= {name: rows.metadata[name] for name in rows.metadata.column_names}
    return pa.table(columns).replace_schema_metadata({"aekit.digest": digest, "aekit.precision": precision})


def from_table(table: pa.Table) -> Rows:
    """Return the rows of a part."""
    vectors = table["vector"].combine_chunks()
    dim = table.schema.field("vector").type.list_size
    flat = arrow_values(vectors.flatten())
    column = {
        name: arrow_values(table[name].combine_chunks()) for name in ("label", "split") if name in table.column_names
    }
    labels, splits = column.get("label"), column.get("split")
    return Rows(
        table["id"].to_pylist(),
        flat.reshape(-1, dim),
        labels.astype(str) if labels is not None and labels.dtype == object else labels,
        splits.astype(str) if splits is not None else None,
        table["hash"].to_pylist(),
        metadata_of(table),
    )


def metadata_of(table: pa.Table) -> pa.Table | None:
    """Return the further columns of a part; None if there are none."""
    names = [name for name in table.column_names if name not in OWN_COLUMNS]
    return table.select(names).replace_schema_metadata() if names else None


def check_counts(count: int, **columns: Sized | None) -> None:
    """Check that columns, by name, have as many entries as there are vectors.

    Raises:
        DataError: one has not.
    """
    for name, values in columns.items():
        if values is not None and len(values) != count:
            raise DataError(f"{len(values)} {name} for {count} vectors: expected one each")


def concatenate_rows(parts: list[Rows], dim: int) -> Rows:
    """Concatenate rows; labels, splits and metadata are kept if all parts have them."""
    if not parts:
        return Rows([], np.empty((0, dim), np.float32), None, None, [])

    def together(arrays: list[np.ndarray | None]) -> np.ndarray | None:
        present = [array for array in arrays if array is not None]
        return np.concatenate(present) if len(present) == len(arrays) else None

    tables = [part.metadata for part in parts if part.metadata is not None]
    return Rows(
        [name for part in parts for name in part.ids],
        np.concatenate([part.vectors for part in parts]),
        together([part.labels for part in parts]),
        together([part.splits for part in parts]),
        [stamp for part in parts for stamp in part.hashes],
        pa.concat_tables(tables) if len(tables) == len(parts) else None,
    )


def select_rows(rows: Rows, indices: np.ndarray) -> Rows:
    """Return the rows at (M,) indices."""
    labels, splits = (None if column is None else column[indices] for column in (rows.labels, rows.splits))
    ids, hashes = ([column[row] for row in indices.tolist()] for column in (rows.ids, rows.hashes))
    metadata = None if rows.metadata is None else rows.metadata.take(arrow_numbers(indices))
    return Rows(ids, rows.vectors[indices], labels, splits, hashes, metadata)


def preview(rows: Rows, count: int = 5) -> list[dict[str, Any]]:
    """Return the first rows as short text: id, label, split and metadata, and the first entries of the vector."""
    rows = select_rows(rows, np.arange(min(len(rows.ids), count)))
    more = ", ..." if rows.vectors.shape[1] > 4 else ""
    return [
        {name: values[row] for name, values in _columns(rows).items()}
        | {"vector": ", ".join(f"{value:.3g}" for value in rows.vectors[row, :4]) + more}
        for row in range(len(rows.ids))
    ]


def as_columns(rows: Rows) -> dict[str, Any]:
    """Return name -> values (N,): id, label, split and metadata, and ``0`` to ``D - 1`` for the entries of vectors."""
    return _columns(rows) | {str(place): rows.vectors[:, place] for place in range(rows.vectors.shape[1])}


def _columns(rows: Rows) -> dict[str, Any]:
    columns = {"id": list(rows.ids), "label": rows.labels, "split": rows.splits}
    metadata = {} if rows.metadata is None else rows.metadata.to_pydict()
    return {name: values for name, values in columns.items() if values is not None} | metadata
