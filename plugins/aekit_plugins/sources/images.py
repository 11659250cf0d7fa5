"""Images: a folder, a CSV or Parquet list, or a single file."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from aekit.plugin import (
    IMAGE_ENDINGS,
    PATH_COLUMNS,
    TABLE_ENDINGS,
    CropPctOption,
    Field,
    InterpolationOption,
    ResizeOption,
    SampleSpec,
    SizeOption,
    Source,
    choose_spec,
    column_names,
    contains_files,
    find_column,
    list_images,
    read_headers,
    read_images,
)


class Images(Source):
    """Read batches of images in a thread pool, as (C, H, W) of their bit depth: uint8, uint16 or float32.

    `aekit.data.readers.image_lists.list_images` describes folders and lists. A list with two columns of paths gives pairs: opened
    with either `column`, it has the same ids in the same order.

    Args:
        where: a folder, list or image.
        like: spec of an encoder's input; overrides size, channels and depth.

    Raises:
        DataError: there are no images, or the list is unusable. Single bad images are skipped with a reason.
    """

    slow = True
    looks_for = f"images: {', '.join(IMAGE_ENDINGS)}"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        size: SizeOption = "auto",
        resize: ResizeOption = "crop",
        crop_pct: CropPctOption = 1.0,
        interpolation: InterpolationOption = "bicubic",
        channels: Annotated[
            Literal["auto", 1, 3, 4], Field(description="1 gray, 3 RGB, 4 RGBA; auto: RGB if any image is colored")
        ] = "auto",
        column: Annotated[
            str, Field(description="column of a list with the paths; auto: path, file, filename or image")
        ] = "auto",
    ) -> None:
        self.skipped, self._pool = {}, ThreadPoolExecutor(os.cpu_count())
        listing = list_images(where, column)
        self.ids, self.paths, self.labels, self.splits = listing.ids, listing.paths, listing.labels, listing.splits
        headers = read_headers(self.paths, self._pool)
        self.spec, choices = choose_spec(headers, like, size, resize, channels, crop_pct, interpolation)
        self.notes = (*choices, *filter(None, [listing.note]))
        self.losses = listing.losses

    @staticmethod
    def claims(path: Path) -> bool:
        """Return True for an image, a folder that holds one, or a list with a column of paths."""
        if path.is_dir():
            return contains_files(path, IMAGE_ENDINGS)
        names = column_names(path) if path.name.lower().endswith(TABLE_ENDINGS) else ["path"]
        return find_column(names, PATH_COLUMNS) is not None

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, reasons = read_images([self.paths[i] for i in indices], self.spec, self._pool)
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
