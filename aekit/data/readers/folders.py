"""List the files of a folder, with the reasons for ignoring some, in natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from aekit.errors import DataError
from aekit.io.atomic import check_text
from aekit.io.remote_urls import is_remote
from aekit.progress import warn

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


def list_files(root: Path, endings: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Yield the files below a folder, each with "" or the reason for ignoring it: another ending, ``hidden``, or ``written
    by aekit``.

    Each folder is entered once, so that circular links end. Hidden folders, those that operating systems add, and those below
    the root that aekit wrote are ignored.
    """
    pending, visited = [root], set()
    while pending:
        folder = pending.pop()
        state = folder.stat()
        if (state.st_dev, state.st_ino) in visited:
            continue
        visited.add((state.st_dev, state.st_ino))
        with os.scandir(folder) as entries:
            names = sorted(entries, key=lambda entry: entry.name, reverse=True)
            tables = {entry.name.removesuffix(".parquet") for entry in names if entry.name.endswith(".parquet")}
            for entry in names:
                ending = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith((".", "~$")) or entry.name.lower() in _SYSTEM:
                    yield Path(entry.path), HIDDEN
                elif os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    if is_output(Path(entry.path)):
                        yield Path(entry.path), WRITTEN
                    else:
                        pending.append(Path(entry.path))
                elif (
                    ending == ".png"
                    and entry.name[:-4] in tables
                    and _has_digest(Path(entry.path).with_suffix(".parquet"))
                ):
                    yield Path(entry.path), WRITTEN
                elif ending in endings and _is_file(entry):
                    yield Path(entry.path), ""
                else:
                    yield Path(entry.path), _shown_ending(entry.name) or "without an ending"


def _shown_ending(name: str) -> str:
    """Return the ending of a name in lower case, such as .csv, or .nii.gz for what is packed."""
    packed = re.search(r"(\.[a-z]\w{0,5})?\.(gz|bz2|xz|zst)$", name.lower())
    return packed[0] if packed else os.path.splitext(name)[1].lower()


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a file, or a link to one or to nothing, which is reported as missing; no pipe or device."""
    if not entry.is_symlink():
        return entry.is_file()
    return os.path.isfile(entry.path) or not os.path.exists(entry.path)


def contains_files(root: Path, endings: tuple[str, ...]) -> bool:
    """Return whether there is a file with one of these endings below a folder."""
    return any(not reason for _, reason in list_files(root, endings))


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
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(piece) if number % 2 else piece for number, piece in enumerate(split)] for split in pieces]


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


def _has_digest(path: Path) -> bool:
    """Return whether aekit wrote a Parquet file, as it writes the coordinates of a map beside its image."""
    from aekit.data.readers._parquet_files import parquet_columns

    try:
        return b"aekit.digest" in (parquet_columns(path).metadata or {})
    except DataError:
        return False


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
