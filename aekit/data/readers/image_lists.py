"""List the images of a folder, of a CSV or Parquet list, or a single file, with their ids, labels and splits."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa

from aekit.data.labels import label_texts, to_label_array
from aekit.data.metadata import Metadata
from aekit.data.readers import tables
from aekit.data.readers._folder_layouts import find_layout, folders_below_classes
from aekit.data.readers._folder_walk import WRITTEN
from aekit.data.readers._image_files import OTHER_IMAGES, unreadable_formats
from aekit.data.readers._label_names import is_likely_label
from aekit.data.readers._listed_paths import (
    forward_slashes,
    image_ids,
    is_image_name,
    lists_images,
    path_column,
    resolve_paths,
)
from aekit.data.readers._one_hot import one_hot_columns, one_hot_labels
from aekit.data.readers.endings import IMAGE_ENDINGS, TABLE_ENDINGS
from aekit.data.readers.folders import list_files, readable_ids, readable_text, relative_files
from aekit.errors import DataError, closest_name
from aekit.registry.options import Field

Masks = Literal["skip", "keep"]
_METADATA = ("metadata.jsonl", "*/metadata.csv", "*/metadata.jsonl")
MasksOption = Annotated[
    Masks,
    Field(description="masks in a folder, such as ground_truth/ and scan_mask.png: skip them, or keep them as samples"),
]


@dataclass(frozen=True)
class Listing:
    """A list of image files.

    Attributes:
        ids: (N,) ids; those of a table do not depend on the column that the paths come from.
        paths: (N,) files.
        labels, splits: (N,) or None, as in `aekit.plugin.Source`.
        note: one line about ignored files, or "".
        losses: lines about samples that are left out or changed.
        metadata: the other columns of a table, as in `aekit.plugin.Source`; or None.
    """

    ids: list[str]
    paths: list[Path]
    labels: np.ndarray | None = None
    splits: np.ndarray | None = None
    note: str = ""
    losses: tuple[str, ...] = ()
    metadata: Metadata | None = None


def list_images(where: str, column: str = "auto", masks: Masks = "skip") -> Listing:
    """List the images of a folder, of a table, or a single file.

    In a folder, ids are relative paths, and folders are splits and classes, as
    `aekit.data.readers._folder_layouts.find_layout` finds them. A table has a column of paths, relative to the table or to a
    folder beside it, and may have ``class`` or ``label``, ``split``, ``id``. Without ``id``, ids come from the column of
    paths if it has a common name, or else from the first column of distinct values.

    Args:
        where: path of the folder, table or image.
        column: column of the paths in a table; ``auto``: by common names, such as ``path`` or ``file_name``, or the only
            column of names of images.
        masks: whether masks of images in a folder are samples.

    Raises:
        DataError: there are no images, they need a package that is not installed, the table cannot be used, or it has no
            `column`.
    """
    root = Path(where)
    listed = root.name.lower().endswith(TABLE_ENDINGS) and not root.is_dir()
    if column != "auto" and not listed:
        raise DataError(f"{root}: column = {column!r}: expected a list of images such as pairs.csv")
    if root.is_dir():
        listing = list_folder(root, masks=masks)
        beside = [root / name for name in sorted(os.listdir(root)) if name.lower().endswith(TABLE_ENDINGS)]
        # As image folders of Hugging Face have them, in each split too.
        described = sorted(path for pattern in _METADATA for path in root.glob(pattern) if path not in beside)
        lists = [path.relative_to(root).as_posix() for path in (*filter(lists_images, beside), *described)]
        if lists:
            hint = f"{', '.join(lists[:3])} lists images; open it for labels that it may hold"
            listing = replace(listing, note="; ".join(filter(None, [listing.note, hint])))
    elif listed:
        listing = _list(root, column)
    else:
        ids, renamed = readable_ids([Path(root.name)])
        listing = Listing(ids, [root], losses=(renamed,) if renamed else ())
    unreadable = unreadable_formats(listing.paths)
    if unreadable.total() == len(listing.paths):
        raise DataError(f"{root}: none of {len(listing.paths)} images can be read: {next(iter(unreadable))}")
    lines = [f"{count} of {len(listing.paths)} images cannot be read: {reason}" for reason, count in unreadable.items()]
    return replace(listing, losses=(*listing.losses, *lines))


def list_folder(
    root: Path, endings: tuple[str, ...] = IMAGE_ENDINGS, what: str = "images", masks: Masks = "skip"
) -> Listing:
    """List the files with one of these endings below a folder; ids, classes and splits as in `list_images`.

    Args:
        root: the folder.
        endings: endings of the files, in lower case.
        what: name of the files in messages.
        masks: whether masks, as `aekit.data.readers._folder_layouts.find_layout` finds them, are samples.

    Raises:
        DataError: there are none.
    """
    files = list(list_files(root, endings))
    ignored = Counter(reason for _, reason in files if reason)
    paths = relative_files(root, (path for path, reason in files if not reason))
    if not paths:
        raise DataError(f"{root}: no {what}; {_found(ignored)}looked for {', '.join(endings)}")
    layout = find_layout(paths, what, masks == "keep")
    paths = [paths[row] for row in layout.kept]
    ids, renamed = readable_ids(paths)
    written, losses = ignored.pop(WRITTEN, 0), list(layout.losses)
    if written:
        outputs = "1 output of aekit is" if written == 1 else f"{written} outputs of aekit are"
        losses.append(f"{outputs} left out")
    losses += [renamed] if renamed else []
    other = Counter({reason: ignored.pop(reason) for reason in OTHER_IMAGES if what == "images" and reason in ignored})
    if other:
        losses.append(f"{other.total()} images in formats that aekit does not read are left out ({_kinds(other)})")
    labels = layout.labels
    others = f"1 file other than {what} is"
    if ignored.total() > 1:
        others = f"{ignored.total()} files that are not {what} are"
    notes = [f"{others} ignored ({_kinds(ignored)})"] if ignored else []
    notes.append("" if labels is None else folders_below_classes(paths, labels.tolist()))
    return Listing(
        ids=ids,
        paths=[root / path for path in paths],
        labels=labels if labels is None else np.array([readable_text(name) for name in labels.tolist()]),
        splits=layout.splits,
        note="; ".join(filter(None, notes)),
        losses=tuple(losses),
    )


def _kinds(ignored: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in ignored.most_common(5))


def _found(ignored: Counter[str]) -> str:
    return f"found {_kinds(ignored)}; " if ignored else ""


def _list(path: Path, column: str) -> Listing:
    """Read a table with a row for each image; `column` names that of the paths, or is ``auto``."""
    table = tables.read_table(path)
    if any(map(is_image_name, table.column_names)) or table.column_names == list(map(str, range(table.num_columns))):
        table = _without_header(table)
    names = table.column_names
    heads = {name: table[name].slice(0, HEAD).to_pylist() for name in names}
    default = path_column(names, heads)
    chosen = _choose_path_column(path, table, heads, default) if column == "auto" else column
    if chosen not in names:
        raise DataError(f"{path}: no column {chosen!r}{closest_name(chosen, names)}")
    listed = tables.to_strings(table[chosen]).tolist()
    if "" in listed:
        raise DataError(f"{path}: row {listed.index('')} has no {chosen}")
    files, notes, losses = resolve_paths(path, listed, chosen)
    split, named = (tables.find_column(names, (expected,)) for expected in ("split", "id"))
    ids = _ids(table, named or default)
    if not named:  # the ids are paths
        ids = list(map(forward_slashes, ids))
    elif named != chosen:
        notes.append(tables.say_ids(named))
    labels, others, lines = _find_labels(table, [name for name in names if name not in (chosen, named, split)])
    listing = Listing(
        ids=ids,
        paths=files,
        labels=labels,
        splits=tables.to_splits(table[split], path) if split else None,
        note="; ".join([*notes, *lines, *tables.remarks(table)]),
        losses=tuple(losses),
        metadata=Metadata.of(table.select(others), [name for name in others if not _holds_images(table[name])]),
    )
    # A list of nothing but paths that repeat is a mistake.
    return _each_once(listing) if named in (None, chosen) and (labels is not None or others) else listing


def _choose_path_column(path: Path, table: pa.Table, heads: dict[str, list[Any]], default: str | None) -> str:
    """Return the column of the paths: that of a common name, or the only one that names images."""
    if default is not None:
        return default
    naming = [name for name in table.column_names if _holds_images(table[name])]
    naming = naming or [name for name in [image_ids(path, heads)] if name]
    if len(naming) == 1:
        return naming[0]
    choice = f"; {' and '.join(naming)} name images: choose one by column" if naming else ""
    expected = " or ".join(tables.PATH_COLUMNS)
    raise DataError(f"{path}: no column {expected}; available: {', '.join(table.column_names)}{choice}")


def _find_labels(table: pa.Table, names: list[str]) -> tuple[np.ndarray | None, list[str], list[str]]:
    """Return the labels of a list of images or None, the columns that are not labels, and notes.

    Args:
        table: the list.
        names: columns other than those of paths, ids and splits.
    """
    label = tables.find_column(names, tables.LABEL_COLUMNS)
    if len(names) == 1 and len(table.column_names) == 2 and table.column_names[0] == UNNAMED:
        label = names[0]
    if label and not _holds_images(table[label]):
        return tables.to_labels(table[label]), [name for name in names if name != label], []
    if len(names) == 1 and _repeats(table[names[0]]):
        note = f"column {names[0]!r} is the label, as it alone is beside the images"
        return tables.to_labels(table[names[0]]), [], [note]
    if one_hot := one_hot_columns(table, names):
        notes, classes = one_hot_labels(table, one_hot)
        return classes, [name for name in names if classes is None or name not in one_hot], notes
    likely = [name for name in names if is_likely_label(name) and _repeats(table[name])]
    return None, names, [f"if {likely[0]!r} is the label, name it 'label'"] if len(likely) == 1 else []


def _repeats(column: pa.ChunkedArray) -> bool:
    """Return whether a column has few values, as labels have."""
    count = len(set(tables.to_strings(column).tolist()) - {""})
    return 2 <= count <= len(column) // 2


def _each_once(listing: Listing) -> Listing:
    """Return a listing without rows that name an image again, as lists of boxes do; images with several labels have none."""
    first: dict[str, int] = {}
    for row, name in enumerate(listing.ids):
        first.setdefault(name, row)
    again = len(listing.ids) - len(first)
    if not again:
        return listing
    kept, labels, ambiguous = list(first.values()), listing.labels, set[str]()
    if labels is not None:
        texts = label_texts(labels)
        ambiguous = {name for name, text in zip(listing.ids, texts) if text != texts[first[name]]}
        labels = to_label_array([None if listing.ids[row] in ambiguous else labels[row] for row in kept])
    line = f"{again} of {len(listing.ids)} rows name an image again: each image is used once"
    line += f"; {len(ambiguous)} images have several labels, and so none, e.g. {min(ambiguous)!r}" if ambiguous else ""
    return replace(
        listing,
        ids=list(first),
        paths=[listing.paths[row] for row in kept],
        labels=labels,
        splits=None if listing.splits is None else listing.splits[kept],
        losses=(*listing.losses, line),
        metadata=None if listing.metadata is None else listing.metadata.repeated(kept),
    )


HEAD = 100
"""Number of rows that tell which column holds paths."""
UNNAMED = "path"
"""Name of the column of paths in a list without a header."""


def _without_header(table: pa.Table) -> pa.Table:
    """Return a table without a header, with the paths in front and names of its columns.

    Its first line may have been taken for names; it becomes the first row.
    """
    names = table.column_names
    rows = list(zip(*(tables.to_strings(column).tolist() for column in table.columns)))
    rows = [tuple(names), *rows] if any(map(is_image_name, names)) else rows
    paths = next((number for number, value in enumerate(rows[0]) if is_image_name(value)), 0)
    order = [paths, *(number for number in range(len(names)) if number != paths)]
    new_names = [UNNAMED, *(f"column {number}" for number in order[1:])]
    return pa.table({name: pa.array([row[number] for row in rows]) for name, number in zip(new_names, order)})


def _ids(table: pa.Table, column: str | None) -> list[str]:
    """Return the ids of the images of a table, which do not depend on the column that their paths come from."""
    for name in [column] if column else table.column_names:
        values = tables.to_strings(table[name]).tolist()
        if column or len(set(values) - {""}) == len(values):
            return values
    return [str(row) for row in range(table.num_rows)]


def _holds_images(column: pa.ChunkedArray) -> bool:
    """Return whether a column such as ``target`` names image files, which are not classes."""
    return not tables.is_numeric(column) and all(map(is_image_name, column.to_pylist()))
