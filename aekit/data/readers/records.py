"""Read tables whose cells are samples: encoded images, paths of images, or lists of numbers.

Parquet and Arrow files of Hugging Face data sets, Lance data sets, JSON lines and tables in memory have such columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.contents import Contents
from aekit.data.metadata import Metadata
from aekit.data.readers import tables
from aekit.data.readers._parquet_files import parquet_columns
from aekit.data.readers._record_types import (
    class_names,
    huggingface_features,
    innermost,
    is_binary,
    is_list,
    is_number,
    is_text,
)
from aekit.data.readers.endings import SOUND_ENDINGS, TABLE_ENDINGS, VIDEO_ENDINGS
from aekit.data.readers.folders import files_in
from aekit.data.readers.record_rows import Records, TableRecords
from aekit.data.readers.shards import holds_only
from aekit.data.reading import reason_of
from aekit.errors import DataError, closest_name

_IMAGE_NAMES = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "pixels")
_LIST_NAMES = ("vector", "embedding", "embeddings", "features", "feature", "emb", "x", "values", "data")
_PATH_NAMES = (*tables.PATH_COLUMNS, "file_name", "image_path", "filepath", "img_path")
_FIRST_PATHS = 100
"""Paths that tell whether a column names images."""
_LABEL_NAMES = (*tables.LABEL_COLUMNS, "labels", "category", "fine_label", "cls")
_ID_NAMES = ("id", "image_id", "_id", "key", "__key__")

SampleKind = Literal["image", "list", "path"]


def image_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of encoded images: structs of ``bytes`` and ``path`` as Hugging Face writes them, or bytes in a column
    whose name says so."""
    features = huggingface_features(schema)
    return [
        field.name
        for field in schema
        if _is_image(field.type, field.name) and features.get(field.name, {}).get("_type", "Image") == "Image"
        if field.name.lower() != "audio"
    ]


def parquet_schema(path: Path) -> pa.Schema | None:
    """Return the columns of a Parquet file, or of the first one in a folder without images; None if there is none."""
    if path.is_dir():
        if not holds_only(path, (".parquet",)):
            return None
        path = next(files_in(path, (".parquet",)))
    if not path.is_file() or not path.name.lower().endswith(".parquet"):
        return None
    try:
        schema = parquet_columns(path)
    except DataError:  # whoever reads it whole says what is wrong
        return None
    return schema if schema.names else None


def list_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of lists of numbers, nested or not."""
    return [field.name for field in schema if is_list(field.type) and is_number(innermost(field.type))]


@dataclass(frozen=True)
class RecordColumns:
    """The columns of records that are used.

    Attributes:
        sample: column of the samples.
        kind: whether its cells are images, lists of numbers, or paths.
        label: column of the labels, or None.
        class_names: names of the labels 0, 1, ..., or () if the column holds what it means.
        ids: column of the ids, or None.
        split: column of the splits, or None.
    """

    sample: str
    kind: SampleKind
    label: str | None
    class_names: tuple[str, ...]
    ids: str | None
    split: str | None


def choose_record_columns(schema: pa.Schema, place: str, column: str = "auto", label: str = "auto") -> RecordColumns:
    """Choose the columns of samples, labels, ids and splits.

    Args:
        schema: the columns.
        place: where they come from, for messages.
        column: column of the samples; ``auto``: the only one of images, else of lists, else of paths, or a usual name.
        label: column of the labels; ``auto``: a usual name, or the only one with class names; ``none``: no labels.

    Raises:
        DataError: a chosen column is missing or no samples, there is no column of samples, or there are several.
    """
    candidates: dict[SampleKind, list[str]] = {
        "image": image_columns(schema),
        "list": list_columns(schema),
        "path": [name for name in schema.names if name.lower() in _PATH_NAMES and is_text(schema.field(name).type)],
    }
    usual = {"image": _IMAGE_NAMES, "list": _LIST_NAMES, "path": _PATH_NAMES}
    for name in (column, label):
        if name not in ("auto", "none", *schema.names):
            raise DataError(f"{place}: no column {name!r}{closest_name(name, schema.names)}")
    kinds = [kind for kind, names in candidates.items() if (column in names if column != "auto" else names)]
    if not kinds:
        listed = ", ".join(f"{field.name} ({field.type})" for field in schema)[:300]
        what = "no column of" if column == "auto" else f"column {column!r} holds neither"
        raise DataError(f"{place}: {what} encoded images, lists of numbers or paths; its columns: {listed}")
    kind, names = kinds[0], candidates[kinds[0]]
    if column == "auto":
        named = tables.find_column(names, usual[kind])
        if len(names) > 1 and named is None:
            raise DataError(f"{place}: {len(names)} columns hold samples; choose one by column: {', '.join(names)}")
        column = named or names[0]
    classes = class_names(schema)
    others = [name for name in schema.names if name != column]
    if label == "auto":
        label_column = tables.find_column(others, _LABEL_NAMES) or (next(iter(classes)) if len(classes) == 1 else None)
    else:
        label_column = None if label == "none" else label
    split = tables.find_column(others, ["split"])
    ids = tables.find_column([name for name in others if name != label_column], _ID_NAMES)
    return RecordColumns(column, kind, label_column, classes.get(label_column or "", ()), ids, split)


def read_records(
    records: Records, place: str, *, column: str = "auto", label: str = "auto", base: Path | None = None
) -> Contents:
    """Read the samples, labels, ids and splits of records; images stay encoded.

    A table in memory without images, lists and paths is read as vectors, of its columns of numbers.

    Args:
        records: the rows.
        place: where they come from, for messages.
        column: as in `choose_record_columns`.
        label: as in `choose_record_columns`.
        base: folder that paths start from.

    Raises:
        DataError: as `choose_record_columns`; or there are no rows, lists differ in length, or text is not UTF-8.
    """
    try:
        return _read_records(records, place, column, label, base)
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: holds text that is not UTF-8 ({error.reason}); is it damaged?") from None
    except pa.ArrowException as error:
        raise DataError(f"{place}: {reason_of(error)}") from None


def _read_records(records: Records, place: str, column: str, label: str, base: Path | None) -> Contents:
    if not len(records):
        raise DataError(f"{place}: no samples in it")
    tables.check_names(records.schema.names, place)
    is_numeric = not has_samples(records.schema) and not _has_paths_column(records.schema)
    if column == "auto" and is_numeric and isinstance(records, TableRecords):
        return _numeric_table(records, place)
    chosen = choose_record_columns(records.schema, place, column, label)
    notes = tables.remarks(records.table) if isinstance(records, TableRecords) else []
    losses = list[str]()
    splits = tables.to_splits(records.column(chosen.split), place) if chosen.split else records.splits
    labels = None
    if chosen.label:
        labels = _labels(records.column(chosen.label), chosen, place)
        notes.append(f"column {chosen.sample!r} holds the samples, {chosen.label!r} the labels")
    ids: list[str] | None = None
    if chosen.ids:
        ids, id_lines = tables.to_ids(records.column(chosen.ids), chosen.ids)
        notes += [tables.say_ids(chosen.ids)] if ids else []
        losses += id_lines
    elif chosen.kind == "image":
        paths = records.paths(chosen.sample)
        ids = [str(path) for path in paths] if all(paths) and len(set(paths)) == len(paths) else None
    unused = [n for n in records.schema.names if n not in (chosen.sample, chosen.label, chosen.ids, chosen.split)]
    if unused:
        notes.append(
            f"columns that are not part of the samples: {', '.join(unused[:10])}{', ...' if len(unused) > 10 else ''}"
        )
    samples: np.ndarray | Sequence[bytes | Path]
    if chosen.kind == "list":
        samples = to_array(records.column(chosen.sample), f"{place}: column {chosen.sample!r}")
    else:
        if chosen.kind == "path":
            _refuse_other_files(records.column(chosen.sample), f"{place}: column {chosen.sample!r}")
        samples = _EncodedCells(records.cells(chosen.sample), base or Path())
        if chosen.kind == "path" and ids is None:
            names = [str(value) for value in records.column(chosen.sample).to_pylist()]
            ids = names if len(set(names)) == len(names) else None
    small = [
        name
        for name in unused
        if not pa.types.is_nested(kind := records.schema.field(name).type) and not is_binary(kind)
    ]
    metadata = Metadata({name: partial(_named, records, name) for name in unused}, small)
    return Contents(samples, labels, ids, splits, tuple(notes), tuple(losses), place, records.blocks, metadata)


def _refuse_other_files(column: pa.ChunkedArray, place: str) -> None:
    """Refuse paths of tables and other files, as packages of data list them; names may have no ending, or an unknown one."""
    paths = [str(path) for path in column.slice(0, _FIRST_PATHS).to_pylist() if path]
    if paths and all(path.lower().endswith((*TABLE_ENDINGS, *SOUND_ENDINGS, *VIDEO_ENDINGS)) for path in paths):
        raise DataError(f"{place} names files that are no images, e.g. {paths[0]!r}; open these files")


def _named(records: Records, name: str) -> pa.ChunkedArray:
    """Read a column of records, with the names of classes where it holds their numbers."""
    column, names = records.column(name), class_names(records.schema).get(name)
    if not names or not pa.types.is_integer(column.type):
        return column
    known = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(names)))
    return pa.chunked_array([pa.array(names).take(pc.if_else(known, column, None).combine_chunks())])


def to_array(column: pa.ChunkedArray, place: str) -> np.ndarray:
    """Return a column of lists (N, D), or of nested lists (N, ...), as an array.

    Raises:
        DataError: a list is missing or differs in length, or they hold other things than numbers.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    shape = [len(array)]
    while is_list(array.type):
        array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
        if array.null_count:
            row = pc.index(array.is_null(), True).as_py()
            what = f"row {row} has no list" if len(shape) == 1 else "a list is missing inside another"
            raise DataError(f"{place}: {what}; leave such rows out")
        lengths = pc.list_value_length(array)
        if len(array) and (differing := pc.not_equal(lengths, lengths[0])).true_count:
            row = pc.index(differing, True).as_py()
            raise DataError(
                f"{place}: a list has {lengths[row]} entries, the first has {lengths[0]} (row {row // math.prod(shape[1:])}); "
                "expected lists of one length"
            )
        shape.append(lengths[0].as_py() if len(array) else 0)
        array = array.flatten()
    if not is_number(array.type):
        raise DataError(f"{place}: holds lists of {array.type}; expected numbers")
    values = array.to_numpy(zero_copy_only=False)
    values = values.astype(np.float32) if values.dtype == np.float16 else values
    return np.ascontiguousarray(values).reshape(shape)


def has_samples(schema: pa.Schema) -> bool:
    """Return whether cells are samples, rather than rows of numbers: images, or lists with a usual name or no numbers beside."""
    lists = list_columns(schema)
    return bool(image_columns(schema)) or bool(
        lists and (tables.find_column(lists, _LIST_NAMES) or not _has_numbers(schema))
    )


def has_paths_alone(schema: pa.Schema) -> bool:
    """Return whether there is a column of paths, and no numbers that may be the samples."""
    return _has_paths_column(schema) and not _has_numbers(schema)


def _has_paths_column(schema: pa.Schema) -> bool:
    return any(field.name.lower() in _PATH_NAMES and is_text(field.type) for field in schema)


def _has_numbers(schema: pa.Schema) -> bool:
    reserved = (*_LABEL_NAMES, *_ID_NAMES, "split")
    return any(is_number(field.type) and field.name.lower() not in reserved for field in schema)


def _numeric_table(records: TableRecords, place: str) -> Contents:
    table = records.table
    if records.splits is not None and "split" not in table.column_names:
        table = table.append_column("split", pa.array(records.splits.tolist()))
    return Contents(table, place=place)


def _labels(column: pa.ChunkedArray, chosen: RecordColumns, place: str) -> np.ndarray:
    if is_list(column.type) or pa.types.is_struct(column.type):
        raise DataError(
            f"{place}: column {chosen.label!r} holds {column.type}; expected one label a row, or label = none"
        )
    if not chosen.class_names or not pa.types.is_integer(column.type):
        return tables.to_labels(column)
    numbers, names = column.to_pylist(), chosen.class_names
    for number in numbers:
        if number is not None and number >= len(names):
            raise DataError(f"{place}: column {chosen.label!r} holds {number}, but names {len(names)} classes")
    # Hugging Face writes -1 where a label is withheld.
    return np.array(["" if number is None or number < 0 else names[number] for number in numbers])


class _EncodedCells(Sequence[bytes | Path]):
    """Cells as the bytes of images, or the paths of image files; empty bytes where an image is missing."""

    def __init__(self, cells: Sequence[Any], base: Path) -> None:
        self._cells, self._base = cells, base

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, row: Any) -> Any:
        try:
            cell = self._cells[row]
        except (DataError, pa.ArrowException, OSError, UnicodeDecodeError):
            return b"damaged"  # a part of the file, which costs its rows alone
        content, path = (None, cell) if isinstance(cell, str) else (cell, None)
        if isinstance(cell, Mapping):
            content, path = cell.get("bytes"), cell.get("path")
        if content is None and path:
            return self._base / path.replace("\\", "/")
        return content or b""


def _is_image(kind: pa.DataType, name: str) -> bool:
    if pa.types.is_struct(kind):
        return "bytes" in kind.names and is_binary(kind.field("bytes").type)
    # Other bytes, such as hashes, are not images.
    return is_binary(kind) and (name.lower() in _IMAGE_NAMES or "image" in name.lower() or "img" in name.lower())
