"""Open data: make a `Source` of an array, a list of arrays, a table, a path or ``SOURCE:NAME``.

No source is known by name here: registered sources declare which files they handle and whether they take data in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import torch

from aekit.data._containers import unwrap
from aekit.data._items import stack
from aekit.data._source_choice import Options, choose_source, data_exists, missing_data
from aekit.data.contents import Contents, ImagesOnDemand
from aekit.data.readers._encoded_images import EncodedImages
from aekit.data.readers.image_headers import first_line
from aekit.data.readers.images import ImageItems
from aekit.data.readers.table_columns import read_columns
from aekit.data.source import ArraySource, RowIds, Source
from aekit.data.spec import Kind, SampleSpec
from aekit.errors import DataError, RecipeError
from aekit.progress import warn
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import validate_options

KindOption = Literal["auto", "vector", "series", "image", "clip"]
Layout = Literal["auto", "channels-first", "channels-last"]


def open_data(
    data: Any, options: Options | None = None, *, like: SampleSpec | None = None, base: Path | None = None
) -> Source:
    """Open data of any form.

    Args:
        data: a `Source`, a numpy array or torch tensor (N, ...), a list of arrays of one shape, a table of pandas, polars
            or pyarrow, the path of a folder or file, or ``SOURCE:NAME``, such as ``sklearn:digits``. An existing path
            takes precedence over ``SOURCE:NAME``. Or images of Pillow, a list of images or of paths, (X, y), a dict of
            arrays, a sparse matrix, a torch `Dataset` or `DataLoader`, a `datasets.Dataset`, or an iterator of samples.
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
    contents = unwrap(data)
    if contents is not None:
        return _checked(_open_contents_with(contents, options or {}, like), contents.place, like)
    if isinstance(data, (list, tuple)):
        data = stack(data)
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        data = data.float().numpy() if data.dtype == torch.bfloat16 else data.numpy()
    if hasattr(data, "__arrow_c_stream__"):
        try:
            table = pa.table(data)
        except pa.ArrowException as error:
            raise DataError(f"the table: a column of mixed or unknown values ({str(error).splitlines()[0]})") from None
        if (contents := unwrap(table)) is not None:
            return _checked(_open_contents_with(contents, options or {}, like), contents.place, like)
        source = _open_in_memory(table, options, like) if options else from_table(table, like=like)
        return _checked(source, "the table", like)
    if not isinstance(data, np.ndarray):
        expected = "a path, SOURCE:NAME, an array, a table or a Source"
        raise DataError(f"data of type {type(data).__name__}: expected {expected}")
    source = _open_in_memory(data, options, like) if options else from_array(data, like=like)
    return _checked(source, "the array", like)


def reopen(origin: Mapping[str, Any], like: SampleSpec | None = None) -> Source:
    """Open again the data that a source's `origin` describes, by the same source; raises as `open_data`."""
    text, name = origin["data"], origin["source"]
    plugin = registry().get("source", name, required_by="data")
    if not os.path.isabs(text):
        return _open(plugin, text.partition(":")[2], text, origin["options"], like)
    if not data_exists(Path(text)):
        raise missing_data(Path(text))
    return _open(plugin, text, text, origin["options"], like)


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
    if array.dtype == object and array.ndim == 1:
        array = stack(array.tolist())
    arranged, inferred, note = infer_axes(array, kind, layout, like)
    source = ArraySource(arranged, kind=inferred, labels=labels, ids=ids, splits=splits)
    source.notes = (note,) if note else ()
    return source


def from_table(table: pa.Table, *, like: SampleSpec | None = None) -> ArraySource:
    """Make a source of the rows of a table, as `aekit.data.readers.table_columns.read_columns` reads it."""
    array, columns, labels, ids, splits, note = read_columns(table, "the table", like=like)
    source = ArraySource(array, kind="vector", labels=labels, ids=ids, splits=splits, columns=columns)
    source.notes = (note,) if note else ()
    return source


def open_contents(
    contents: Contents, like: SampleSpec | None = None, spec_options: Mapping[str, Any] | None = None
) -> Source:
    """Make a source of samples that a format or a container holds.

    Args:
        contents: the samples, with labels, ids and splits.
        like: spec of an encoder's input.
        spec_options: options of `aekit.data.readers.image_headers.choose_spec`, by name, for images.

    Raises:
        DataError: there are no samples, no image can be read, or the array does not hold samples.
    """
    samples, labels, ids, splits = contents.samples, contents.labels, contents.ids, contents.splits
    source: Source
    if isinstance(samples, np.ndarray):
        source = from_array(samples, like=like, labels=labels, ids=ids, splits=splits)
    elif isinstance(samples, pa.Table):
        source = from_table(samples, like=like)
    elif isinstance(samples, ImagesOnDemand):
        source = ImageItems(samples.count, samples.item, like, labels, splits, spec_options)
        source.ids = source.ids if ids is None else ids
    else:
        source = EncodedImages(
            samples, contents.place, like, ids=ids, labels=labels, splits=splits, spec_options=spec_options
        )
    source.notes, source.losses = (*contents.notes, *source.notes), (*contents.losses, *source.losses)
    return source


def infer_axes(
    array: np.ndarray, kind: KindOption = "auto", layout: Layout = "auto", like: SampleSpec | None = None
) -> tuple[np.ndarray, Kind | None, str]:
    """Determine the axes of an array. No other code decides this.

    ====== ================================= ===========================================================
    axes   read as                           unless
    ====== ================================= ===========================================================
    2      vectors (N, D)
    3      gray images (N, H, W)           neither uint8, uint16 nor bool: then series (N, C, T)
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
    return arranged, inferred, note


_AXES: dict[Kind, int] = {"vector": 2, "series": 3, "image": 4, "clip": 5}
_CHANNELS = (1, 3, 4)


def _readings(array: np.ndarray, kind: KindOption, layout: Layout) -> list[tuple[np.ndarray, Kind]]:
    """Return every interpretation of the axes, the most likely first."""
    kinds: list[Kind]
    if kind != "auto":
        kinds = [kind]
    else:
        kinds = [k for k in get_args(Kind) if array.ndim == _AXES[k] or array.ndim == _AXES[k] - 1 >= 2]
        images = array.ndim == 3 and array.dtype in (np.uint8, np.uint16, np.bool_)
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
    if data_exists(path):
        text = where = str(path)
        try:
            plugin = choose_source(path, options)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({first_line(error)})") from None
    elif colon:
        plugin = registry().get("source", name, required_by=f"data {text!r}")
        if plugin.entry.tags:  # it reads files, so that this is a path
            where = os.path.abspath((base or Path()) / Path(os.path.expandvars(where)).expanduser())
            if not data_exists(Path(where)):
                raise missing_data(Path(where))
            text = f"{name}:{where}"
    else:
        raise missing_data(path)
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


def _open_contents_with(contents: Contents, options: Options, like: SampleSpec | None) -> Source:
    """Open the samples of a container with the options of the source that opens such data in files."""
    samples = contents.samples
    if isinstance(samples, (np.ndarray, pa.Table)):
        if not options:
            return open_contents(contents, like)
        source = _open_in_memory(samples, options, like)
        if contents.labels is not None:
            source.labels = contents.labels
        if contents.splits is not None or contents.ids is not None:
            source.splits = contents.splits
            source.ids = RowIds(contents.splits, len(source)) if contents.ids is None else contents.ids
        source.notes, source.losses = (*contents.notes, *source.notes), (*contents.losses, *source.losses)
        return source
    others = [name for name in options if name != "images"]
    if others:
        raise RecipeError(f"data.{name}: images in memory take the options of 'images'" for name in others)
    given = options.get("images", {})
    unknown = [name for name in given if name not in _SPEC_OPTIONS]
    if unknown:
        expected = ", ".join(_SPEC_OPTIONS)
        raise RecipeError(f"data.images.{name}: not for images in memory; expected {expected}" for name in unknown)
    values = _validate(registry().get("source", "images", required_by="data"), given)
    return open_contents(contents, like, {name: values[name] for name in given})


_SPEC_OPTIONS = ("size", "resize", "crop_pct", "interpolation", "channels")
"""Options of the source `images` that say what images are converted to."""


def _validate(plugin: Plugin, given: Mapping[str, Any]) -> dict[str, Any]:
    place = f"data.{plugin.name}"
    if not isinstance(given, Mapping):
        raise RecipeError([f"{place} = {given!r}: expected a table of options"])
    return validate_options(plugin, given, place)


def _open(plugin: Plugin, where: str, text: str, given: Mapping[str, Any], like: SampleSpec | None) -> Source:
    values = _validate(plugin, given)
    try:
        source = plugin.load()(where, like, **values)
    except OSError as error:
        raise DataError(f"{error.filename or text}: cannot be read ({first_line(error)})") from None
    source.origin = {"data": text, "source": plugin.name, "options": dict(given)}
    return _checked(source, text, like)


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
