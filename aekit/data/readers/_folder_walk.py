"""Walk a folder once for all who ask what is in it while a data set is opened."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import NamedTuple

from aekit.errors import DataError

HIDDEN, WRITTEN = "hidden", "written by aekit"
"""Reasons for ignoring files, besides their endings."""
_RECORDS = (
    "classifier.json",
    "clusters.json",
    "decoder.json",
    "curation.json",
    "detector.json",
    "drift.json",
    "duplicates.json",
    "encoder.json",
    "label_errors.json",
    "manifest.json",
    "pretext.json",
    "projector_config.pbtxt",
    "propagated.json",
    "results.json",
)
"""Files that mark a folder that aekit wrote, together with what they begin with."""
_MARK = re.compile(rb'"(aekit|digest|encoder)": "[0-9a-f.]+|"unfinished": true|image_path: "sprite\.png"')
_SYSTEM = ("__macosx", "$recycle.bin", "system volume information", "@eadir", "lost+found")
"""Folders that operating systems add, in lower case."""
_PACKED = (".gz", ".bz2", ".xz", ".zst")


class Found(NamedTuple):
    """A file below a folder, or a folder that is not entered.

    Attributes:
        path: the path of the folder that is walked, and the rest.
        ending: ending of a file in lower case, such as ``.png``, or "".
        reason: why nobody reads it, `HIDDEN` or `WRITTEN`; else "".
        is_file: whether it is a file, or a link to one or to nothing, which is reported as missing; no pipe or device.
    """

    path: str
    ending: str
    reason: str
    is_file: bool

    def kind(self) -> str:
        """Return the ending that messages show: that of the name, ``.nii.gz`` for what is packed, or ``without an ending``."""
        if self.ending in _PACKED:
            packed = re.search(r"(\.[a-z]\w{0,5})?\.\w+$", self.path.lower())
            return packed[0] if packed else self.ending
        return self.ending or "without an ending"


def walk(root: Path) -> Iterator[Found]:
    """Yield what is below a folder, as far as the caller asks for it.

    Each folder is entered once, so that circular links end. Hidden folders, those that operating systems add, and those below
    the root that aekit wrote are not entered. Within `walks_kept`, the folder is read once for all callers.
    """
    kept = _KEPT.get()
    if kept is None:
        for files in _folders(root):
            yield from files
    else:
        place = os.fspath(root)
        if place not in kept:
            kept[place] = _Walk(root)
        yield from kept[place].files()


@contextmanager
def walks_kept() -> Iterator[None]:
    """Let `walk` read each folder once while the code inside runs in this thread; it is read again afterwards."""
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


class _Walk:
    """A walk that several callers share, each of which continues where the one that went furthest has stopped.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._read: list[list[Found]] = []
        self._rest = _folders(root)
        self._error: OSError | None = None

    def files(self) -> Iterator[Found]:
        """Yield as `walk`, with the same error again where a folder cannot be read."""
        for number in count():
            if number == len(self._read):
                if self._error is not None:  # a generator that has raised looks as if it had ended
                    raise self._error
                try:
                    self._read.append(next(self._rest))
                except StopIteration:
                    return
                except OSError as error:
                    self._error = error
                    raise
            yield from self._read[number]


_KEPT: ContextVar[dict[str, _Walk] | None] = ContextVar("walks", default=None)


def _folders(root: Path) -> Iterator[list[Found]]:
    """Yield what each folder below a folder holds besides folders that are entered."""
    pending, visited = [os.fspath(root)], set()
    while pending:
        folder = pending.pop()
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in visited:
            continue
        visited.add((state.st_dev, state.st_ino))
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name, reverse=True)
        tables = {entry.name.removesuffix(".parquet") for entry in entries if entry.name.endswith(".parquet")}
        files = []
        for entry in entries:
            name = entry.name
            ending = os.path.splitext(name)[1].lower()
            if name.startswith((".", "~$")) or name.lower() in _SYSTEM:
                files.append(Found(entry.path, ending, HIDDEN, False))
                continue
            is_folder, is_file = _type(entry)
            if is_folder and not is_output(Path(entry.path)):
                pending.append(entry.path)
            else:
                written = is_folder or (ending == ".png" and name[:-4] in tables and _has_digest(entry.path))
                files.append(Found(entry.path, ending, WRITTEN if written else "", is_file))
        yield files


def _type(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Return whether an entry is a folder, and whether it is a file as `Found` has it; a link is looked up once."""
    if not entry.is_symlink():
        return entry.is_dir(), entry.is_file()
    try:
        mode = os.stat(entry.path).st_mode
    except OSError:
        return False, True
    return stat.S_ISDIR(mode), stat.S_ISREG(mode)


def is_output(folder: Path) -> bool:
    """Return whether aekit wrote a folder: a run, embeddings, an index, restored samples and so on."""
    if folder.name.endswith(".part"):  # one that is being written, or was interrupted
        return True
    if os.path.isfile(folder / "recipe.toml") and os.path.isfile(folder / "checkpoint" / "data.json"):
        return True
    place = os.fspath(folder)
    for name in _RECORDS:
        try:
            with open(
                f"{place}/{name}", "rb"
            ) as file:  # folders may be many: a path object costs more than the attempt
                if _MARK.search(file.read(600)):
                    return True
        except OSError:
            continue
    return False


def _has_digest(image: str) -> bool:
    """Return whether aekit wrote the Parquet file beside an image, as it writes the coordinates of a map."""
    from aekit.data.readers._parquet_files import parquet_columns

    try:
        return b"aekit.digest" in (parquet_columns(Path(image).with_suffix(".parquet")).metadata or {})
    except DataError:
        return False
