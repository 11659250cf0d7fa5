"""Pictures: a folder of them, a CSV or Parquet list of them, or a single file."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from aekit.options import Field
from aekit.reading import pictures, tables
from aekit.reading.folders import holds
from aekit.reading.listing import list_pictures
from aekit.reading.resizing import InterpolationOption, ResizeOption, ShareOption, SizeOption
from aekit.samples import SampleSpec, Source


class Images(Source):
    """Reads pictures by the batch, with a pool of threads, as (C, H, W) of their own depth: uint8, uint16 or float32.

    `aekit.reading.listing.list_pictures` says what folders and lists mean. A list with two columns of paths gives pairs:
    opened with one `column` and with the other, it has the same ids in the same order.

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
        size: SizeOption = "auto",
        resize: ResizeOption = "crop",
        share: ShareOption = 1.0,
        interpolation: InterpolationOption = "bicubic",
        channels: Annotated[
            Literal["auto", 1, 3, 4], Field(description="1 grey, 3 RGB, 4 RGBA; auto: RGB if any picture is coloured")
        ] = "auto",
        column: Annotated[
            str, Field(description="of a list, the one with the paths; auto: path, file, filename or image")
        ] = "auto",
    ) -> None:
        self.skipped, self._pool = {}, ThreadPoolExecutor(os.cpu_count())
        listing = list_pictures(where, column)
        self.ids, self.paths, self.labels, self.splits = listing.ids, listing.paths, listing.labels, listing.splits
        headers = pictures.read_headers(self.paths, self._pool)
        self.spec, choices = pictures.choose_spec(headers, like, size, resize, channels, share, interpolation)
        self.note = "; ".join([*choices, *filter(None, [listing.note])])

    @staticmethod
    def claims(path: Path) -> bool:
        """Whether it is a picture, a folder that holds one, or a list with a column of paths."""
        if path.is_dir():
            return holds(path, pictures.ENDINGS)
        names = tables.column_names(path) if path.name.lower().endswith(tables.ENDINGS) else ["path"]
        return tables.find_column(names, tables.PATHS) is not None

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, reasons = pictures.read_pictures([self.paths[i] for i in indices], self.spec, self._pool)
        self.skipped.update({self.ids[i]: reason for i, reason in zip(indices, reasons) if reason})
        return rows, np.array([reason is None for reason in reasons], bool)

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        return list(self._pool.map(_hash_file, [self.paths[i] for i in indices]))


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return "unreadable"
