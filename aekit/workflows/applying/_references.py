"""Find the clean sample of each damaged one: in another data set, a folder of the same names, or a column of paths."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from aekit.data.opening import open_data
from aekit.data.readers import tables
from aekit.data.readers.endings import IMAGE_ENDINGS, TABLE_ENDINGS
from aekit.data.readers.folders import files_in
from aekit.data.readers.image_headers import BadImage
from aekit.data.readers.image_lists import list_images
from aekit.data.readers.images import read_full_size
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError, closest_name

if TYPE_CHECKING:
    from aekit.workflows.applying._context import Context


class CleanReferences:
    """The clean sample of each damaged one.

    Args:
        clean: data as `aekit.open_data` takes it; or a folder of images, matched by path, whole or from the right, with or
            without suffix; or the name of a column of DATA, a list of images.
        context: the run and the damaged data.
        source: the damaged samples.
        original_size: whether images are read at their original size.
        like: spec to convert them to; by default that of the encoder.
        what: name of a sample, for messages.
        shared: whether a single one may be used for all samples.

    Raises:
        DataError: a sample has no clean one, or the data does not exist.
    """

    def __init__(
        self,
        clean: Any,
        context: Context,
        source: Source,
        original_size: bool,
        like: SampleSpec | None = None,
        what: str = "clean sample",
        shared: bool = False,
    ) -> None:
        self.spec, self.source, self.original_size, self.what = like or context.spec, source, original_size, what
        self.paths: dict[int, Path] = {}
        column = _column(clean, context.data)
        if column is not None:
            self.paths = dict(enumerate(column))
        elif image_files(source) and isinstance(clean, (str, os.PathLike)) and os.path.isdir(clean):
            self.paths = _matched(Path(clean), source, what)
        else:
            self.other = open_data(clean, like=None if original_size else self.spec)
            single = shared and len(self.other) == 1
            self.rows = np.zeros(len(source), int) if single else _paired(clean, self.other, source, what)
            if original_size and (files := image_files(self.other)):
                self.paths = {row: files[position] for row, position in enumerate(self.rows.tolist())}

    def reference_for(self, row: int, shape: tuple[int, ...] | None) -> np.ndarray:
        """Read the (*shape) clean sample of the damaged one at a position of the source; `shape` None accepts any.

        Raises:
            DataError: it cannot be read, or has another shape.
        """
        if row in self.paths:
            path = self.paths[row]
            try:
                values = read_full_size(path, self.spec) if self.original_size else self._resized(path)
            except BadImage as error:
                raise DataError(f"{path}: {error}; the {self.what} of {self.source.ids[row]}") from None
        else:
            rows, ok = self.other.read(np.asarray([self.rows[row]]))
            name = self.other.ids[int(self.rows[row])]
            if not ok[0]:
                raise DataError(f"{name}: {self.other.skipped[name]}; the {self.what} of {self.source.ids[row]}")
            values = rows[0]
        if shape is not None and values.shape != tuple(shape):
            sizes = " and ".join("x".join(map(str, size)) for size in (tuple(shape), values.shape))
            raise DataError(f"{self.source.ids[row]}: the damaged and the {self.what} have shapes {sizes}")
        return values

    def _resized(self, path: Path) -> np.ndarray:
        return open_data(path, like=self.spec).read(np.asarray([0]))[0][0]


def image_files(source: Source) -> list[Path]:
    """Return the files of a source whose samples are whole image files; empty for other sources."""
    paths = getattr(source, "paths", [])
    return paths if len(paths) == len(source) else []


def _column(clean: Any, data: Any) -> list[Path] | None:
    """Return the files in a column of a list of images, if `clean` names one."""
    is_table = isinstance(data, (str, os.PathLike)) and os.fspath(data).lower().endswith(TABLE_ENDINGS)
    if not is_table or not isinstance(clean, str) or os.path.exists(clean) or ":" in clean:
        return None
    names = tables.column_names(Path(data))
    if clean not in names:
        raise DataError(f"{clean}: neither a file or folder nor a column of {data}{closest_name(clean, names)}")
    return list_images(os.fspath(data), clean).paths


def _matched(folder: Path, source: Source, what: str) -> dict[int, Path]:
    """Return row -> the file whose path matches the id of the row from the right."""
    files = sorted(files_in(folder, IMAGE_ENDINGS))
    by_path = {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}
    matches = {}
    for row, name in enumerate(source.ids):
        parts = PurePosixPath(name).with_suffix("").parts
        tails = ["/".join(parts[start:]) for start in range(len(parts))]
        match = next((by_path[tail] for tail in tails if tail in by_path), None)
        if match is None:
            raise DataError(f"{folder}: no {what} for {name}{closest_name(tails[-1], by_path)}")
        matches[row] = match
    return matches


def _paired(clean: Any, other: Source, source: Source, what: str) -> np.ndarray:
    """Return the (N,) rows of the clean samples: by id if all ids match, else by order."""
    rows = {name: row for row, name in enumerate(other.ids)}
    if all(name in rows for name in source.ids):
        return np.asarray([rows[name] for name in source.ids])
    if len(other) != len(source):
        title = clean if isinstance(clean, (str, os.PathLike)) else f"the {what}s"
        raise DataError(f"{title}: {len(other)} samples for {len(source)} damaged ones; expected one {what} for each")
    return np.arange(len(source))
