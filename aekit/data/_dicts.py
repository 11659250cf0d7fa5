"""Read samples out of dicts, whose keys name the samples, labels, ids and splits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from aekit.data._items import axes_of, to_numpy
from aekit.data._lists import read_list
from aekit.data.contents import Contents
from aekit.data.labels import check_label_count, to_label_array
from aekit.data.readers.endings import IMAGE_ENDINGS
from aekit.data.readers.named_arrays import LazyArrays
from aekit.data.readers.numpy_files import LABEL_NAMES, join_arrays
from aekit.data.readers.tables import split_named, to_splits
from aekit.errors import DataError

_IDS, _SPLITS = ("ids", "id"), ("split", "splits")


def read_dict_of_images(data: Mapping[Any, Any]) -> Contents | None:
    """Read columns of which exactly one holds images or names of image files; return None for others."""
    listed = [
        key
        for key, value in data.items()
        if isinstance(value, (list, tuple))
        and value
        and _is_file_or_image(value[0])
        and str(key).lower() not in (*LABEL_NAMES, *_IDS, *_SPLITS)
    ]
    if len(listed) != 1 or (contents := read_list(list(data[listed[0]]))) is None:
        return None
    others = {str(key).lower(): value for key, value in data.items() if key != listed[0]}
    labels, ids, splits = (_first(others, names) for names in (LABEL_NAMES, _IDS, _SPLITS))
    count = len(data[listed[0]])
    return replace(
        contents,
        labels=None if labels is None else check_label_count(to_label_array(labels), count, "the dict"),
        ids=contents.ids if ids is None else [str(name) for name in ids],
        splits=None if splits is None else to_splits(pa.chunked_array([list(splits)]), "the dict"),
        place="the dict",
    )


def read_dict_of_arrays(data: Mapping[Any, Any]) -> Contents:
    """Read arrays with names, such as ``{"x": ..., "y": ...}`` or ``{"x_train": ..., "x_test": ...}``.

    Raises:
        DataError: no value is an array, it is not clear which are the samples, or lengths differ.
    """
    if all(split_named(str(name)) and axes_of(value) > 1 for name, value in data.items()):
        data = {f"x_{name}": value for name, value in data.items()}
    unusable = [str(name) for name, value in data.items() if isinstance(value, (str, bytes)) or axes_of(value) == 0]
    arrays = {str(name): to_numpy(value, f"{name!r}") for name, value in data.items() if str(name) not in unusable}
    if not arrays:
        raise DataError(
            f"the dict: no arrays under {', '.join(map(repr, unusable))}; expected arrays, such as {{'x': samples, 'y': labels}}"
        )
    splits, ids = _pop_first(arrays, _SPLITS), _pop_first(arrays, _IDS)
    if arrays and all(array.ndim == 1 for array in arrays.values()) and "x" not in arrays:
        return _read_columns(arrays, ids, splits)
    lazy = LazyArrays({name: name for name in arrays}, arrays.__getitem__, arrays)
    try:
        samples, labels, split_names, note = join_arrays("the dict", lazy)
    except DataError as error:
        raise DataError(f"{error}; e.g. {{'x': samples, 'y': labels}}") from None
    notes = [note] if note else []
    if unused := [name for name in [*arrays, *unusable] if name not in lazy.used]:
        notes.append(f"not used: {', '.join(unused)}")
    if splits is not None:
        split_names = to_splits(pa.chunked_array([plain_column(splits)]), "the dict")
    names = None if ids is None else [str(name) for name in ids.tolist()]
    for what, values in (("ids", names), ("splits", split_names)):
        if values is not None and len(values) != len(samples):
            raise DataError(f"the dict: {len(values)} {what} for {len(samples)} samples; expected one each")
    return Contents(samples, labels, names, split_names, tuple(notes), place="the dict")


def _read_columns(columns: dict[str, np.ndarray], ids: np.ndarray | None, splits: np.ndarray | None) -> Contents:
    """Read columns of numbers as a table.

    Raises:
        DataError: columns of different lengths.
    """
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name!r} has {count:,}" for name, count in [*counts.items()][:5])
        raise DataError(f"the dict: columns of different lengths ({listed}): expected one value each for every row")
    every = columns | {name: values for name, values in (("id", ids), ("split", splits)) if values is not None}
    note = "the keys of the dict are the columns of a table; for rows by name pass {'x': rows, 'ids': names}"
    return Contents(pa.table({name: plain_column(values) for name, values in every.items()}), notes=(note,))


def plain_column(array: np.ndarray) -> pa.Array:
    """Return an array as a column of Arrow, also one of texts, which Arrow takes from lists alone."""
    if array.dtype.kind in "US":
        return pa.array(array.astype(str).tolist())
    return pa.array(array.astype(array.dtype.newbyteorder("="), copy=False))  # Arrow refuses the other order of bytes


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((values[name] for name in names if name in values), None)


def _pop_first(arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray | None:
    """Remove the arrays of these names, and return that of the first name that is there."""
    removed = [arrays.pop(name, None) for name in names]
    return next((array for array in removed if array is not None), None)


def _is_file_or_image(value: Any) -> bool:
    is_file = isinstance(value, (str, os.PathLike)) and Path(value).suffix.lower() in IMAGE_ENDINGS
    return is_file or isinstance(value, (Image.Image, bytes))
