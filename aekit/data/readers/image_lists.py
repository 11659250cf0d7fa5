"""Which images there are: those of a folder, of a CSV or Parquet list, or a single file, with their names, labels and
splits."""

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
    """Images that are there to be read.

    Attributes:
        ids: (N,) names; those of a list are the same whichever of its columns the images come from.
        paths: (N,) files.
        labels, splits: (N,), or None; as in `aekit.Source`.
        note: one line about what was left out, or "".
    """

    ids: list[str]
    paths: list[Path]
    labels: np.ndarray | None = None
    splits: np.ndarray | None = None
    note: str = ""


def list_images(where: str, column: str = "auto") -> Listing:
    """The images of a folder, a list, or a single file.

    In a folder, names are relative paths, folders are classes, and ``train``, ``val``, ``test`` at the top are splits. A
    list has a column of paths, relative to the list, and may have ``class`` or ``label``, ``split``, ``id``. Without
    ``id``, names are the column ``path`` (or ``file``, ``filename``, ``image``), or else the first in which no two agree.

    Args:
        where: the folder, list or image.
        column: of a list, the one with the paths; ``auto``: ``path``, ``file``, ``filename`` or ``image``.

    Raises:
        DataError: there are no images, the list is not usable, or `column` is not one of it.
    """
    root = Path(where)
    listed = root.name.lower().endswith(tables.TABLE_ENDINGS) and not root.is_dir()
    if column != "auto" and not listed:
        raise DataError(f"{root}: column = {column!r}: expected a list of images such as pairs.csv")
    if root.is_dir():
        return list_folder(root)
    return _list(root, column) if listed else Listing([root.name], [root])


def list_folder(root: Path, endings: tuple[str, ...] = IMAGE_ENDINGS, what: str = "images") -> Listing:
    """The files of these endings below a folder; names, classes and splits as `list_images` finds them.

    Raises:
        DataError: there are none.
    """
    below = list(list_files(root, endings))
    ignored = Counter(reason for _, reason in below if reason)
    found = sorted((path.relative_to(root) for path, reason in below if not reason), key=natural_key)
    if not found:
        raise DataError(f"{root}: no {what}; looked for {', '.join(endings)}")
    folders = [path.parent.parts for path in found]
    names = [tables.split_named(parts[0]) if parts else None for parts in folders]
    splits = np.array(names) if all(names) else None
    if splits is not None:
        folders = [parts[1:] for parts in folders]
    labels = np.array([parts[0] if parts else "" for parts in folders])
    kinds = ", ".join(f"{count} {reason}" for reason, count in ignored.most_common(5))
    return Listing(
        ids=[path.as_posix() for path in found],
        paths=[root / path for path in found],
        labels=labels if len(set(labels.tolist()) - {""}) > 1 else None,
        splits=splits,
        note=f"{ignored.total()} files that are not {what} are ignored ({kinds})" if ignored else "",
    )


def _list(path: Path, column: str) -> Listing:
    table = tables.read_table(path)
    there = table.column_names
    usual = tables.find_column(there, tables.PATH_COLUMNS)
    if column != "auto" and column not in there:
        raise DataError(f"{path}: no column {column!r}{closest_name(column, there)}")
    chosen = usual if column == "auto" else column
    if chosen is None:
        raise DataError(f"{path}: no column {' or '.join(tables.PATH_COLUMNS)}; available: {', '.join(there)}")
    files = tables.to_strings(table[chosen]).tolist()
    if "" in files:
        raise DataError(f"{path}: row {files.index('')} has no {chosen}")
    label, split = (tables.find_column(there, wanted) for wanted in (tables.LABEL_COLUMNS, ("split",)))
    return Listing(
        ids=_names(table, tables.find_column(there, ("id",)) or usual),
        paths=[path.parent / name for name in files],
        labels=tables.to_labels(table[label]) if label and not _holds_images(table[label]) else None,
        splits=tables.to_splits(table[split], path) if split else None,
    )


def _names(table: pa.Table, column: str | None) -> list[str]:
    """What the images of a list are called, which must not depend on the column that they come from."""
    for name in [column] if column else table.column_names:
        found = tables.to_strings(table[name]).tolist()
        if column or len(set(found) - {""}) == len(found):
            return found
    return [str(row) for row in range(table.num_rows)]


def _holds_images(column: pa.ChunkedArray) -> bool:
    """A column ``target`` of image files names the partners of the images, and not their classes."""
    return not tables.is_numeric(column) and all(
        str(name).lower().endswith(IMAGE_ENDINGS) for name in column.to_pylist()
    )
