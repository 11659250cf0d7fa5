"""Walking a folder of data: what counts, what is left out and why, and the order in which people number things."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path


def list_files(root: Path, endings: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """The files below a folder, each with "" or why it does not count: another ending, or ``hidden``.

    A folder is entered once, whatever links to it; so links that go in circles end. Hidden folders and what macOS adds
    to archives are not entered.
    """
    waiting, seen = [root], set()
    while waiting:
        folder = waiting.pop()
        state = folder.stat()
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                ending = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    yield Path(entry.path), "hidden"
                elif os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    waiting.append(Path(entry.path))
                elif ending in endings and (entry.is_symlink() or entry.is_file()):
                    yield Path(entry.path), ""
                else:
                    yield Path(entry.path), ending or "without an ending"


def contains_files(root: Path, endings: tuple[str, ...]) -> bool:
    """Whether there is a file of these endings below a folder."""
    return any(not reason for _, reason in list_files(root, endings))


def natural_key(path: Path) -> list[list[str | int]]:
    """A sorting key that puts ``2.jpg`` before ``10.jpg``."""
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(piece) if number % 2 else piece for number, piece in enumerate(split)] for split in pieces]
