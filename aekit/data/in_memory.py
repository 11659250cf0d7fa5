"""Make sources of what is in memory or has been read from a file: arrays, tables, records and other contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aekit.data._arrays import stack_rows, to_numbers
from aekit.data.axes import KindOption, Layout, infer_axes
from aekit.data.contents import Contents, ImagesOnDemand
from aekit.data.readers._encoded_images import EncodedImages
from aekit.data.readers.image_headers import MAX_MEGAPIXELS
from aekit.data.readers.images import ImageItems
from aekit.data.readers.named_arrays import ArrayOptions, read_named_arrays
from aekit.data.readers.record_options import NUMBER_DEFAULTS
from aekit.data.readers.record_rows import Records
from aekit.data.readers.records import read_records
from aekit.data.readers.table_columns import read_columns
from aekit.data.source import ArraySource, Source
from aekit.data.spec import SampleSpec
from aekit.errors import RecipeError


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
    losses: list[str] = []
    if array.dtype == object and array.ndim == 1:
        array = stack_rows(array.tolist())
    if array.dtype.kind in "OUS":
        array, losses = to_numbers(array)
    arranged, inferred, note = infer_axes(array, kind, layout, like)
    source = ArraySource(arranged, kind=inferred, labels=labels, ids=ids, splits=splits)
    if like is not None and like.columns and inferred == "vector":
        names = [column.name for column in like.columns]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        note = f"columns without names are taken in the order of those of the training: {shown}"
    source.notes, source.losses = (note,) if note else (), tuple(losses)
    return source


def from_table(
    table: pa.Table, *, like: SampleSpec | None = None, place: str = "the table", **options: Any
) -> ArraySource:
    """Make a source of the rows of a table, as `aekit.data.readers.table_columns.read_columns` reads it with these options."""
    read = read_columns(table, place, like=like, **options)
    source = ArraySource(
        read.array, kind="vector", labels=read.labels, ids=read.ids, splits=read.splits, columns=read.columns
    )
    source.notes, source.losses, source.metadata = (read.note,) if read.note else (), read.losses, read.metadata
    return source


def open_contents(
    contents: Contents,
    like: SampleSpec | None = None,
    spec_options: Mapping[str, Any] | None = None,
    column_options: Mapping[str, Any] | None = None,
) -> Source:
    """Make a source of samples that a format or a container holds.

    Args:
        contents: the samples, with labels, ids and splits.
        like: spec of an encoder's input.
        spec_options: options of `aekit.data.readers.image_headers.choose_spec`, by name, for images, and `max_megapixels` for
            those that are decoded.
        column_options: options of `aekit.data.readers.table_columns.read_columns`, by name, for tables.

    Raises:
        DataError: there are no samples, no image can be read, or the array does not hold samples.
    """
    samples, labels, ids, splits = contents.samples, contents.labels, contents.ids, contents.splits
    spec_options = dict(spec_options or {})
    max_megapixels = spec_options.pop("max_megapixels", MAX_MEGAPIXELS)
    source: Source
    if isinstance(samples, np.ndarray):
        source = from_array(samples, like=like, labels=labels, ids=ids, splits=splits)
    elif isinstance(samples, pa.Table):
        source = from_table(samples, like=like, place=contents.place, **(column_options or {}))
        source.labels = source.labels if labels is None else labels
    elif isinstance(samples, ImagesOnDemand):
        source = ImageItems(samples.count, samples.item, like, labels, splits, spec_options)
        source.ids = source.ids if ids is None else ids
    else:
        source = EncodedImages(samples, contents, like, spec_options, max_megapixels)
    source.metadata = contents.metadata or source.metadata
    source.notes, source.losses = (*contents.notes, *source.notes), (*contents.losses, *source.losses)
    return source


def open_named_arrays(
    arrays: Mapping[str, Any],
    load: Callable[[str], np.ndarray],
    place: str,
    like: SampleSpec | None,
    options: ArrayOptions,
) -> Source:
    """Make a source of named arrays, as a plugin does for its format; arguments and errors as of `read_named_arrays`."""
    return open_contents(read_named_arrays(arrays, load, place, **options), like)


def open_records(
    records: Records,
    place: str,
    like: SampleSpec | None,
    source: str,
    options: Mapping[str, Any],
    *,
    base: Path | None = None,
    losses: Sequence[str] = (),
) -> Source:
    """Make a source of records, as a plugin does for its format.

    Args:
        records: the rows.
        place: where they come from, for messages.
        like: spec of an encoder's input.
        source: name of the plugin, for messages.
        options: `RecordOptions`, and further options of `choose_spec`.
        base: folder that paths start from.
        losses: further lines about data that was left out.

    Raises:
        DataError: as `read_records` and `open_contents`.
        RecipeError: options for records of plain numbers, and the records hold others.
    """
    of_images: dict[str, Any] = {**options, "source": source}
    column, label = (of_images.pop(name, "auto") for name in ("column", "label"))
    of_numbers = {name: of_images.pop(name, default) for name, default in NUMBER_DEFAULTS.items()}
    contents = read_records(records, place, column=column, label=label, base=base)
    changed = {name: value for name, value in of_numbers.items() if value != NUMBER_DEFAULTS[name]}
    if changed and not isinstance(contents.samples, pa.Table):
        what = "is of records of plain numbers, and these hold other samples; column chooses them"
        raise RecipeError([f"data.{source}.{name} = {value!r}: {what}" for name, value in changed.items()])
    contents = replace(contents, losses=(*losses, *contents.losses))
    return open_contents(contents, like, of_images, {"y": label, **of_numbers})
