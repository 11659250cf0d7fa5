"""Find the column of paths in a list of images, and the files that its paths stand for."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from aekit.data.readers._parquet_files import first_rows
from aekit.data.readers._spreadsheets import is_spreadsheet, read_first_rows
from aekit.data.readers.endings import ARFF_ENDINGS, IMAGE_ENDINGS, STATISTICS_ENDINGS
from aekit.data.readers.folders import readable_text
from aekit.data.reading import reading
from aekit.errors import DataError

PATH_NAMES = (
    *"path file filename image filepath imagepath imagefile imagefilename imagename img imgpath imgfile imgfilename".split(),
    *"imgname fname fpath photo photopath relativepath relpath imageid imgid".split(),
)
"""Names of a column of paths, in order of precedence, in lower case and without anything but letters."""
_SHORT = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".JPG", ".JPEG", ".PNG")
"""Endings that are tried for paths without one."""
_ID_COLUMNS = ("id", "id_code", "image_id", "imageid", "img_id", "photo_id", "file_id", "isic_id")
"""Names of columns of ids, in lower case, that may be the names of images."""
_NARROW = 3
"""Most columns of a list whose ids are the names of images; a wider table with ids holds what it says of them."""
_ROWS, _FOLDERS, _STRIPPED = 20, 60, 8
"""Numbers of paths that are tried, of folders that they may be relative to, and of leading folders that may be missing here."""


def path_column(names: Sequence[str], values: Mapping[str, Sequence[object]]) -> str | None:
    """Return the name of the column of paths, by common names, and names of images before others; None if there is none.

    Args:
        names: names of all columns.
        values: values of each, or some of them.
    """
    by_letters = {"".join(re.findall("[a-z]+", name.lower())): name for name in reversed(names)}
    known = [by_letters[name] for name in PATH_NAMES if name in by_letters]
    return next((name for name in known if any(map(is_image_name, values[name]))), next(iter(known), None))


def is_image_name(value: object) -> bool:
    """Return whether a value ends like the name of an image file."""
    return isinstance(value, str) and value.strip().lower().endswith(IMAGE_ENDINGS)


def lists_images(path: Path) -> bool:
    """Return whether a table is a list of images: a column names image files, by its name or by its values."""
    rows = _head(path)
    if not rows:
        return False
    if any(is_image_name(name) for name in rows[0]):  # no header
        return True
    values = {name: [row[name] for row in rows] for name in rows[0]}
    named = path_column(list(values), values)
    if named is None:
        naming = [list(map(str, column)) for column in values.values() if all(map(is_image_name, column))]
        return any(_Places(path, texts).score_of_best() for texts in naming) or image_ids(path, values) is not None
    if not all(isinstance(value, (str, int)) for value in values[named]):
        return False
    texts = [str(value).strip() for value in values[named]]
    if any(map(is_image_name, texts)):
        return True
    return any(PurePosixPath(text).suffix == "" for text in texts) and bool(_Places(path, texts).score_of_best())


def image_ids(path: Path, values: Mapping[str, Sequence[object]]) -> str | None:
    """Return the column of ids of a table of few columns, such as ``id,breed``, if most are names of image files beside it.

    A few that are may be numbers of rows beside images that are numbered too.
    """
    named = next((name for name in values if name.strip().lower() in _ID_COLUMNS), None)
    if named is None or len(values) > _NARROW:
        return None
    texts = [str(value).strip() for value in values[named]]
    if not texts or not all(texts):
        return None
    places = _Places(path, texts)
    return named if 2 * places.score_of_best() >= len(places.names) else None


def resolve_paths(listed: Path, names: Sequence[str], column: str) -> tuple[list[Path], list[str], list[str]]:
    """Find the files that the paths of a list stand for.

    Paths are relative to the list. If there are no such files, they may be relative to a folder beside it, have leading
    folders of another computer, or lack their ending.

    Args:
        listed: the list.
        names: (N,) paths in it, with ``/`` or backslashes.
        column: their column, for messages.

    Returns:
        (N,) files, notes on where they are, and lines about missing ones.

    Raises:
        DataError: a path is a web address, or none of the files exists.
    """
    web = next((row for row, name in enumerate(names) if re.match(r"(https?|s3|gs|ftp)://", name)), None)
    if web is not None:
        raise DataError(f"{listed}: row {web} of {column!r} is a web address, {names[web]!r}; download the files first")
    places = _Places(listed, names)
    place = places.best()
    files = [place.file(name) for name in names]
    missing = [name for name, file in zip(names, files) if not file.is_file()]
    if len(missing) == len(files):
        advice = f"to read its numbers, open arrays:{listed}"
        raise DataError(f"{listed}: none of the {len(files)} files in {column!r} exists, e.g. {files[0]}; {advice}")
    notes = [] if place == places.default else [f"paths in {column!r} are read as {place}, e.g. {names[0]!r}"]
    counted = f"{len(missing)} of {len(files)} files in {column!r} are missing, e.g. {missing[0]!r}" if missing else ""
    return files, notes, [counted] if missing else []


class _Place:
    """A folder that paths are relative to, with leading folders that are left out and an ending that is added."""

    def __init__(self, folder: Path, stripped: int = 0, ending: str = "", name: str = "") -> None:
        self.folder, self.stripped, self.ending, self.name = folder, stripped, ending, name

    def file(self, name: str) -> Path:
        """Return the file that a path stands for."""
        if (self.folder / name).exists() and not self.stripped:
            return self.folder / name
        parts = PurePosixPath(forward_slashes(name)).parts
        tail = "/".join(parts[min(self.stripped, len(parts) - 1) :])
        return self.folder / (tail if is_image_name(tail) else tail + self.ending)

    def __str__(self) -> str:
        ending = f" with {self.ending}" if self.ending else ""
        return f"relative to {self.name}{', without their first folders' if self.stripped else ''}{ending}"


class _Places:
    """The places that paths of a list may be relative to."""

    def __init__(self, listed: Path, names: Sequence[str]) -> None:
        distinct = list(dict.fromkeys(names))
        self.names = random.Random(0).sample(distinct, min(_ROWS, len(distinct)))
        self.root, self.default = listed.parent, _Place(listed.parent)

    def best(self) -> _Place:
        """Return the place with most of the files, the default one first."""
        return max(self._places_tried(), key=self._count, default=self.default)

    def score_of_best(self) -> int:
        """Return how many of the paths that are tried are files there."""
        return self._count(self.best())

    def _places_tried(self) -> Iterator[_Place]:
        """Yield places until one has all files."""
        for place in self._places():
            yield place
            if self._count(place) == len(self.names):
                return

    def _count(self, place: _Place) -> int:
        return sum(place.file(name).is_file() for name in self.names)

    def _places(self) -> Iterator[_Place]:
        yield self.default
        depth = max(len(PurePosixPath(forward_slashes(name)).parts) for name in self.names)
        endings = ("",) if any(map(is_image_name, self.names)) else _SHORT
        for folder in _folders_near(self.root):
            for stripped in range(min(depth, _STRIPPED)):
                for ending in endings:
                    name = repr(folder.relative_to(self.root).as_posix()) if self.root in folder.parents else ""
                    here = "the list" if folder == self.root else "the folder above the list"
                    yield _Place(folder, stripped, ending, name or here)


def forward_slashes(name: str) -> str:
    """Return a path with ``/`` between folders, without blanks around it."""
    return name.strip().replace("\\", "/")


def _folders_near(root: Path) -> list[Path]:
    """Return the folder of a list, those in it, two levels deep, and the one above it."""
    folders = [root]
    for base in (root, *_subfolders(root)):
        folders += [folder for folder in _subfolders(base) if folder not in folders]
    return [*folders[: _FOLDERS - 1], root.parent]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _start_of(path: Path) -> str:
    with reading(path), pa.input_stream(str(path)) as stream:  # unpacks .gz
        raw = stream.read(1 << 16)
    return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")


def _head(path: Path) -> list[dict[str, Any]]:
    """Return the first rows of a table, without reading the others; [] if it is none."""
    try:
        if path.suffix.lower() == ".parquet":
            return first_rows(path, _ROWS)
        if path.name.lower().endswith((*ARFF_ENDINGS, *STATISTICS_ENDINGS)):
            return []
        text = read_first_rows(path) if is_spreadsheet(path) else _start_of(path)
    except DataError:  # whoever reads it whole says what is wrong
        return []
    lines = [line for line in text.splitlines()[: _ROWS + 1] if line.strip()]
    if not lines:
        return []
    delimiter = max(",;\t|", key=lines[0].count)
    if delimiter not in lines[0] and is_image_name(lines[0].split()[0]):
        delimiter = " "
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
    except csv.Error:
        return []
    names = [readable_text(name.strip()) for name in rows[0]]
    return [dict(zip(names, row)) for row in rows[1:] if len(row) == len(names)] or [dict.fromkeys(names, "")]
