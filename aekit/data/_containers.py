"""Read samples out of Python containers: lists of images or paths, torch and Hugging Face data sets, dicts, generators."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from aekit.data._arrays import stack_rows
from aekit.data._foreign_arrays import is_of_module, unwrap_foreign
from aekit.data._items import (
    axes_of,
    is_label,
    read_dataset,
    read_iterable,
    read_loader,
    to_numpy,
)
from aekit.data.contents import Contents, ImagesOnDemand
from aekit.data.labels import align_labels, check_label_count, ids_in_index, names_in_index, to_label_array
from aekit.data.readers.image_headers import IMAGE_ENDINGS
from aekit.data.readers.named_arrays import LazyArrays, densify
from aekit.data.readers.numpy_files import LABEL_NAMES, join_arrays
from aekit.data.readers.record_rows import TableRecords
from aekit.data.readers.records import has_paths_alone, has_samples, read_records, to_array
from aekit.data.readers.saved_datasets import dataset_to_table, join_splits
from aekit.data.readers.tables import join_parts, split_named, to_splits, to_table
from aekit.errors import DataError
from aekit.io.tensors import is_tensor


def unwrap(data: Any) -> Contents | None:
    """Return the samples of a container, or None for arrays, tables and lists of arrays, which need no unwrapping.

    Args:
        data: a PIL image, an image file's bytes, a list of images, paths or (sample, label) pairs; a pair of arrays (X, y); a
            dict of arrays; a sparse matrix of SciPy; a pandas Series of arrays; a torch `Dataset`, `IterableDataset` or
            `DataLoader`; a `datasets.Dataset` or `DatasetDict`; or a generator or iterator of samples with or without labels.

    Raises:
        DataError: it holds no samples, or samples of different kinds or shapes, or more than fits in memory.
    """
    if isinstance(data, Image.Image):
        return _images([data])
    if (contents := unwrap_foreign(data)) is not None:
        return contents
    if isinstance(data, (bytes, bytearray)):
        return Contents([bytes(data)], place="the image")
    if _is_sparse(data):
        array, note = densify(data, "the data")
        return Contents(array, notes=(note,))
    if is_of_module(data, "datasets"):
        return _hugging_face(data)
    if is_of_module(data, "pandas", "Series"):
        return _series(data)
    if (torch_data := sys.modules.get("torch.utils.data")) is not None:
        if isinstance(data, torch_data.DataLoader):
            return read_loader(data)
        if isinstance(data, torch_data.Dataset) and not isinstance(data, torch_data.IterableDataset):
            return read_dataset(data)
    if isinstance(data, Mapping):
        return _mapping(data)
    if isinstance(data, tuple) and _is_pair(data):
        return _pair(*data)
    if isinstance(data, (list, tuple)):
        return _sequence(data)
    if isinstance(data, (set, frozenset)):
        raise DataError(f"data of type {type(data).__name__}: it has no order; pass a list")
    if isinstance(data, np.ndarray) and data.dtype.names and data.ndim == 1:
        fields = {name: data[name] for name in data.dtype.names}
        wide = [name for name, field in fields.items() if field.ndim > 1]
        if wide:
            return _mapping({("x" if wide == [name] else name): field for name, field in fields.items()})
        return Contents(pa.table({name: _plain(field) for name, field in fields.items()}), place="the structured array")
    if isinstance(data, np.ndarray) and data.ndim == 1 and data.dtype.kind in "OU" and len(data):
        # Arrays of paths, images or arrays; other objects are refused as lists of them are.
        return _sequence(data.tolist())
    if isinstance(data, (pa.Array, pa.ChunkedArray)):
        return Contents(to_array(data, "the column"))
    if isinstance(data, pa.Table):
        return _table(data)
    if is_of_module(data, "pandas", "DataFrame") and _has_images(data):
        return _mapping(data.to_dict("list"))
    if hasattr(data, "__arrow_c_stream__"):  # opened as a table first
        return None
    if isinstance(data, (str, np.ndarray)) or is_tensor(data):
        return None
    if hasattr(data, "collect") and hasattr(data, "collect_schema"):
        raise DataError(f"data of type {type(data).__name__}: pass the table itself, data.collect()")
    if hasattr(data, "__array__"):
        return Contents(to_numpy(data, "the data"))
    if hasattr(data, "to_table"):
        raise DataError(f"data of type {type(data).__name__}: pass the table itself, data.to_table()")
    if hasattr(data, "read") and hasattr(data, "seek"):
        raise DataError(f"data of type {type(data).__name__}: pass the path of the file, or the bytes of an image")
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (type, Iterator, Iterable)):
        return read_dataset(data)
    if isinstance(data, Iterable):
        return _iterate(iter(data), type(data).__name__)
    return None


def _table(table: pa.Table) -> Contents | None:
    """Unwrap a table with a column of images, lists, or paths of images; return None for rows of numbers."""
    if len(set(table.column_names)) < len(table.column_names):
        return None
    if has_samples(table.schema) or has_paths_alone(table.schema):
        return read_records(TableRecords(table), "the table")
    return None


def _has_images(frame: Any) -> bool:
    places = [place for place, kind in enumerate(frame.dtypes) if str(kind) == "object"]
    return len(frame) > 0 and any(isinstance(frame.iloc[0, place], Image.Image) for place in places)


def _iterate(items: Iterator[Any], name: str) -> Contents | None:
    first = next(items, None)
    if isinstance(first, (str, os.PathLike, bytes, bytearray)):
        contents = _sequence([first, *items])
        assert contents is not None  # of paths and bytes
        return replace(contents, notes=(f"the {name} was read into a list",))
    return read_iterable(items if first is None else chain([first], items), name)


def _sequence(items: Sequence[Any]) -> Contents | None:
    """Unwrap a list of images, paths, bytes or pairs; return None for a list of arrays or numbers."""
    if not len(items):
        raise DataError("an empty list: expected arrays, images or paths")
    first = items[0]
    kinds: list[tuple[type | tuple[type, ...], str]] = [
        (Image.Image, "images"),
        ((str, os.PathLike), "paths"),
        ((bytes, bytearray), "bytes"),
        (Mapping, "dicts"),
    ]
    for kind, what in kinds:
        if isinstance(first, kind):
            for number, item in enumerate(items):
                if not isinstance(item, kind):
                    raise DataError(
                        f"entry {number} of the list is of type {type(item).__name__}; expected {what}, as entry 0"
                    )
            if what == "images":
                return _images(items)
            if what == "paths":
                return _paths([os.fspath(item) for item in items])
            if what == "bytes":
                return Contents([bytes(item) for item in items], place="the list")
            cells = dict(items[0]).values()
            is_record = all(axes_of(cell) == 0 and not _is_image(cell) for cell in cells)
            return Contents(_records(items)) if is_record else read_iterable(iter(items), "list")
    pairs = isinstance(first, tuple) and len(first) == 2 and axes_of(first[0]) > 0 and is_label(first[1])
    if pairs or (isinstance(first, tuple) and first and isinstance(first[0], Image.Image)):
        return read_iterable(iter(items), "list")
    return None


def _is_image(value: Any) -> bool:
    return isinstance(value, Image.Image)


def _records(items: Sequence[Mapping[str, Any]]) -> pa.Table:
    try:
        return pa.Table.from_pylist(items)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"a list of dicts whose values differ in type ({next(iter(str(error).splitlines()), '')})"
        ) from None


def _images(images: Sequence[Image.Image]) -> Contents:
    frames = [row for row, image in enumerate(images) if getattr(image, "n_frames", 1) > 1]
    losses = (f"{len(frames)} images have several frames, of which the current one is used",) if frames else ()
    return Contents(ImagesOnDemand(len(images), lambda row: images[row].copy()), losses=losses)


def _paths(paths: list[str]) -> Contents:
    """Unwrap a list of image files."""
    files = [Path(path).expanduser() for path in paths]
    others = [path for path in files if path.suffix.lower() not in IMAGE_ENDINGS]
    if others:
        if len(files) == 1:
            raise DataError(f"a list with the path {str(others[0])!r}; pass the path itself")
        what = "a folder" if others[0].is_dir() else f"a file that ends in {others[0].suffix!r}"
        raise DataError(
            f"a list of paths with {what}, {str(others[0])!r}; expected image files; open others one by one"
        )
    missing = [path for path in files if not path.is_file()]
    if len(missing) == len(files):
        raise DataError(
            f"none of the {len(files)} files exists, e.g. {str(missing[0])!r}; paths start from {os.getcwd()}"
        )
    if repeated := len(paths) - len(set(paths)):
        twice = next(path for number, path in enumerate(paths) if path in paths[:number])
        raise DataError(f"{repeated} paths occur more than once in the list, e.g. {twice!r}; ids must be unique")
    return Contents(files, ids=[Path(path).as_posix() for path in paths], place="the list of paths")


def _is_sparse(data: Any) -> bool:
    if is_tensor(data):
        return str(data.layout) != "torch.strided"
    return hasattr(data, "toarray") and hasattr(data, "nnz")


def _is_pair(data: tuple[Any, ...]) -> bool:
    """Return whether a tuple is samples and their labels, (X, y)."""
    if len(data) != 2:
        return False
    samples, labels = (tuple(part.shape) if hasattr(part, "shape") else () for part in data)
    if isinstance(data[1], (list, tuple)) and all(label is None or is_label(label) for label in data[1]):
        labels = (len(data[1]),)
    if len(labels) == 2 and labels[1] == 1 and labels != samples:  # a table of one column
        labels = labels[:1]
    return len(samples) > 1 and len(labels) == 1 and samples[:1] == labels


def _is_table(value: Any) -> bool:
    has_columns = hasattr(value, "__arrow_c_stream__") and not is_of_module(value, "xarray")
    return has_columns and len(getattr(value, "shape", ())) == 2


def _pair(samples: Any, labels: Any) -> Contents:
    """Unwrap samples and their labels; those of pandas are matched by their indexes."""
    notes = ["read as samples and labels, (X, y)"]
    labels = align_labels(labels, names_in_index(samples) or [str(row) for row in range(samples.shape[0])])
    if _is_sparse(samples):
        samples, line = densify(samples, "X")
        notes.append(line)
    else:
        samples = to_table(samples) if _is_table(samples) else to_numpy(samples, "X")
    return Contents(
        samples, check_label_count(to_label_array(labels), len(samples), "y"), notes=tuple(filter(None, notes))
    )


def _mapping(data: Mapping[Any, Any]) -> Contents:
    """Unwrap a dict of arrays, such as ``{"x": ..., "y": ...}`` or ``{"x_train": ..., "x_test": ...}``."""
    if not data:
        raise DataError("an empty dict: expected arrays, such as {'x': samples, 'y': labels}")
    listed = [
        key for key, value in data.items() if isinstance(value, (list, tuple)) and value and _is_file_or_image(value[0])
    ]
    listed = [key for key in listed if str(key).lower() not in (*LABEL_NAMES, "id", "ids", "split", "splits")]
    if len(listed) == 1 and (contents := _sequence(list(data[listed[0]]))) is not None:
        count = len(data[listed[0]])
        others = {str(key).lower(): value for key, value in data.items() if key != listed[0]}
        label = next((others[name] for name in LABEL_NAMES if name in others), None)
        labels = None if label is None else check_label_count(to_label_array(label), count, "the dict")
        names, splits = others.get("ids", others.get("id")), others.get("split", others.get("splits"))
        return replace(
            contents,
            labels=labels,
            ids=contents.ids if names is None else [str(name) for name in names],
            splits=None if splits is None else to_splits(pa.chunked_array([list(splits)]), "the dict"),
            place="the dict",
        )
    if all(_is_table(value) and split_named(str(name)) for name, value in data.items()):
        by_split = {split_named(str(name)) or "": to_table(value) for name, value in data.items()}
        return Contents(join_parts(by_split, "the dict"), place="the dict")
    if {str(name).lower() for name in data} == {"x", "y"} and _is_table(data.get("x", data.get("X"))):
        samples, labels = data.get("x", data.get("X")), data.get("y", data.get("Y"))
        return _pair(samples, labels)
    arrays: dict[str, np.ndarray] = {}
    unusable = []
    for name, value in data.items():
        if is_of_module(value, "datasets"):
            return _hugging_face(data)
        if isinstance(value, (str, bytes)) or axes_of(value) == 0:
            unusable.append(str(name))
        else:
            arrays[str(name)] = to_numpy(value, f"{name!r}")
    splits = arrays.pop("split", arrays.pop("splits", None))
    ids = arrays.pop("ids", arrays.pop("id", None))
    flat = [name for name, array in arrays.items() if array.ndim == 1]
    if arrays and len(flat) == len(arrays) and "x" not in arrays:
        table = {name: _plain(array) for name, array in arrays.items()}
        table |= {} if ids is None else {"id": _plain(ids)}
        note = "the keys of the dict are the columns of a table; for rows by name pass {'x': rows, 'ids': names}"
        return Contents(pa.table(table | ({} if splits is None else {"split": _plain(splits)})), notes=(note,))
    lazy = LazyArrays({name: name for name in arrays}, arrays.__getitem__)
    try:
        samples, labels, split_names, note = join_arrays("the dict", lazy)
    except DataError as error:
        raise DataError(f"{error}; e.g. {{'x': samples, 'y': labels}}") from None
    notes = [note] if note else []
    if unused := [name for name in [*arrays, *unusable] if name not in lazy.used]:
        notes.append(f"not used: {', '.join(unused)}")
    if splits is not None:
        split_names = to_splits(pa.chunked_array([_plain(splits)]), "the dict")
    names = None if ids is None else [str(name) for name in ids.tolist()]
    for what, values in (("ids", names), ("splits", split_names)):
        if values is not None and len(values) != len(samples):
            raise DataError(f"the dict: {len(values)} {what} for {len(samples)} samples; expected one each")
    return Contents(samples, labels, names, split_names, tuple(notes), place="the dict")


def _is_file_or_image(value: Any) -> bool:
    is_file = isinstance(value, (str, os.PathLike)) and Path(value).suffix.lower() in IMAGE_ENDINGS
    return is_file or isinstance(value, (Image.Image, bytes))


def _hugging_face(data: Any) -> Contents:
    """Unwrap a `datasets.Dataset`, or a dict of them by split; others are iterated over."""
    parts = data if isinstance(data, Mapping) else {"": data}
    if not all(hasattr(part, "with_format") and hasattr(part, "__len__") for part in parts.values()):
        if isinstance(data, Mapping):
            raise DataError(
                f"data of type {type(data).__name__}: its parts are read as streams; pass one of {', '.join(data)}"
            )
        return read_iterable(iter(data), type(data).__name__)
    records, losses = join_splits({str(name): dataset_to_table(part) for name, part in parts.items()}, "the data set")
    contents = read_records(records, "the data set")
    return replace(contents, losses=(*losses, *contents.losses))


def _series(data: Any) -> Contents:
    """Unwrap a pandas Series whose values are arrays, images or paths."""
    values = data.tolist()
    if values and axes_of(values[0]) == 0 and not isinstance(values[0], (str, os.PathLike, Image.Image)):
        advice = "data.to_frame(), or for one row of a table data.to_frame().T"
        raise DataError(f"a Series of single values; pass a DataFrame, whose rows are the samples: {advice}")
    contents = _sequence(values) or Contents(
        stack_rows([to_numpy(value, f"row {row}") for row, value in enumerate(values)])
    )
    names = ids_in_index(data)
    return replace(contents, ids=names) if names else contents


def _plain(array: np.ndarray) -> pa.Array:
    return pa.array(array.tolist() if array.dtype.kind == "U" else array)
