"""List the files of a folder, with the reasons for ignoring some, in natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from aekit.data.readers._folder_walk import walk
from aekit.io.atomic import check_text
from aekit.io.remote_urls import is_remote
from aekit.progress import warn

_DIGITS = re.compile(r"(\d+)")


def list_files(root: Path, endings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the paths of files below a folder, each with "" or the reason for ignoring it: another ending, ``hidden``, or
    ``written by aekit``.

    They come as `aekit.data.readers._folder_walk.walk` finds them; folders that it does not enter come as files.
    """
    for entry in walk(root):
        if not entry.reason and entry.is_file and entry.ending in endings:
            yield entry.path, ""
        else:
            yield entry.path, entry.reason or entry.kind()


def files_in(root: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files below a folder that have one of these endings and that `list_files` gives no reason to ignore."""
    return (Path(path) for path, reason in list_files(root, endings) if not reason)


def relative_files(root: Path, paths: Iterable[str]) -> list[Path]:
    """Return paths below a folder, as `list_files` yields them, relative to it and in natural order."""
    start = len(os.path.join(root, ""))
    return sorted((Path(path[start:]) for path in paths), key=natural_key)


def contains_files(root: Path, endings: tuple[str, ...]) -> bool:
    """Return whether there is a file with one of these endings below a folder."""
    return any(entry.is_file and not entry.reason and entry.ending in endings for entry in walk(root))


def holds_no_other(root: Path, endings: tuple[str, ...], is_other: Callable[[str], bool]) -> bool:
    """Return whether a folder holds files with one of these endings, and none whose `reason` in `list_files` is another's.

    It is listed only as far as that takes.
    """
    holds = False
    for _, reason in list_files(root, endings):
        if reason and is_other(reason):
            return False
        holds = holds or not reason
    return holds


def natural_key(path: Path) -> list[list[str | int]]:
    """Return a sorting key that puts ``2.jpg`` before ``10.jpg``."""
    parts = path.parts
    return [*map(_folder_key, parts[:-1]), *map(_name_key, parts[-1:])]


def _name_key(name: str) -> list[str | int]:
    return [int(piece) if number % 2 else piece for number, piece in enumerate(_DIGITS.split(name))]


_folder_key = lru_cache(2**12)(_name_key)
"""The same for the names of folders, which many files share."""


def warn_if_inside(out: str | Path | None, data: object) -> None:
    """Warn where the folder `out` lies inside of the folder `data`, whose files other programs take for samples."""
    if out is None or not isinstance(data, (str, os.PathLike)) or is_remote(out) or is_remote(data):
        return
    check_text(out)
    name = os.fspath(data)
    where = name if os.path.isdir(name) else name.partition(":")[2]
    folder = Path(where)
    if where and folder.is_dir() and folder.resolve() in Path(out).resolve().parents:
        warn(f"{out} lies inside of the data, {folder}; aekit leaves it out, but choose a folder outside of it")


def readable_ids(paths: Sequence[Path]) -> tuple[list[str], str]:
    """Return ids for relative paths (N,), which are valid text even where a name is not UTF-8.

    Bytes of other encodings are read as Latin-1, and escaped where that is the name of another file.

    Returns:
        (N,) ids, and a line about the names that were changed, or "".
    """
    ids = [path.as_posix() for path in paths]
    broken = [row for row, name in enumerate(ids) if not _is_text(name)]
    if not broken:
        return ids, ""
    taken = set(ids)
    for row in broken:
        raw = os.fsencode(ids[row])
        name = raw.decode("latin-1")
        ids[row] = raw.decode("utf-8", "backslashreplace") if name in taken else name
        taken.add(ids[row])
    names = "1 file name is" if len(broken) == 1 else f"{len(broken)} file names are"
    return ids, f"{names} not UTF-8 and read as Latin-1, e.g. {ids[broken[0]]!r}"


def readable_text(text: str) -> str:
    """Return a name as valid text: bytes that are not UTF-8 are read as Latin-1."""
    return text if _is_text(text) else os.fsencode(text).decode("latin-1")


def _is_text(name: str) -> bool:
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def splits_without_files(root: Path) -> str:
    """Return a line on folders below a folder of splits that hold no file at all, or ""."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    empty = [path.name for path in folders if not any(files for _, _, files in os.walk(path))]
    return f"folders without a file: {', '.join(empty[:5])}{' ...' if len(empty) > 5 else ''}" if empty else ""


def classes_without_files(root: Path, labels: np.ndarray) -> str:
    """Return a line on folders without a sample beside those that are the classes of (N,) labels, on the same level, or ""."""
    classes = set(map(str, np.unique(labels).tolist()))
    level = [root]
    for _ in range(2):  # classes, or classes within splits
        level = [Path(entry.path) for folder in level for entry in os.scandir(folder) if entry.is_dir()]
        names = {folder.name for folder in level if not folder.name.startswith(".")}
        if classes <= names:
            empty = sorted(names - classes)
            shown = ", ".join(empty[:5]) + (" ..." if len(empty) > 5 else "")
            return f"folders without a sample, which are not classes: {shown}" if empty else ""
    return ""
