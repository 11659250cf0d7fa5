"""Read samples out of Python containers: lists of images or paths, torch and Hugging Face data sets, dicts, generators."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from aekit.data._arrays import densify, stack_rows
from aekit.data._dicts import plain_column, read_dict_of_arrays, read_dict_of_images
from aekit.data._foreign_arrays import is_of_module, unwrap_foreign
from aekit.data._items import (
    axes_of,
    is_label,
    read_dataset,
    read_iterable,
    read_loader,
    to_numpy,
)
from aekit.data._lists import is_image, read_image_objects, read_iterator, read_list
from aekit.data.contents import Contents
from aekit.data.labels import align_labels, check_label_count, ids_in_index, names_in_index, to_label_array
from aekit.data.readers.record_rows import TableRecords
from aekit.data.readers.records import has_paths_alone, has_samples, read_records, to_array
from aekit.data.readers.saved_datasets import dataset_to_table, join_splits
from aekit.data.readers.tables import join_parts, split_named, to_table
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
    if (contents := unwrap_foreign(data)) is not None:
        return contents
    for recognizes, read in _CASES:
        if recognizes(data):
            return read(data)
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


def _is_of_torch(data: Any, name: str) -> bool:
    """Return whether an object is of a class of ``torch.utils.data``; without importing torch, as `is_tensor`."""
    return isinstance(data, getattr(sys.modules.get("torch.utils.data"), name, ()))


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


def _is_tuple_of_unlike(data: Any) -> bool:
    """Return whether a tuple holds an array of samples beside something else, rather than samples of one shape."""
    shapes = [tuple(getattr(part, "shape", ())) for part in data] if isinstance(data, tuple) else []
    return len(set(shapes)) > 1 and any(len(shape) > 1 for shape in shapes)


def _refuse_tuple(data: tuple[Any, ...]) -> Contents:
    parts = [f"{type(part).__name__} {tuple(getattr(part, 'shape', ())) or ''}".rstrip() for part in data]
    expected = "expected an array (N, ...), or a pair (X, y) of N samples and their N labels"
    raise DataError(f"a tuple of {' and '.join(parts)}: {expected}")


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
    """Unwrap a dict: columns with images, splits, samples and labels, or arrays such as ``{"x": ..., "y": ...}``."""
    if not data:
        raise DataError("an empty dict: expected arrays, such as {'x': samples, 'y': labels}")
    if (contents := read_dict_of_images(data)) is not None:
        return contents
    if all(_is_table(value) and split_named(str(name)) for name, value in data.items()):
        by_split = {split_named(str(name)) or "": to_table(value) for name, value in data.items()}
        return Contents(join_parts(by_split, "the dict"), place="the dict")
    if {str(name).lower() for name in data} == {"x", "y"} and _is_table(data.get("x", data.get("X"))):
        return _pair(data.get("x", data.get("X")), data.get("y", data.get("Y")))
    if any(is_of_module(value, "datasets") for value in data.values()):
        return _hugging_face(data)
    return read_dict_of_arrays(data)


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
    contents = read_list(values) or Contents(
        stack_rows([to_numpy(value, f"row {row}") for row, value in enumerate(values)])
    )
    names = ids_in_index(data)
    return replace(contents, ids=names) if names else contents


def _structured(array: np.ndarray) -> Contents | None:
    """Unwrap an array of named fields: one of arrays as a dict of arrays, others as a table."""
    fields = {name: array[name] for name in array.dtype.names or ()}
    wide = [name for name, field in fields.items() if field.ndim > 1]
    if wide:
        return _mapping({("x" if wide == [name] else name): field for name, field in fields.items()})
    return Contents(
        pa.table({name: plain_column(field) for name, field in fields.items()}), place="the structured array"
    )


def _sparse(data: Any) -> Contents:
    array, note = densify(data, "the data")
    return Contents(array, notes=(note,))


def _of_type(*types: type) -> Callable[[Any], bool]:
    return lambda data: isinstance(data, types)


def _has(*names: str) -> Callable[[Any], bool]:
    """Recognize objects by their attributes, without an import of the library that they are of."""
    return lambda data: all(hasattr(data, name) for name in names)


def _exported(data: Any) -> Contents:
    """Read an object that shows its memory to other libraries: a buffer, or an array of a library that NumPy does not know."""
    try:
        array = np.from_dlpack(data) if hasattr(data, "__dlpack__") else np.asarray(data)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        problem = f"data of type {type(data).__name__}: not in the memory of the CPU, or not an array ({error})"
        raise DataError(f"{problem}; pass a NumPy array") from None
    return Contents(to_numpy(array, "the data"))


def _advise(advice: str) -> Callable[[Any], Contents | None]:
    """Refuse an object with a line on what to pass instead."""

    def refuse(data: Any) -> Contents | None:
        raise DataError(f"data of type {type(data).__name__}: {advice}")

    return refuse


def _leave(data: Any) -> None:
    """Leave an object to `aekit.open_data`, which opens paths, arrays and tables itself."""


def _is_array_of(kinds: str) -> Callable[[Any], bool]:
    return lambda data: isinstance(data, np.ndarray) and data.ndim == 1 and data.dtype.kind in kinds and len(data) > 0


def _is_indexed(data: Any) -> bool:
    return _has("__getitem__", "__len__")(data) and not isinstance(data, (type, Iterator, Iterable))


_CASES: tuple[tuple[Callable[[Any], bool], Callable[[Any], Contents | None]], ...] = (
    (is_image, lambda image: read_image_objects([image])),
    (_of_type(bytes, bytearray), lambda content: Contents([bytes(content)], place="the image")),
    (_is_sparse, _sparse),
    (lambda data: is_of_module(data, "datasets"), _hugging_face),
    (lambda data: is_of_module(data, "pandas", "Series"), _series),
    (lambda data: _is_of_torch(data, "DataLoader"), read_loader),
    (lambda data: _is_of_torch(data, "Dataset") and not _is_of_torch(data, "IterableDataset"), read_dataset),
    (_of_type(Mapping), _mapping),
    (lambda data: isinstance(data, tuple) and _is_pair(data), lambda pair: _pair(*pair)),
    (_is_tuple_of_unlike, _refuse_tuple),
    (_of_type(list, tuple), read_list),
    (_of_type(set, frozenset), _advise("it has no order; pass a list")),
    (lambda data: isinstance(data, np.ndarray) and bool(data.dtype.names) and data.ndim == 1, _structured),
    # Arrays of paths, images or arrays; other objects are refused as lists of them are.
    (_is_array_of("OU"), lambda array: read_list(array.tolist())),
    (_of_type(pa.Array, pa.ChunkedArray), lambda column: Contents(to_array(column, "the column"))),
    (_of_type(pa.Table), _table),
    (
        lambda data: is_of_module(data, "pandas", "DataFrame") and _has_images(data),
        lambda frame: _mapping(frame.to_dict("list")),
    ),
    (
        lambda data: is_of_module(data, "anndata", "AnnData"),
        _advise("pass its table, data.to_df(), or that and labels, (data.to_df(), data.obs['cell_type'])"),
    ),
    (_has("__arrow_c_stream__"), _leave),
    (lambda data: isinstance(data, (str, np.ndarray)) or is_tensor(data), _leave),
    (_has("collect", "collect_schema"), _advise("pass the table itself, data.collect()")),
    (_has("__array__"), lambda data: Contents(to_numpy(data, "the data"))),
    (lambda data: isinstance(data, memoryview) or hasattr(data, "__array_interface__"), _exported),
    (_has("__dlpack__", "__dlpack_device__"), _exported),
    (_has("to_table"), _advise("pass the table itself, data.to_table()")),
    (_has("read", "seek"), _advise("pass the path of the file, or the bytes of an image")),
    (_is_indexed, read_dataset),
    (_of_type(Iterable), lambda data: read_iterator(iter(data), type(data).__name__)),
)
"""Whether an object is of a kind, and how such objects are read; the first kind that it is of counts."""
