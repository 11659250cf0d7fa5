"""Pictures: a folder of them, a CSV or Parquet list of them, or a single file."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from aekit.errors import DataError
from aekit.options import Field
from aekit.reading import pictures, tables
from aekit.reading.folders import files_below, natural
from aekit.samples import Resize, SampleSpec, Source

Side = Annotated[int, Field(ge=1, le=8192)]
Size = Literal["auto"] | Side | Annotated[list[Side], Field(min_length=2, max_length=2)]


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
        notes: list[str] = []
        if root.is_dir():
            notes = self._list_folder(root)
        elif root.name.lower().endswith(tables.ENDINGS):
            self._read_list(root)
        else:
            self.ids, self.paths = [root.name], [root]
        headers = pictures.read_headers(self.paths, self._pool)
        self.spec, choices = pictures.choose_spec(headers, like, size, resize, channels)
        self.note = "; ".join(choices + notes)

    @staticmethod
    def claims(path: Path) -> bool:
        """Whether it is a picture, a folder that holds one, or a list with a column of paths."""
        if path.is_dir():
            return any(not reason for _, reason in files_below(path, pictures.ENDINGS))
        names = tables.column_names(path) if path.name.lower().endswith(tables.ENDINGS) else ["path"]
        return tables.find_column(names, tables.PATHS) is not None

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, reasons = pictures.read_pictures([self.paths[i] for i in indices], self.spec, self._pool)
        self.skipped.update({self.ids[i]: reason for i, reason in zip(indices, reasons) if reason})
        return rows, np.array([reason is None for reason in reasons], bool)

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        return list(self._pool.map(_hash_file, [self.paths[i] for i in indices]))

    def _list_folder(self, root: Path) -> list[str]:
        below = list(files_below(root, pictures.ENDINGS))
        ignored = Counter(reason for _, reason in below if reason)
        found = sorted((path.relative_to(root) for path, reason in below if not reason), key=natural)
        if not found:
            raise DataError(f"{root}: no pictures; looked for {', '.join(pictures.ENDINGS)}")
        self.ids, self.paths = [path.as_posix() for path in found], [root / path for path in found]
        folders = [path.parent.parts for path in found]
        splits = [tables.split_named(parts[0]) if parts else None for parts in folders]
        if all(splits):
            self.splits, folders = np.array(splits), [parts[1:] for parts in folders]
        labels = np.array([parts[0] if parts else "" for parts in folders])
        self.labels = labels if len(set(labels.tolist()) - {""}) > 1 else None
        kinds = ", ".join(f"{count} {reason}" for reason, count in ignored.most_common(5))
        return [f"{ignored.total()} files that are not pictures are ignored ({kinds})"] if ignored else []

    def _read_list(self, path: Path) -> None:
        table = tables.read_table(path)
        column = tables.find_column(table.column_names, tables.PATHS)
        if column is None:
            raise DataError(f"{path}: no column {' or '.join(tables.PATHS)}; there is {', '.join(table.column_names)}")
        names = tables.texts(table[column]).tolist()
        if "" in names:
            raise DataError(f"{path}: row {names.index('')} has no {column}")
        ids, label, split = (tables.find_column(table.column_names, w) for w in (("id",), tables.LABELS, ("split",)))
        self.paths = [path.parent / name for name in names]
        self.ids = tables.texts(table[ids]).tolist() if ids else names
        self.labels = tables.labels_of(table[label]) if label else None
        self.splits = tables.splits_of(table[split], path) if split else None


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return "unreadable"
