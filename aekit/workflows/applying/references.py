"""The undamaged samples that go with damaged ones: another data set, a folder of the same names, or a column of paths."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from aekit.data.opening import open_data
from aekit.data.readers import tables
from aekit.data.readers.folders import list_files
from aekit.data.readers.image_lists import list_images
from aekit.data.readers.image_headers import IMAGE_ENDINGS, BadImage
from aekit.data.readers.images import read_full_size
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError, closest_name

if TYPE_CHECKING:
    from aekit.workflows.applying.context import Context


class CleanReferences:
    """The clean sample of each damaged one.

    Args:
        clean: what `aekit.open_data` takes; or a folder of images, matched by their paths, whole or from the right, with
            or without their endings; or the name of a column of DATA, a list of images.
        job: whose data is damaged.
        source: the damaged samples.
        own_size: whether images are read at their own size.
        like: what they are brought to; by default what the encoder takes.
        what: they are, for messages.
        shared: whether a single one may stand for all.

    Raises:
        DataError: a sample without its clean one, or there is no such place.
    """

    def __init__(
        self,
        clean: Any,
        context: Context,
        source: Source,
        own_size: bool,
        like: SampleSpec | None = None,
        what: str = "clean one",
        shared: bool = False,
    ) -> None:
        self.spec, self.source, self.own_size, self.what = like or context.spec, source, own_size, what
        self.paths: dict[int, Path] = {}
        column = _column(clean, context.data)
        if column is not None:
            self.paths = dict(enumerate(column))
        elif image_files(source) and isinstance(clean, (str, os.PathLike)) and os.path.isdir(clean):
            self.paths = _matched(Path(clean), source, what)
        else:
            self.other = open_data(clean, like=None if own_size else self.spec)
            one = shared and len(self.other) == 1
            self.rows = np.zeros(len(source), int) if one else _paired(clean, self.other, source, what)
            if own_size and (files := image_files(self.other)):
                self.paths = {row: files[place] for row, place in enumerate(self.rows.tolist())}

    def reference_for(self, row: int, shape: tuple[int, ...] | None) -> np.ndarray:
        """(*shape) for the damaged sample at a position of the source; of any shape where that is None.

        Raises:
            DataError: it cannot be read, or has another shape.
        """
        if row in self.paths:
            path = self.paths[row]
            try:
                found = read_full_size(path, self.spec) if self.own_size else self._sized(path)
            except BadImage as error:
                raise DataError(f"{path}: {error}; it is the {self.what} of {self.source.ids[row]}") from None
        else:
            rows, ok = self.other.read(np.asarray([self.rows[row]]))
            name = self.other.ids[int(self.rows[row])]
            if not ok[0]:
                raise DataError(f"{name}: {self.other.skipped[name]}; it is the {self.what} of {self.source.ids[row]}")
            found = rows[0]
        if shape is not None and found.shape != tuple(shape):
            sizes = " and ".join("x".join(map(str, size)) for size in (tuple(shape), found.shape))
            raise DataError(f"{self.source.ids[row]}: the damaged and the {self.what} are of shapes {sizes}")
        return found

    def _sized(self, path: Path) -> np.ndarray:
        return open_data(path, like=self.spec).read(np.asarray([0]))[0][0]


def image_files(source: Source) -> list[Path]:
    """The files of a source each of whose samples is a whole image file; none for others."""
    paths = getattr(source, "paths", [])
    return paths if len(paths) == len(source) else []


def _column(clean: Any, data: Any) -> list[Path] | None:
    """The files in a column of a list of images, where `clean` is the name of one."""
    table = isinstance(data, (str, os.PathLike)) and os.fspath(data).lower().endswith(tables.TABLE_ENDINGS)
    if not table or not isinstance(clean, str) or os.path.exists(clean) or ":" in clean:
        return None
    names = tables.column_names(Path(data))
    if clean not in names:
        raise DataError(f"{clean}: neither a file or folder nor a column of {data}{closest_name(clean, names)}")
    return list_images(os.fspath(data), clean).paths


def _matched(folder: Path, source: Source, what: str) -> dict[int, Path]:
    """Row -> the file whose path agrees with the row's id from the right."""
    files = sorted(path for path, reason in list_files(folder, IMAGE_ENDINGS) if not reason)
    whole = {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}
    found = {}
    for row, name in enumerate(source.ids):
        parts = PurePosixPath(name).with_suffix("").parts
        tails = ["/".join(parts[start:]) for start in range(len(parts))]
        match = next((whole[tail] for tail in tails if tail in whole), None)
        if match is None:
            raise DataError(f"{folder}: no {what} for {name}{closest_name(tails[-1], whole)}")
        found[row] = match
    return found


def _paired(clean: Any, other: Source, source: Source, what: str) -> np.ndarray:
    """(N,) rows of the clean samples: by their ids where these agree, else by their order."""
    places = {name: row for row, name in enumerate(other.ids)}
    if all(name in places for name in source.ids):
        return np.asarray([places[name] for name in source.ids])
    if len(other) != len(source):
        where = clean if isinstance(clean, (str, os.PathLike)) else f"the {what}s"
        raise DataError(f"{where}: {len(other)} samples for {len(source)} damaged ones; expected a {what} for each")
    return np.arange(len(source))
