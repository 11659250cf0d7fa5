"""List the files of a data set that is split into shards, such as ``train-00000-of-00002.parquet``, with their splits."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from aekit.data.readers.endings import IMAGE_ENDINGS
from aekit.data.readers.folders import files_in, holds_no_other, natural_key
from aekit.data.readers.tables import split_named
from aekit.errors import DataError

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MAX_SHARDS = 1_000_000
"""Most files that a range may name."""
_NUMBERED = re.compile(r"(?P<name>.*?)[-_.]?(?P<number>\d+)-of-(?P<count>\d+)")


@dataclass(frozen=True)
class Shards:
    """The files of a data set.

    Attributes:
        paths: the files.
        splits: split of each file, or None if the files name none, or all the same.
        losses: lines about files that seem to be missing.
    """

    paths: list[Path]
    splits: list[str] | None
    losses: tuple[str, ...] = ()


def list_shards(where: str | Path, endings: tuple[str, ...]) -> Shards:
    """List the shards of a data set.

    Args:
        where: a file, a folder, or a pattern with a range such as ``train-{000..003}.tar``.
        endings: endings of the files in a folder.

    Raises:
        DataError: there are none, or a file of the range is missing.
    """
    root = Path(where)
    paths = expand_range(root) or [root]
    if root.is_dir():
        paths = sorted(files_in(root, endings), key=lambda path: natural_key(path.relative_to(root)))
        if not paths:
            raise DataError(f"{root}: no files in it that end in {' or '.join(endings)}")
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file")
    splits = [_split_of(path, root) for path in paths]
    known = [split for split in splits if split is not None]
    several = len(known) == len(paths) and len(set(known)) > 1
    return Shards(paths, known if several else None, tuple(_missing_shards(paths)))


def holds_only(folder: Path, endings: tuple[str, ...]) -> bool:
    """Return whether a folder holds files with one of these endings, and no images, which would be its samples."""
    return holds_no_other(folder, endings, lambda reason: reason in IMAGE_ENDINGS)


def expand_range(path: Path) -> list[Path]:
    """Return the files of a pattern such as ``train-{000..003}.tar``, or [] for other paths.

    Raises:
        DataError: it names more than a million files.
    """
    match = _RANGE.search(path.name)
    if match is None:
        return []
    first, last = match.groups()
    if int(last) - int(first) >= MAX_SHARDS:
        raise DataError(f"{path}: names {int(last) - int(first) + 1:,} files; expected {MAX_SHARDS:,} at most")
    names = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
    return [path.with_name(path.name.replace(match.group(), name)) for name in names]


def expand_files(pattern: str) -> list[str]:
    """Return the paths or URLs of a pattern such as ``https://host/train-{000..003}.tar``, or the one that it is; [] for "".

    Raises:
        DataError: as `expand_range`.
    """
    folder, slash, name = pattern.rpartition("/")
    names = [path.name for path in expand_range(Path(name))] or [name]
    return [folder + slash + name for name in names] if pattern else []


def _split_of(path: Path, root: Path) -> str | None:
    """Return the split that a file's name begins with, or that a folder below the root is named after."""
    folders = path.relative_to(root).parts[:-1] if root.is_dir() else ()
    return next(filter(None, map(split_named, [re.split(r"[-_.\d]", path.name)[0], *reversed(folders)])), None)


def _missing_shards(paths: list[Path]) -> list[str]:
    """Describe sets of shards with fewer files than their names say."""
    if len(paths) < 2:
        return []  # a single file that was chosen
    present: Counter[tuple[str, int]] = Counter()
    for path in paths:
        if match := _NUMBERED.match(path.name):
            present[match["name"], int(match["count"])] += 1
    return [
        f"{expected - count} of {expected} files of {name!r} are missing, so that their samples are left out"
        for (name, expected), count in present.items()
        if count < expected
    ]
