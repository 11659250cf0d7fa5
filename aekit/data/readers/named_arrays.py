"""Choose samples and labels in files of named arrays: HDF5, Zarr and MATLAB."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypedDict, Unpack

import numpy as np

from aekit.data._arrays import densify as densify
from aekit.data.contents import Contents
from aekit.data.readers.numpy_files import LABEL_NAMES, SAMPLE_NAMES, join_arrays
from aekit.errors import DataError, closest_name
from aekit.registry.options import Field


class ArrayOptions(TypedDict, total=False):
    """Options of sources of named arrays: which of them are used."""

    x: Annotated[
        str,
        Field(default="auto", description="name or path of the samples, such as train/x; auto: by usual names"),
    ]
    y: Annotated[
        str,
        Field(default="auto", description="name or path of the labels; auto: by usual names; none: no labels"),
    ]


def _with_gaps(values: np.ndarray, attributes: Mapping[str, Any], name: str) -> tuple[np.ndarray, list[str]]:
    """Return an array whose missing values are NaN, as the attributes of NetCDF name them, and lines on the attributes.

    Args:
        values: an array of any shape; one of whole numbers stays as it is.
        attributes: such as ``_FillValue``, ``missing_value`` and ``scale_factor``.
        name: of the array, for the lines.
    """
    if values.dtype.kind not in "uif":
        return values, []
    lines = []
    if values.dtype.kind == "i" and str(attributes.get("_Unsigned", "")).lower() == "true":
        values = values.view(values.dtype.str.replace("i", "u"))
        lines.append(f"{name}: read as numbers without a sign, as its attribute _Unsigned says")
    lines += [f"{name}: {kind} is not applied" for kind in ("scale_factor", "add_offset") if kind in attributes]
    for kind in ("_FillValue", "missing_value"):
        fill = np.asarray(attributes.get(kind, np.nan)).reshape(-1)[:1]
        if fill.dtype.kind not in "uif" or np.isnan(fill).any() or not (gaps := values == fill).any():
            continue
        is_float = values.dtype.kind == "f"
        values = np.where(gaps, np.asarray(np.nan, values.dtype), values) if is_float else values
        what = "are missing values" if is_float else "are used as numbers"
        lines.append(f"{name}: values that are its {kind}, {fill[0]:g}, {what} ({gaps.sum():,} of {gaps.size:,})")
    return values, lines


def usable_arrays(shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> dict[str, tuple[int, ...]]:
    """Return the arrays that can be samples, with their shapes: numbers with at least two axes."""
    return {name: shape for name, (shape, dtype) in shapes.items() if dtype.kind in "uifb" and len(shape) > 1}


def read_named_arrays(
    arrays: Mapping[str, Any],
    load: Callable[[str], np.ndarray],
    place: str,
    **options: Unpack[ArrayOptions],
) -> Contents:
    """Choose the samples and the labels among named arrays, and load them.

    Args:
        arrays: path of each array inside the file, such as ``group/x`` -> something with `shape` and `dtype`.
        load: returns an array by its path.
        place: where they come from, for messages.
        options: as `ArrayOptions`; without ``x``, usual names, also those of splits, or the only array of numbers.

    Raises:
        DataError: there are no samples, or several arrays that may be; an array is missing; labels do not match.
    """
    x, y = options.get("x", "auto"), options.get("y", "auto")
    for name in (x, y):
        if name not in ("auto", "none", *arrays):
            raise DataError(f"{place}: no array {name!r}{closest_name(name, arrays)}; it holds {_listed(arrays)}")
    alias = _aliases(arrays)
    usable = usable_arrays({name: (array.shape, np.dtype(array.dtype)) for name, array in arrays.items()})
    if x == "auto":
        # The leaves of the paths, as two groups may hold arrays of one name.
        named = [name for name in usable if name.rpartition("/")[2].lower() in SAMPLE_NAMES and name in alias.values()]
        if len(named) > 1 and not _names_splits(named):
            raise DataError(
                f"{place}: {len(named)} arrays may be the samples; choose one by x: {_listed(arrays, named)}"
            )
        if not named and not _names_splits(list(arrays)):
            others = [name for name in usable if name.rpartition("/")[2].lower() not in LABEL_NAMES]
            wide = [name for name in others if min(usable[name]) > 1]  # MATLAB has matrices alone
            others = wide if len(wide) == 1 else others
            if len(others) != 1:
                if not others:
                    raise DataError(f"{place}: no array of numbers with two axes or more; it holds {_listed(arrays)}")
                raise DataError(f"{place}: {len(others)} arrays may be the samples; choose one by x: {_listed(arrays)}")
            x = others[0]
    short = {path: name for name, path in alias.items()}
    loaded = LazyArrays(alias, load, arrays)
    chosen_x, chosen_y = (name if name in ("auto", "none") else short[name] for name in (x, y))
    samples, labels, splits, note = join_arrays(place, loaded, chosen_x, chosen_y)
    unused = [path for path in arrays if path not in loaded.used]
    notes = [f"arrays used: {', '.join(loaded.used)}", *filter(None, [note])]
    notes += [f"arrays not used: {', '.join(unused[:10])}"] if unused else []
    return Contents(samples, labels, None, splits, tuple(notes), tuple(loaded.lines), place)


class LazyArrays(Mapping[str, np.ndarray]):
    """Arrays by their short names, loaded when they are asked for.

    Attributes:
        used: paths of the arrays that were asked for.
        lines: about what their attributes say of their values.
    """

    def __init__(self, paths: Mapping[str, str], load: Callable[[str], np.ndarray], arrays: Mapping[str, Any]) -> None:
        self._paths, self._load, self._arrays = paths, load, arrays
        self.used: list[str] = []
        self.lines: list[str] = []

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __getitem__(self, name: str) -> np.ndarray:
        path = self._paths[name]
        self.used.append(path)
        values, lines = _with_gaps(self._load(path), getattr(self._arrays[path], "attrs", {}), path)
        self.lines += lines
        return values


def _aliases(arrays: Mapping[str, Any]) -> dict[str, str]:
    """Name each array by the last part of its path, or if that repeats, by the whole path with underscores."""
    leaves = Counter(path.rpartition("/")[2] for path in arrays)
    names = {path: path.rpartition("/")[2] for path in arrays}
    return {(names[path] if leaves[names[path]] == 1 else path.replace("/", "_")): path for path in arrays}


def _names_splits(paths: list[str]) -> bool:
    parts = {part for path in paths for part in path.lower().replace("/", "_").split("_")}
    return "train" in parts and bool(parts & {"test", "val", "valid", "validation"})


def _listed(arrays: Mapping[str, Any], names: list[str] | None = None) -> str:
    shapes = [f"{name} ({' x '.join(map(str, arrays[name].shape))})" for name in (arrays if names is None else names)]
    return ", ".join(shapes[:12]) + (", ..." if len(shapes) > 12 else "") or "no arrays"
