"""List the files of a folder, with the reasons for ignoring some, in natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def list_files(root: Path, endings: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Yield the files below a folder, each with "" or the reason for ignoring it: another ending, or ``hidden``.

    Each folder is entered once, so that circular links end. Hidden folders, and the one that macOS adds to archives, are
    ignored.
    """
    pending, visited = [root], set()
    while pending:
        folder = pending.pop()
        state = folder.stat()
        if (state.st_dev, state.st_ino) in visited:
            continue
        visited.add((state.st_dev, state.st_ino))
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                ending = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    yield Path(entry.path), "hidden"
                elif os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    pending.append(Path(entry.path))
                elif ending in endings and (entry.is_symlink() or entry.is_file()):
                    yield Path(entry.path), ""
                else:
                    yield Path(entry.path), ending or "without an ending"


def contains_files(root: Path, endings: tuple[str, ...]) -> bool:
    """Return whether there is a file with one of these endings below a folder."""
    return any(not reason for _, reason in list_files(root, endings))


def natural_key(path: Path) -> list[list[str | int]]:
    """Return a sorting key that puts ``2.jpg`` before ``10.jpg``."""
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(piece) if number % 2 else piece for number, piece in enumerate(split)] for split in pieces]


def classes_without_files(root: Path, labels: np.ndarray) -> list[str]:
    """Return the folders that have no sample beside those that are the classes of (N,) labels, on the same level."""
    classes = set(map(str, np.unique(labels).tolist()))
    level = [root]
    for _ in range(2):  # classes, or classes within splits
        level = [Path(entry.path) for folder in level for entry in os.scandir(folder) if entry.is_dir()]
        names = {folder.name for folder in level if not folder.name.startswith(".")}
        if classes <= names:
            return sorted(names - classes)
    return []
