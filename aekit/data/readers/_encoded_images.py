"""Images that are given one by one: as encoded bytes, such as the content of a .png file, or as paths of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from aekit.data.contents import Contents
from aekit.data.readers.image_headers import (
    MAX_MEGAPIXELS,
    BadImage,
    all_headers,
    choose_spec,
    describe_losses,
    open_image,
    quiet_pillow,
)
from aekit.data.readers.images import read_images
from aekit.data.reading import hash_content
from aekit.data.source import RowIds, Source, first_of_blocks
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.io.threads import usable_cores

MAX_HEADERS = 5000
"""Number of headers that decide the spec: all of a smaller data set, else a random draw."""


class EncodedImages(Source):
    """Decode images in a thread pool.

    Args:
        items: (N,) bytes or paths; empty bytes are a missing image.
        contents: their ids, labels, splits and blocks, and where they come from.
        like: as in `choose_spec`.
        spec_options: further options of `choose_spec`, by name.
        max_megapixels: size of the largest image that is decoded.

    Raises:
        DataError: there are no images, or none of them can be read.
    """

    slow = True

    def __init__(
        self,
        items: Sequence[bytes | Path],
        contents: Contents,
        like: SampleSpec | None = None,
        spec_options: Mapping[str, Any] | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        self.items, self.skipped, self._pool = items, {}, ThreadPoolExecutor(usable_cores())
        self._max_megapixels = max_megapixels
        self.labels, self.splits, self.blocks = contents.labels, contents.splits, contents.blocks
        self.ids = RowIds(contents.splits, len(items)) if contents.ids is None else contents.ids
        drawn = np.arange(len(items))
        if len(items) > MAX_HEADERS and self.blocks is not None:
            drawn = first_of_blocks(self.blocks, MAX_HEADERS)
        elif len(items) > MAX_HEADERS:
            drawn = np.sort(np.random.default_rng(0).choice(len(items), MAX_HEADERS, replace=False))
        headers = all_headers([items[i] for i in drawn.tolist()], self._pool, max_megapixels)
        readable = [header for header in headers if header is not None]
        if not readable:
            reason = f": {self._reason(items[0])}" if len(items) else ""
            raise DataError(f"{contents.place}: none of {len(items)} images can be read{reason}")
        self.spec, notes = choose_spec(readable, like, **(spec_options or {}))
        self.notes = tuple(notes)
        self.losses = describe_losses([self.ids[int(i)] for i in drawn], headers)
        if damaged := len(headers) - len(readable):
            first = int(drawn[headers.index(None)])
            what = f"{damaged} of {len(headers)} images cannot be read and will be skipped"
            self.losses += (f"{what}, e.g. {self.ids[first]}: {self._reason(items[first])}",)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        items = [self.items[i] for i in indices.tolist()]
        rows, reasons = read_images(items, self.spec, self._pool, max_megapixels=self._max_megapixels)
        self.skipped.update({self.ids[int(i)]: reason for i, reason in zip(indices, reasons) if reason})
        return rows, np.array([reason is None for reason in reasons], bool)

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        return [hash_content(self.items[i]) for i in indices.tolist()]

    def _reason(self, item: bytes | Path) -> str:
        try:
            with quiet_pillow(self._max_megapixels), open_image(item):
                return ""
        except BadImage as error:
            return str(error)
