"""List the images of a folder, of a CSV or Parquet list, or a single file, with their ids, labels and splits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from aekit.data.readers import tables
from aekit.data.readers.folders import list_files, natural_key
from aekit.data.readers.image_headers import IMAGE_ENDINGS
from aekit.errors import DataError, closest_name


@dataclass(frozen=True)
class Listing:
    """A list of image files.

    Attributes:
        ids: (N,) ids; those of a table do not depend on the column that the paths come from.
        paths: (N,) files.
        labels, splits: (N,) or None, as in `aekit.plugin.Source`.
        note: one line about ignored files, or "".
    """

    ids: list[str]
    paths: list[Path]
    labels: np.ndarray | None = None
    splits: np.ndarray | None = None
    note: str = ""


def list_images(where: str, column: str = "auto") -> Listing:
    """List the images of a folder, of a table, or a single file.

    In a folder, ids are relative paths, folders are classes, and top folders ``train``, ``val``, ``test`` are splits. A table
    has a column of paths, relative to the table, and may have ``class`` or ``label``, ``split``, ``id``. Without ``id``, ids
    come from the column ``path`` (or ``file``, ``filename``, ``image``), or else from the first column of distinct values.

    Args:
        where: path of the folder, table or image.
        column: column of the paths in a table; ``auto``: ``path``, ``file``, ``filename`` or ``image``.

    Raises:
        DataError: there are no images, the table cannot be used, or it has no `column`.
    """
    root = Path(where)
    listed = root.name.lower().endswith(tables.TABLE_ENDINGS) and not root.is_dir()
    if column != "auto" and not listed:
        raise DataError(f"{root}: column = {column!r}: expected a list of images such as pairs.csv")
    if root.is_dir():
        return list_folder(root)
    return _list(root, column) if listed else Listing([root.name], [root])


def list_folder(root: Path, endings: tuple[str, ...] = IMAGE_ENDINGS, what: str = "images") -> Listing:
    """List the files with one of these endings below a folder; ids, classes and splits as in `list_images`.

    Raises:
        DataError: there are none.
    """
    files = list(list_files(root, endings))
    ignored = Counter(reason for _, reason in files if reason)
    paths = sorted((path.relative_to(root) for path, reason in files if not reason), key=natural_key)
    if not paths:
        raise DataError(f"{root}: no {what}; looked for {', '.join(endings)}")
    folders = [path.parent.parts for path in paths]
    names = [tables.split_named(parts[0]) if parts else None for parts in folders]
    splits = np.array(names) if all(names) else None
    if splits is not None:
        folders = [parts[1:] for parts in folders]
    labels = np.array([parts[0] if parts else "" for parts in folders])
    kinds = ", ".join(f"{count} {reason}" for reason, count in ignored.most_common(5))
    return Listing(
        ids=[path.as_posix() for path in paths],
        paths=[root / path for path in paths],
        labels=labels if len(set(labels.tolist()) - {""}) > 1 else None,
        splits=splits,
        note=f"{ignored.total()} files that are not {what} are ignored ({kinds})" if ignored else "",
    )


def _list(path: Path, column: str) -> Listing:
    table = tables.read_table(path)
    names = table.column_names
    default = tables.find_column(names, tables.PATH_COLUMNS)
    if column != "auto" and column not in names:
        raise DataError(f"{path}: no column {column!r}{closest_name(column, names)}")
    chosen = default if column == "auto" else column
    if chosen is None:
        raise DataError(f"{path}: no column {' or '.join(tables.PATH_COLUMNS)}; available: {', '.join(names)}")
    files = tables.to_strings(table[chosen]).tolist()
    if "" in files:
        raise DataError(f"{path}: row {files.index('')} has no {chosen}")
    label, split = (tables.find_column(names, expected) for expected in (tables.LABEL_COLUMNS, ("split",)))
    return Listing(
        ids=_ids(table, tables.find_column(names, ("id",)) or default),
        paths=[path.parent / name for name in files],
        labels=tables.to_labels(table[label]) if label and not _holds_images(table[label]) else None,
        splits=tables.to_splits(table[split], path) if split else None,
        note="; ".join(tables.remarks(table)),
    )


def _ids(table: pa.Table, column: str | None) -> list[str]:
    """Return the ids of the images of a table, which do not depend on the column that their paths come from."""
    for name in [column] if column else table.column_names:
        values = tables.to_strings(table[name]).tolist()
        if column or len(set(values) - {""}) == len(values):
            return values
    return [str(row) for row in range(table.num_rows)]


def _holds_images(column: pa.ChunkedArray) -> bool:
    """Return whether a column such as ``target`` names image files, which are not classes."""
    return not tables.is_numeric(column) and all(
        str(name).lower().endswith(IMAGE_ENDINGS) for name in column.to_pylist()
    )
