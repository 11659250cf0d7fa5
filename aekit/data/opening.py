"""Open data: make a `Source` of an array, a list of arrays, a table, a path or ``SOURCE:NAME``.

No source is known by name here: registered sources declare which files they handle and whether they take data in memory.
"""

from __future__ import annotations

import difflib
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import torch

from aekit._arguments import checked_arguments
from aekit.data._arrays import stack_rows, to_numbers, unmask
from aekit.data._claims import claiming_sources
from aekit.data.locations import locate
from aekit.data.readers.folders import classes_without_files, list_files, readable_text
from aekit.data.readers.table_columns import read_columns
from aekit.data.readers.tables import to_table
from aekit.data.source import ArraySource, RowIds, Source
from aekit.data.spec import Kind, SampleSpec
from aekit.errors import AekitError, DataError, RecipeError
from aekit.progress import warn
from aekit.registry.discovery import GROUP as BUILT_IN, Plugin, prints_to_stderr, registry
from aekit.registry.options import validate_options

KindOption = Literal["auto", "vector", "series", "image", "clip"]
Layout = Literal["auto", "channels-first", "channels-last"]
Options = Mapping[str, Mapping[str, Any]]


@checked_arguments
def open_data(
    data: Any, options: Options | None = None, *, like: SampleSpec | None = None, base: Path | None = None
) -> Source:
    """Open data of any form.

    Args:
        data: a `Source`, a numpy array or torch tensor (N, ...), a list of arrays of one shape, a table of pandas, polars
            or pyarrow, the path of a folder or file, or ``SOURCE:NAME``, such as ``sklearn:digits``. An existing path
            takes precedence over ``SOURCE:NAME``.
        options: options of the source that opens it, by the source's name: ``{"images": {"size": 96}}``. Arrays and tables
            in memory take those of `arrays`: ``{"arrays": {"kind": "image"}}``.
        like: sample spec of an encoder. Images are converted to it; other samples that do not fit it are refused.
        base: folder that relative paths start from; default: the working directory.

    Returns:
        the opened source.

    Raises:
        DataError: the data is empty, cannot be read, or does not fit `like`.
        RecipeError: unknown options, or options of a source that does not open this data.
        PluginError: the source is missing, disabled or broken.

    Examples:
        >>> images = np.zeros((10, 8, 9), np.uint8)
        >>> aekit.open_data(images).spec.shape
        (1, 8, 9)
        >>> aekit.open_data(images, {"arrays": {"kind": "series"}}).spec.shape
        (8, 9)
    """
    if isinstance(data, (str, os.PathLike)):
        return _open_named(os.fspath(data), options or {}, like, base)
    if isinstance(data, Source):
        if options:
            raise RecipeError(f"data.{name}: options do not apply to a source that is already open" for name in options)
        return _checked(data, "the source", like)
    if isinstance(data, (list, tuple)):
        data = stack_rows(data)
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        data = data.float().numpy() if data.dtype == torch.bfloat16 else data.numpy()
    if isinstance(data, np.ndarray) and data.dtype.names and data.ndim == 1:
        data = pa.table({name: data[name] for name in data.dtype.names})
    if hasattr(data, "__arrow_c_stream__"):
        table = to_table(data)
        source = _open_in_memory(table, options, like) if options else from_table(table, like=like)
        return _checked(source, "the table", like)
    if not isinstance(data, np.ndarray):
        expected = "a path, SOURCE:NAME, an array, a table or a Source"
        raise DataError(f"data of type {type(data).__name__}: expected {expected}")
    data, losses = unmask(data)
    source = _open_in_memory(data, options, like) if options else from_array(data, like=like)
    source.losses = (*losses, *source.losses)
    return _checked(source, "the array", like)


def reopen(origin: Mapping[str, Any], like: SampleSpec | None = None, *, near: Path | None = None) -> Source:
    """Open again the data that a source's `origin` describes, by the same source; raises as `open_data`.

    Args:
        origin: as the source or a record has it.
        like: as in `open_data`.
        near: folder of the artifact with the record, near which relative paths are looked for.
    """
    plugin = registry().get("source", origin["source"], required_by="data")
    text, options = origin["data"], origin["options"]
    prefix = next((f"{name}:" for name in (plugin.name, plugin.qualified) if text.startswith(f"{name}:")), "")
    where = text.removeprefix(prefix)
    if plugin.entry.tags or not prefix:  # it reads files
        where = locate(where, near)
    return _open(plugin, where, prefix + where, options, like)


def from_array(
    array: np.ndarray,
    *,
    kind: KindOption = "auto",
    layout: Layout = "auto",
    like: SampleSpec | None = None,
    labels: np.ndarray | None = None,
    ids: Sequence[str] | None = None,
    splits: np.ndarray | None = None,
) -> ArraySource:
    """Make a source of an array (N, ...), whose axes `infer_axes` determines."""
    if array.dtype == object:
        array = stack_rows(array.tolist()) if array.ndim == 1 else to_numbers(array)
    arranged, inferred, note = infer_axes(array, kind, layout, like)
    source = ArraySource(arranged, kind=inferred, labels=labels, ids=ids, splits=splits)
    source.notes = (note,) if note else ()
    return source


def from_table(table: pa.Table, *, like: SampleSpec | None = None) -> ArraySource:
    """Make a source of the rows of a table, as `aekit.data.readers.table_columns.read_columns` reads it."""
    read = read_columns(table, "the table", like=like)
    source = ArraySource(
        read.array, kind="vector", labels=read.labels, ids=read.ids, splits=read.splits, columns=read.columns
    )
    source.notes, source.losses = (read.note,) if read.note else (), read.losses
    return source


def infer_axes(
    array: np.ndarray, kind: KindOption = "auto", layout: Layout = "auto", like: SampleSpec | None = None
) -> tuple[np.ndarray, Kind | None, str]:
    """Determine the axes of an array. No other code decides this.

    ====== ================================= ===========================================================
    axes   read as                           unless
    ====== ================================= ===========================================================
    2      vectors (N, D)
    3      gray images (N, H, W)           neither uint8, uint16, bool nor square: then series (N, C, T)
    4      images (N, C, H, W)             the last axis is 1, 3 or 4 and the second is not: (N, H, W, C)
    5      clips (N, C, T, H, W)             likewise (N, T, H, W, C)
    ====== ================================= ===========================================================

    An array with one axis less than its kind needs gets a channel axis. If `like` is given, an interpretation that fits it
    takes precedence; an array of the shape of one sample is then one sample.

    Returns:
        the array (N, *shape), channels first; its kind, None if unknown; a note on an ambiguous choice, or "".

    Raises:
        DataError: the array does not fit `kind`.
    """
    readings = list(_readings(array, kind, layout))
    if like is not None:
        fitting = [(a, k) for a, k in readings + list(_readings(array[None], kind, layout)) if _alike(a, k, like)]
        if fitting:
            return *fitting[0], ""
    if not readings:
        if kind != "auto":
            raise DataError(f"array of shape {array.shape}: cannot be read as kind {kind!r}")
        return array, None, ""
    arranged, inferred = readings[0]
    note = ""
    if kind == "auto" and array.ndim == 3 and inferred == "series":
        _, channels, steps = array.shape
        note = f"read as series of {channels} channels and {steps} steps; kind = 'image' reads gray images"
    elif kind == "auto" and array.ndim == 3 and inferred == "image" and array.dtype not in _PIXELS:
        side = array.shape[1]
        note = f"read as gray images of {side}x{side}, as they are square; kind = 'series' reads {side} channels of {side} steps"
    return arranged, inferred, note


_AXES: dict[Kind, int] = {"vector": 2, "series": 3, "image": 4, "clip": 5}
_CHANNELS = (1, 3, 4)
_PIXELS = (np.uint8, np.uint16, np.bool_)
_SQUARE = 8
"""Smallest side of square arrays of other numbers that are images."""


def _readings(array: np.ndarray, kind: KindOption, layout: Layout) -> list[tuple[np.ndarray, Kind]]:
    """Return every interpretation of the axes, the most likely first."""
    kinds: list[Kind]
    if kind != "auto":
        kinds = [kind]
    else:
        kinds = [k for k in get_args(Kind) if array.ndim == _AXES[k] or array.ndim == _AXES[k] - 1 >= 2]
        square = array.ndim == 3 and array.shape[1] == array.shape[2] >= _SQUARE
        images = square or (array.ndim == 3 and array.dtype in _PIXELS)
        kinds.sort(key=lambda k: (images and k != "image", array.ndim != _AXES[k]))
    readings: list[tuple[np.ndarray, Kind]] = []
    for k in kinds:
        if k == "vector":
            if array.ndim == 2 or (kind == "vector" and array.ndim > 2):
                readings.append((array.reshape(len(array), math.prod(array.shape[1:])), k))
        elif array.ndim == _AXES[k] - 1:
            readings.append((array[:, None], k))
        elif array.ndim == _AXES[k]:
            first, last = (array, k), (np.moveaxis(array, -1, 1), k)
            pixels = k in ("image", "clip") and array.shape[-1] in _CHANNELS and array.shape[1] not in _CHANNELS
            both = [last, first] if pixels else [first, last]
            readings += both if layout == "auto" else [last if layout == "channels-last" else first]
    return readings


def _alike(array: np.ndarray, kind: Kind, like: SampleSpec) -> bool:
    return kind == like.kind and array.shape[1:] == like.shape


def _open_named(text: str, options: Options, like: SampleSpec | None, base: Path | None) -> Source:
    path = Path(os.path.abspath((base or Path()) / Path(os.path.expandvars(text)).expanduser()))
    name, colon, where = text.partition(":")
    if os.path.exists(path):
        text = where = str(path)
        try:
            plugin = _reader(path, options)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    elif colon:
        plugin = registry().get("source", name, required_by=f"data {text!r}")
        if plugin.entry.tags:  # it reads files, so that this is a path
            where = os.path.abspath((base or Path()) / Path(os.path.expandvars(where)).expanduser())
            if not os.path.exists(where):
                raise _missing(Path(where))
            text = f"{name}:{where}"
    else:
        raise _missing(path)
    names = {plugin.name, plugin.qualified}
    others = [other for other in options if other not in names]
    if others:
        raise RecipeError(f"data.{other}: {text} is opened by source {plugin.name!r}, not this one" for other in others)
    given = next((values for other, values in options.items() if other in names), {})
    return _open(plugin, where, text, given, like)


def _open_in_memory(data: np.ndarray | pa.Table, options: Options, like: SampleSpec | None) -> Source:
    """Open an array or a table by the one source that `options` name, which must take data in memory."""
    if len(options) > 1:
        raise RecipeError([f"data: options of {' and '.join(sorted(options))}; expected those of one source"])
    ((name, given),) = options.items()
    plugin = registry().get("source", name, required_by="data")
    if not getattr(plugin.load(), "takes_arrays", False):
        raise RecipeError([f"data.{name}: source {name!r} does not open data in memory; expected options of 'arrays'"])
    return plugin.load()(data, like, **_validate(plugin, given))


def _validate(plugin: Plugin, given: Mapping[str, Any]) -> dict[str, Any]:
    place = f"data.{plugin.name}"
    if not isinstance(given, Mapping):
        raise RecipeError([f"{place} = {given!r}: expected a table of options"])
    return validate_options(plugin, given, place)


def _open(plugin: Plugin, where: str, text: str, given: Mapping[str, Any], like: SampleSpec | None) -> Source:
    values = _validate(plugin, given)
    if readable_text(text) != text:  # it could not be written into records
        raise DataError(f"{readable_text(text)}: the path is not UTF-8; rename the folder or file")
    try:
        with prints_to_stderr():
            source = plugin.load()(where, like, **values)
    except OSError as error:
        raise DataError(f"{error.filename or text}: cannot be read ({error.strerror or error})") from None
    except AekitError:
        raise
    except Exception as error:
        if plugin.distribution == BUILT_IN:
            raise
        raise plugin.failure(error) from error
    if not isinstance(source, Source):
        raise plugin.failure(TypeError(f"it returns {type(source).__name__}: expected a Source"))
    if (
        os.path.isdir(where)
        and source.labels is not None
        and (empty := classes_without_files(Path(where), source.labels))
    ):
        line = (
            f"folders without a sample, which are no classes: {', '.join(empty[:5])}{' ...' if len(empty) > 5 else ''}"
        )
        source.losses = (*source.losses, line)
    source.origin = {"data": text, "source": plugin.name, "options": dict(given)}
    return _checked(source, text, like)


def _reader(path: Path, options: Options) -> Plugin:
    """Return the source for a path: by its ending (or ``folder``), and if several match, by the content."""
    plugins = registry().by_kind("source")
    matching = [plugin for plugin in plugins if _handles(plugin, path)]
    if not matching:
        known = sorted({tag for plugin in plugins for tag in plugin.entry.tags} - {"folder"})
        what = f"files ending in {path.suffix!r}" if path.suffix else "files without an ending"
        raise DataError(
            f"{path}: no source reads {'folders' if path.is_dir() else what}; available: {', '.join(known)}"
        )
    if len(matching) == 1:
        return matching[0]
    named = [plugin for plugin in matching if {plugin.name, plugin.qualified} & set(options)]
    claiming: list[Plugin] = []
    looks_for: list[str] = []
    # Built-in sources win, so that installing a plugin does not change how files are read.
    built_in = [plugin for plugin in matching if plugin.distribution == BUILT_IN]
    for candidates in (named, built_in, [plugin for plugin in matching if plugin not in built_in]):
        claiming = claiming or claiming_sources(candidates, path, looks_for)
    if len(claiming) > 1:
        choices = " or ".join(f"{plugin.name}:{path}" for plugin in claiming)
        raise DataError(f"{path}: can be opened by {len(claiming)} sources; write {choices}")
    if not claiming:
        what = "an empty folder" if path.is_dir() and not any(path.iterdir()) else "no samples"
        counts = Counter(reason for _, reason in list_files(path, ())) if path.is_dir() else Counter[str]()
        kinds = f"; found {', '.join(f'{n} {kind}' for kind, n in counts.most_common(5))}" if counts else ""
        raise DataError(f"{path}: {what}; looked for {', '.join(looks_for)}{kinds}")
    return claiming[0]


def _handles(plugin: Plugin, path: Path) -> bool:
    name = path.name.lower()
    return any(name.endswith(tag) if tag != "folder" else path.is_dir() for tag in plugin.entry.tags)


def _missing(path: Path) -> DataError:
    if not path.parent.is_dir():
        return DataError(f"{path}: no such file or folder; {path.parent} does not exist")
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "expected a folder, a file or SOURCE:NAME"
    return DataError(f"{path}: no such file or folder; {hint}")


def _checked(source: Source, text: str, like: SampleSpec | None) -> Source:
    """Check that a source has samples, that their ids are unique, and that they fit `like`."""
    if not len(source):
        raise DataError(f"{text}: no samples in it")
    if not isinstance(source.ids, RowIds):
        seen: set[str] = set()
        for name in source.ids:
            if name in seen:
                raise DataError(f"{text}: id {name!r} occurs more than once; ids must be unique")
            seen.add(name)
    if like is not None and not _fits(source.spec, like):
        raise DataError(f"{text}: samples are {source.spec}, the encoder takes {like}")
    for line in source.losses:
        warn(f"data: {line}")
    return source


def _fits(spec: SampleSpec, like: SampleSpec) -> bool:
    # Floats of another width have the same values. Integers may not: gray is 0..255 or 0..1.
    floats = np.dtype(spec.dtype).kind == np.dtype(like.dtype).kind == "f"
    return (spec.kind, spec.shape) == (like.kind, like.shape) and (floats or spec.dtype == like.dtype)
