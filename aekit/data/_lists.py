"""Read lists and iterators of images, paths, bytes, records or pairs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from aekit.data._items import axes_of, is_label, read_iterable
from aekit.data.contents import Contents, ImagesOnDemand
from aekit.data.readers.endings import IMAGE_ENDINGS
from aekit.errors import DataError


def read_iterator(items: Iterator[Any], name: str) -> Contents | None:
    first = next(items, None)
    if isinstance(first, (str, os.PathLike, bytes, bytearray)):
        contents = read_list([first, *items])
        assert contents is not None  # of paths and bytes
        return replace(contents, notes=(f"the {name} was read into a list",))
    return read_iterable(items if first is None else chain([first], items), name)


def read_list(items: Sequence[Any]) -> Contents | None:
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
                return read_image_objects(items)
            if what == "paths":
                return _paths([os.fspath(item) for item in items])
            if what == "bytes":
                return Contents([bytes(item) for item in items], place="the list")
            cells = dict(items[0]).values()
            is_record = all(axes_of(cell) == 0 and not is_image(cell) for cell in cells)
            return Contents(_records(items)) if is_record else read_iterable(iter(items), "list")
    pairs = isinstance(first, tuple) and len(first) == 2 and axes_of(first[0]) > 0 and is_label(first[1])
    if pairs or (isinstance(first, tuple) and first and isinstance(first[0], Image.Image)):
        return read_iterable(iter(items), "list")
    return None


def is_image(value: Any) -> bool:
    return isinstance(value, Image.Image)


def _records(items: Sequence[Mapping[str, Any]]) -> pa.Table:
    try:
        return pa.Table.from_pylist(items)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"a list of dicts whose values differ in type ({next(iter(str(error).splitlines()), '')})"
        ) from None


def read_image_objects(images: Sequence[Image.Image]) -> Contents:
    frames = [row for row, image in enumerate(images) if getattr(image, "n_frames", 1) > 1]
    losses = (f"{len(frames)} images have several frames, of which the current one is used",) if frames else ()
    return Contents(ImagesOnDemand(len(images), lambda row: images[row].copy()), losses=losses)


def _paths(paths: list[str]) -> Contents:
    """Unwrap a list of image files."""
    files = [Path(os.path.expanduser(path)) for path in paths]
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
        twice = Counter(paths).most_common(1)[0][0]
        raise DataError(f"{repeated} paths occur more than once in the list, e.g. {twice!r}; ids must be unique")
    return Contents(files, ids=[Path(path).as_posix() for path in paths], place="the list of paths")
