"""Keep arrays that took long to compute for later commands, found by a key of everything that they depend on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from aekit.io.atomic import atomic_folder
from aekit.io.cache_folder import cache_folder, make_room
from aekit.progress import SILENT, Progress


class ArrayCache:
    """A folder of the cache with a folder of arrays for each key; the ones that were not used for the longest time go first.

    Args:
        kind: name of the folder, and of its arrays in messages, such as ``baselines``.
        max_bytes: size of all arrays that are kept.
        progress: receives a line on each entry that is read, or is damaged.

    Attributes:
        folder: the folder.
    """

    def __init__(self, kind: str, max_bytes: int, progress: Progress = SILENT) -> None:
        self.kind, self.max_bytes, self.progress = kind, max_bytes, progress
        self.folder = cache_folder() / kind

    def read(self, key: str, names: set[str], count: int, *, mapped: bool = False) -> dict[str, np.ndarray]:
        """Return the arrays of a key by name, or {} if there are none; a damaged entry is removed.

        Args:
            key: key of the arrays.
            names: names that must be among them.
            count: N, the length that each must have.
            mapped: map the files into memory instead of reading them.
        """
        entry = self.folder / key
        try:
            files = sorted(entry.glob("*.npy"))
            arrays = {path.stem: np.load(path, "r" if mapped else None, allow_pickle=False) for path in files}
            if not arrays:
                return {}
            if not names <= arrays.keys() or {len(array) for array in arrays.values()} != {count}:
                raise ValueError("files are missing")
            os.utime(entry)
        except (OSError, ValueError) as error:
            self.progress.say(f"{self.kind}: computed again, as {entry} is damaged ({error})")
            shutil.rmtree(entry, ignore_errors=True)
            return {}
        self.progress.say(f"{self.kind}: read from {self.folder}, where an earlier command kept them")
        return arrays

    @contextmanager
    def write(self, key: str, size: int) -> Iterator[Path]:
        """Yield a folder for the ``.npy`` files of a key, of `size` bytes, for which older entries make room.

        Raises:
            OSError, OutputError: it cannot be written, or another process is writing it.
        """
        entries = [path for path in self.folder.glob("*") if path.is_dir() and path.suffix != ".part"]
        make_room(entries, self.max_bytes, size)
        with atomic_folder(self.folder / key) as part:
            yield part
