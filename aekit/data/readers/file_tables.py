"""Find what a table beside files, such as ``metadata.csv``, says of each: a machine, a price, a date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pyarrow as pa

from aekit.data.metadata import Metadata
from aekit.data.readers import tables
from aekit.data.readers._listed_paths import forward_slashes, path_column
from aekit.data.readers.image_lists import HEAD, Listing
from aekit.errors import DataError, closest_name
from aekit.registry.options import Field

NAMES = ("metadata.csv", "metadata.tsv", "metadata.parquet")
"""Files in a folder that are such tables where they have a column of paths."""
MetadataOption = Annotated[
    str,
    Field(
        description="table with a column of files, such as file_name, and further columns for embeddings; "
        "auto: metadata.csv, .tsv or .parquet in the folder; none: no table"
    ),
]


@dataclass(frozen=True)
class FileTable:
    """What a table says of files.

    Attributes:
        path: the table.
        files: (M,) paths of files, relative to the folder of the data, or their ends.
        columns: its other columns, of M rows.
    """

    path: Path
    files: Sequence[str]
    columns: pa.Table


def describe_files(listing: Listing, root: Path, metadata: str) -> Listing:
    """Return a listing of files with the metadata (N,) that a table has of them, without the table, and with lines about it.

    Args:
        listing: the files.
        root: folder that they are in, or the only file.
        metadata: path of the table, absolute or relative to the folder; ``auto``: one of `NAMES` in it, if it names one of the
            files; ``none``: no table.

    Raises:
        DataError: the table that is asked for is not there, has no column of paths or names no file; two rows are about one file.
    """
    table = _find_table(root, metadata)
    if table is None:
        return listing
    kept = [row for row, path in enumerate(listing.paths) if path != table.path]
    listing = replace(
        listing,
        ids=[listing.ids[row] for row in kept],
        paths=[listing.paths[row] for row in kept],
        labels=None if listing.labels is None else listing.labels[kept],
        splits=None if listing.splits is None else listing.splits[kept],
    )
    rows, by_name = dict[Path, int](), _by_name(listing.paths, root)
    unused: list[str] = []
    for row, name in enumerate(table.files):
        path = by_name.get(forward_slashes(name).removeprefix("./"))
        if path is None:
            unused.append(name)
        elif path in rows:
            raise DataError(f"{table.path}: rows {rows[path]} and {row} are both about {name!r}; expected one")
        else:
            rows[path] = row
    if not rows:
        nearest = closest_name(table.files[0], list(by_name)[:2000])
        raise DataError(
            f"{table.path}: none of its {len(table.files)} rows is about a file of {root}{nearest}; "
            "metadata = 'none' leaves it out"
        )
    lacking = [name for name, path in zip(listing.ids, listing.paths) if path not in rows]
    losses, name = list(listing.losses), table.path.name
    if lacking:
        losses.append(f"{name}: {len(lacking)} of {len(listing.paths)} files are not in it, e.g. {lacking[0]!r}")
    if unused:
        losses.append(f"{name}: {len(unused)} of its rows are about no file, e.g. {unused[0]!r}")
    return replace(
        listing,
        metadata=Metadata.of(table.columns.take(pa.array([rows.get(path) for path in listing.paths], pa.int64()))),
        losses=tuple(losses),
        note="; ".join(filter(None, [listing.note, f"the columns of {name} are metadata of the files"])),
    )


def _find_table(root: Path, metadata: str) -> FileTable | None:
    folder = root if root.is_dir() else root.parent
    if metadata == "none" or (metadata == "auto" and not root.is_dir()):
        return None
    if metadata == "auto":
        tables_there = (_read(folder / name) for name in NAMES if (folder / name).is_file())
        return next((table for table in tables_there if table is not None), None)
    path = folder / metadata
    if not path.is_file():
        raise DataError(f"metadata = {metadata!r}: no file {path}; expected a table with a column of files")
    table = _read(path)
    if table is None:
        names = ", ".join(tables.column_names(path))
        raise DataError(f"{path}: no column of files such as file_name; available: {names}")
    return table


def _read(path: Path) -> FileTable | None:
    """Read a table, or return None if it has no column of paths."""
    table = tables.read_table(path)
    names = table.column_names
    column = path_column(names, {name: table[name].slice(0, HEAD).to_pylist() for name in names})
    if column is None:
        return None
    return FileTable(path, tables.to_strings(table[column]).tolist(), table.drop_columns([column]))


def _by_name(paths: Sequence[Path], root: Path) -> dict[str, Path]:
    """Return the files by their paths relative to a folder; by their names and stems, too, where these differ."""
    folder = root if root.is_dir() else root.parent
    by_name: dict[str, Path] = {}
    for spelled in (lambda path: path.stem, lambda path: path.name):
        names = [spelled(path) for path in paths]
        counts = Counter(names)
        by_name |= {name: path for name, path in zip(names, paths) if counts[name] == 1}
    return by_name | {path.relative_to(folder).as_posix(): path for path in paths}
