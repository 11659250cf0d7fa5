"""Open data: make a `Source` of an array, a list of arrays, a table, a path or ``SOURCE:NAME``.

No source is known by name here: registered sources declare which files they handle and whether they take data in memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aekit._arguments import checked_arguments
from aekit.data._arrays import stack_rows, unmask
from aekit.data._checking import check_source
from aekit.data._containers import unwrap
from aekit.data._masked import unmasked
from aekit.data._ownership import check_own
from aekit.data._source_choice import Options, choose_source, data_exists, missing_data, place_of_data
from aekit.data._source_contract import source_problem
from aekit.data.contents import Contents
from aekit.data.in_memory import from_array, from_table, open_contents
from aekit.data.locations import locate
from aekit.data.readers._folder_walk import walks_kept
from aekit.data.readers.folders import classes_without_files, readable_text, splits_without_files
from aekit.data.readers.tables import to_table
from aekit.data.reading import reason_of, refuse_special, refuse_stand_in
from aekit.data.source import RowIds, Source
from aekit.data.spec import SampleSpec
from aekit.errors import AekitError, DataError, PluginError, RecipeError, not_utf8
from aekit.io.tensors import without_tensor
from aekit.registry.discovery import GROUP as BUILT_IN, Plugin, prints_to_stderr, registry
from aekit.registry.option_places import misplaced_options, with_places
from aekit.registry.options import validate_options


@checked_arguments
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
        return check_source(data, "the source", like)
    contents = unwrap(data)
    if contents is not None:
        return _open_contents(contents, options or {}, like)
    if isinstance(data, (list, tuple)):
        data = stack_rows(data)
    data = without_tensor(data)
    if hasattr(data, "__arrow_c_stream__"):
        table = to_table(data)
        if (contents := unwrap(table)) is not None:
            return _open_contents(contents, options or {}, like)
        source = _open_in_memory(table, options, like) if options else from_table(table, like=like)
        return check_source(source, "the table", like, "arrays")
    if not isinstance(data, np.ndarray):
        expected = "a path, SOURCE:NAME, an array, a table or a Source"
        raise DataError(f"data of type {type(data).__name__}: expected {expected}")
    data, losses = unmask(data)
    source = _open_in_memory(data, options, like) if options else from_array(data, like=like)
    source.losses = (*losses, *source.losses)
    return check_source(source, "the array", like, "arrays")


@walks_kept()
def reopen(origin: Mapping[str, Any], like: SampleSpec | None = None, *, near: Path | None = None) -> Source:
    """Open again the data that a source's `origin` describes, by the same source; raises as `open_data`.

    Args:
        origin: as the source or a record has it.
        like: as in `open_data`.
        near: folder of the artifact with the record, near which relative paths are looked for.
    """
    check_own(origin)
    plugin = registry().get("source", origin["source"], required_by="data")
    text, options = origin["data"], origin["options"]
    prefix = next((f"{name}:" for name in (plugin.name, plugin.qualified) if text.startswith(f"{name}:")), "")
    where = text.removeprefix(prefix)
    if plugin.entry.tags or not prefix:  # it reads files
        where = locate(where, near)
        return _open(plugin, place_of_data(where, None)[0], prefix + where, options, like)
    return _open(plugin, where, prefix + where, options, like)


@walks_kept()
def _open_named(text: str, options: Options, like: SampleSpec | None, base: Path | None) -> Source:
    if not text.strip():
        raise DataError(
            f"{text!r}: an empty path; expected a folder, a file or SOURCE:NAME ('.' is the current folder)"
        )
    where, shown = place_of_data(text, base)
    name, colon, named = text.partition(":")
    left_out = ""
    if data_exists(Path(where)):
        text = shown
        refuse_special(where)
        refuse_stand_in(where)
        try:
            plugin, left_out = choose_source(Path(where), options)
        except OSError as error:
            raise DataError(f"{where}: {reason_of(error, 'cannot be read')}") from None
    elif colon:
        plugin = registry().get("source", name, required_by=f"data {text!r}")
        where, shown = place_of_data(named, base) if plugin.entry.tags else (named, named)
        text = f"{name}:{shown}"
        if plugin.entry.tags:  # it reads files, so that this is a path
            if not data_exists(Path(where)):
                raise missing_data(Path(where))
            refuse_special(where)
    else:
        raise missing_data(Path(where))
    names = {plugin.name, plugin.qualified}
    if others := [other for other in options if other not in names]:
        misplaced = misplaced_options("data", others, [plugin])
        raise RecipeError(
            misplaced.get(other) or f"data.{other}: {text} is opened by source {plugin.name!r}, not this one"
            for other in others
        )
    source_options = next((values for other, values in options.items() if other in names), {})
    return _open(plugin, where, text, source_options, like, left_out)


def _open_in_memory(data: np.ndarray | pa.Table, options: Options, like: SampleSpec | None) -> Source:
    """Open an array or a table by the one source that `options` name, which must take data in memory."""
    if misplaced := misplaced_options("data", options, registry().named("source", "arrays")):
        raise RecipeError(misplaced.values())
    if len(options) > 1:
        raise RecipeError([f"data: options of {' and '.join(sorted(options))}; expected those of one source"])
    ((name, source_options),) = options.items()
    plugin = registry().get("source", name, required_by="data")
    if not getattr(plugin.load(), "takes_arrays", False):
        raise RecipeError([f"data.{name}: source {name!r} does not open data in memory; expected options of 'arrays'"])
    return plugin.load()(data, like, **_validate(plugin, source_options))


def _open_contents(contents: Contents, options: Options, like: SampleSpec | None) -> Source:
    of_numbers = isinstance(contents.samples, (np.ndarray, pa.Table))
    source = _open_contents_with(unmasked(contents), options, like)
    return check_source(source, contents.place, like, "arrays" if of_numbers else "images")


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
    source_options = options.get("images", {})
    unknown = [name for name in source_options if name not in _SPEC_OPTIONS]
    if unknown:
        expected = ", ".join(_SPEC_OPTIONS)
        raise RecipeError(f"data.images.{name}: not for images in memory; expected {expected}" for name in unknown)
    values = _validate(registry().get("source", "images", required_by="data"), source_options)
    return open_contents(contents, like, {name: values[name] for name in source_options})


_SPEC_OPTIONS = ("size", "resize", "crop_pct", "interpolation", "channels", "max_megapixels")
"""Options of the source `images` that say what images are converted to, and which are too large."""


def _validate(plugin: Plugin, source_options: Mapping[str, Any]) -> dict[str, Any]:
    place = f"data.{plugin.name}"
    if not isinstance(source_options, Mapping):
        raise RecipeError([f"{place} = {source_options!r}: expected a table of options"])
    return validate_options(plugin, source_options, place)


def _open(
    plugin: Plugin,
    where: str,
    text: str,
    source_options: Mapping[str, Any],
    like: SampleSpec | None,
    left_out: str = "",
) -> Source:
    values = _validate(plugin, source_options)
    if readable_text(text) != text:  # it could not be written into records
        raise DataError(f"{readable_text(text)}: {not_utf8('rename the folder or file')}")
    try:
        with prints_to_stderr():
            source = plugin.load()(where, like, **values)
    except OSError as error:
        raise DataError(f"{error.filename or text}: {reason_of(error, 'cannot be read')}") from None
    except DataError as error:
        error.args = (with_places(str(error), "data", plugin),)
        raise
    except AekitError:
        raise
    except Exception as error:
        if plugin.distribution == BUILT_IN:
            raise
        raise plugin.failure(error) from error
    if not isinstance(source, Source):
        raise plugin.failure(TypeError(f"it returns {type(source).__name__}: expected a Source"))
    if plugin.distribution != BUILT_IN and (problem := source_problem(source)):
        raise PluginError(f"{plugin}: {problem}")
    lines = [left_out]
    if os.path.isdir(where) and source.labels is not None:
        lines.append(classes_without_files(Path(where), source.labels))
    elif os.path.isdir(where) and source.splits is not None:
        lines.append(splits_without_files(Path(where)))
    source.losses = (*source.losses, *filter(None, lines))
    source.origin = {"data": text, "source": plugin.name, "options": dict(source_options)}
    return check_source(source, text, like, plugin.qualified)
