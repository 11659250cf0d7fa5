"""Pictures: a folder of them, a CSV or Parquet list of them, or a single file."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from aekit import pictures, tables
from aekit.errors import DataError
from aekit.options import Field
from aekit.samples import Resize, SampleSpec, Source

Side = Annotated[int, Field(ge=1, le=8192)]
Size = Literal["auto"] | Side | Annotated[list[Side], Field(min_length=2, max_length=2)]
PATHS = ("path", "file", "filename", "image")


class Images(Source):
    """Reads pictures by the batch, with a pool of threads, as (C, H, W) of their own depth: uint8, uint16 or float32.

    In a folder, ids are relative paths, folders are classes, and ``train``, ``val``, ``test`` at the top are splits. A
    list has a column ``path``, and may have ``class`` or ``label``, ``split``, ``id``; paths are relative to the list.

    Args:
        where: the folder, list or picture.
        like: what an encoder takes: pictures are brought to its size, channels and depth, whatever the options say.

    Raises:
        DataError: there are no pictures, or the list is not usable. Single bad pictures are skipped, with a reason.
    """

    slow = True
    looks_for = f"pictures: {', '.join(pictures.ENDINGS)}"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        size: Annotated[Size, Field(description="one side or [height, width]; auto: the common one, or 64")] = "auto",
        resize: Annotated[Resize, Field(description="crop the centre, pad with black, or stretch")] = "crop",
        channels: Annotated[
            Literal["auto", 1, 3, 4], Field(description="1 grey, 3 RGB, 4 RGBA; auto: RGB if any picture is coloured")
        ] = "auto",
    ) -> None:
        root = Path(where)
        self.skipped, self._pool = {}, ThreadPoolExecutor(os.cpu_count())
        ignored = ""
        if root.is_dir():
            ignored = self._list_folder(root)
        elif root.name.lower().endswith(tables.ENDINGS):
            self._read_list(root)
        else:
            self.ids, self.paths = [root.name], [root]
        headers = pictures.read_headers(self.paths, self._pool)
        self.spec, notes = pictures.choose_spec(headers, like, size, resize, channels)
        self.note = "; ".join([*notes, ignored] if ignored else notes)

    @staticmethod
    def claims(path: Path) -> bool:
        """Whether it is a picture, a folder that holds one, or a list with a column of paths."""
        if path.is_dir():
            return any(not reason for _, reason in _walk(path))
        names = tables.column_names(path) if path.name.lower().endswith(tables.ENDINGS) else ["path"]
        return tables.find_column(names, PATHS) is not None

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, reasons = pictures.read_pictures([self.paths[i] for i in indices], self.spec, self._pool)
        self.skipped.update({self.ids[i]: reason for i, reason in zip(indices, reasons) if reason})
        return rows, np.array([reason is None for reason in reasons], bool)

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        return list(self._pool.map(_hash_file, [self.paths[i] for i in indices]))

    def _list_folder(self, root: Path) -> str:
        """Fills paths, ids, labels and splits; returns a note on what is ignored."""
        found, ignored = [], Counter[str]()
        for path, reason in _walk(root):
            if reason:
                ignored[reason] += 1
            else:
                found.append(path.relative_to(root))
        if not found:
            raise DataError(f"{root}: no pictures; looked for {', '.join(pictures.ENDINGS)}")
        found.sort(key=_natural)
        self.ids, self.paths = [path.as_posix() for path in found], [root / path for path in found]
        folders = [path.parent.parts for path in found]
        splits = [tables.split_named(parts[0]) if parts else None for parts in folders]
        if all(splits):
            self.splits, folders = np.array(splits), [parts[1:] for parts in folders]
        labels = np.array([parts[0] if parts else "" for parts in folders])
        self.labels = labels if len(set(labels.tolist()) - {""}) > 1 else None
        kinds = ", ".join(f"{count} {reason}" for reason, count in ignored.most_common(5))
        return f"{ignored.total()} files that are not pictures are ignored ({kinds})" if ignored else ""

    def _read_list(self, path: Path) -> None:
        table = tables.read_table(path)
        column = tables.find_column(table.column_names, PATHS)
        if column is None:
            raise DataError(f"{path}: no column {' or '.join(PATHS)}; there is {', '.join(table.column_names)}")
        names = tables.texts(table[column]).tolist()
        if "" in names:
            raise DataError(f"{path}: row {names.index('')} has no {column}")
        ids, label, split = (tables.find_column(table.column_names, w) for w in (("id",), tables.LABELS, ("split",)))
        self.paths = [path.parent / name for name in names]
        self.ids = tables.texts(table[ids]).tolist() if ids else names
        self.labels = tables.labels_of(table[label]) if label else None
        self.splits = tables.splits_of(table[split], path) if split else None


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """The files below a folder, each with "" or why it is ignored. A folder is entered once, whatever links to it."""
    waiting, seen = [root], set()
    while waiting:
        folder = waiting.pop()
        identity = (folder.stat().st_dev, folder.stat().st_ino)
        if identity in seen:
            continue
        seen.add(identity)
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                ending = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    yield Path(entry.path), "hidden"
                elif os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
                    waiting.append(Path(entry.path))
                elif ending in pictures.ENDINGS and (entry.is_symlink() or entry.is_file()):
                    yield Path(entry.path), ""
                else:
                    yield Path(entry.path), ending or "without an ending"


def _natural(path: Path) -> list[list[str | int]]:
    """Sorts ``2.jpg`` before ``10.jpg``."""
    split = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(piece) if n % 2 else piece for n, piece in enumerate(pieces)] for pieces in split]


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return "unreadable"
