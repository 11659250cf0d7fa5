"""Images: a folder, a CSV or Parquet list, or a single file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal, Unpack

import numpy as np

from aekit.plugin import (
    IMAGE_ENDINGS,
    MAX_MEGAPIXELS,
    TABLE_ENDINGS,
    Field,
    HeaderSurprises,
    MasksOption,
    ResizingOptions,
    SampleSpec,
    Source,
    all_headers,
    choose_spec,
    contains_files,
    describe_losses,
    draw_files,
    hash_content,
    list_images,
    lists_images,
    read_images,
    usable_cores,
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

    slow, endings = True, IMAGE_ENDINGS
    looks_for = "images: .png, .jpg, .tif and other endings"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        channels: Annotated[
            Literal["auto", 1, 3, 4], Field(description="1 gray, 3 RGB, 4 RGBA; auto: RGB if any image is colored")
        ] = "auto",
        column: Annotated[
            str, Field(description="column of a list with the paths; auto: by common names, such as path or file_name")
        ] = "auto",
        pages: Annotated[
            Literal["first", "all"], Field(description="pages of a TIFF, and frames of a GIF, that are samples")
        ] = "first",
        masks: MasksOption = "skip",
        max_megapixels: Annotated[
            float, Field(gt=0, description="size of the largest image that is read, a limit on memory")
        ] = MAX_MEGAPIXELS,
        **resizing: Unpack[ResizingOptions],
    ) -> None:
        self.skipped, self._pool, self.max_megapixels = {}, ThreadPoolExecutor(usable_cores()), max_megapixels
        listing = list_images(where, column, masks)
        sample = listing.paths if pages == "all" else draw_files(listing.paths)
        headers = all_headers(sample, self._pool, max_megapixels)
        known = [header for header in headers if header is not None]
        self.spec, choices = choose_spec(known, like, channels=channels, **resizing)
        self.ids, self._files, self.labels, self.splits = listing.ids, listing.paths, listing.labels, listing.splits
        option = "data.images.pages = 'all'" if pages == "first" else None
        self.metadata = listing.metadata
        self.losses = (*listing.losses, *describe_losses(sample, headers, option))
        self._pages: np.ndarray | None = None
        if pages == "all":
            counts = [header.pages if header else 1 for header in headers]
            rows = np.repeat(np.arange(len(counts)), counts)
            self._pages = np.concatenate([np.arange(count) for count in counts])
            has_many = np.array(counts)[rows] > 1
            names = zip(rows.tolist(), self._pages.tolist(), has_many.tolist())
            self.ids = [f"{listing.ids[row]}@{page}" if many else listing.ids[row] for row, page, many in names]
            self._files = [listing.paths[row] for row in rows]
            self.labels = None if listing.labels is None else listing.labels[rows]
            self.splits = None if listing.splits is None else listing.splits[rows]
            self.metadata = None if listing.metadata is None else listing.metadata.repeated(rows.tolist())
        # Files that are each one sample, which other tasks read at their original size.
        self.paths = self._files if len(self._files) == len(listing.paths) else []
        self.notes = (*choices, *filter(None, [listing.note]))
        # What the headers of a random draw have in common may not hold for all.
        drawn = like is None and len(headers) < len(listing.paths)
        self._surprises = (
            HeaderSurprises(self.spec, known, channels == "auto", resizing.get("size", "auto") == "auto")
            if drawn
            else None
        )

    @staticmethod
    def claims(path: Path) -> bool:
        """Return True for an image, a folder that holds one, or a list with a column of paths."""
        if path.is_dir():
            return contains_files(path, IMAGE_ENDINGS)
        return lists_images(path) if path.name.lower().endswith(TABLE_ENDINGS) else True

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pages = None if self._pages is None else self._pages[indices].tolist()
        surprises = self._surprises
        rows, reasons = read_images(
            [self._files[i] for i in indices],
            self.spec,
            self._pool,
            pages=pages,
            max_megapixels=self.max_megapixels,
            use_header=None if surprises is None else surprises.add,
        )
        if surprises is not None:
            surprises.warn([self.ids[i] for i in indices])
        self.skipped.update({self.ids[i]: reason for i, reason in zip(indices, reasons) if reason})
        return rows, np.array([reason is None for reason in reasons], bool)

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        files = list(self._pool.map(hash_content, [self._files[i] for i in indices]))
        return files if self._pages is None else [f"{one}@{page}" for one, page in zip(files, self._pages[indices])]
