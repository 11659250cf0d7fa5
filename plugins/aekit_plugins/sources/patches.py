"""Patches: a grid of windows over images at their original size, for networks that run on whole pages."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from aekit.plugin import (
    Field,
    MasksOption,
    SampleSpec,
    Source,
    all_headers,
    choose_spec,
    describe_losses,
    for_each_full_size,
    list_images,
    read_windows,
    usable_cores,
    window_corners,
)

Side = Annotated[int, Field(ge=1, le=8192)]
Sides = Side | Annotated[list[Side], Field(min_length=2, max_length=2)]

_STRIDE = Field(description="step between patches in pixels, or [down, across]; auto: the size, without overlap")
_MAX_PER_IMAGE = Field(ge=0, description="maximum number of patches per image, evenly spaced in its grid; 0: all")
_CHANNELS = Field(description="1 gray, 3 RGB, 4 RGBA; auto: RGB if any image is colored")
_COLUMN = Field(description="column of a list with the paths; auto: by common names, such as path or file_name")


_LIMIT = Field(gt=0, description="size of the largest image that is read, a limit on memory")
LARGE = 25_000_000
"""Number of pixels of images of which only the windows are read, where their files allow it, and which are decoded one by one."""


def _use(cut: Callable[[int, np.ndarray], None], images: list[int], number: int, whole: np.ndarray) -> None:
    cut(images[number], whole)


class Patches(Source):
    """Cut each image of a folder, a list or a file into a grid of patches (C, H, W) of the image's bit depth.

    The last row and column of the grid are aligned to the edge, so that everything is covered. Ids are ``name@y,x``, with the
    image's name and the upper left corner; labels and splits are the image's. Names, labels and splits come from folders and
    lists as in `aekit.data.readers.image_lists.list_images`. Images with equal names and sizes, such as one list with
    ``column = "dirty"`` and ``column = "clean"``, have the same ids in the same order. Images are decoded on demand; only the
    last is kept, because the next batch probably continues in it.

    Args:
        where: a folder, list or image.
        like: spec of an encoder's input; overrides size, channels and depth.

    Raises:
        DataError: there are no images, or the list is unusable. An image that is bad or smaller than a patch becomes one
            patch ``name@0,0`` that is skipped with a reason.
    """

    slow = True
    looks_for = "images to cut, as patches:FOLDER"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        size: Annotated[Sides, Field(description="size of a patch in pixels, one side or [height, width]")] = 64,
        stride: Annotated[Literal["auto"] | Sides, _STRIDE] = "auto",
        max_per_image: Annotated[int, _MAX_PER_IMAGE] = 0,
        channels: Annotated[Literal["auto", 1, 3, 4], _CHANNELS] = "auto",
        column: Annotated[str, _COLUMN] = "auto",
        masks: MasksOption = "skip",
        max_megapixels: Annotated[float, _LIMIT] = 2000,
    ) -> None:
        self.skipped, self._pool, self._limit = {}, ThreadPoolExecutor(usable_cores()), max_megapixels
        listing = list_images(where, column, masks)
        self._paths = listing.paths
        headers = all_headers(self._paths, self._pool, max_megapixels)
        spec, notes = choose_spec([h for h in headers if h is not None], like, size, channels=channels)
        self.spec = replace(spec, resize=None)
        self.notes = (*notes, *filter(None, [listing.note]))
        self.losses = (*listing.losses, *describe_losses(self._paths, headers))
        self._sizes = [header.size if header is not None else (0, 0) for header in headers]
        self._is_large = [math.prod(size) > LARGE for size in self._sizes]
        step = spec.shape[1:] if stride == "auto" else (stride, stride) if isinstance(stride, int) else tuple(stride)
        grids = [window_corners(h.size if h else (0, 0), spec.shape[1:], step, max_per_image) for h in headers]
        self._image = np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])
        self._corner = np.concatenate(grids)
        places = zip(self._image.tolist(), self._corner.tolist())
        self.ids = [f"{listing.ids[image]}@{y},{x}" for image, (y, x) in places]
        self.labels = None if listing.labels is None else listing.labels[self._image]
        self.splits = None if listing.splits is None else listing.splits[self._image]
        self._last: tuple[int, np.ndarray] = (-1, np.empty(0))

    @staticmethod
    def claims(path: Path) -> bool:
        """Return False: a folder is opened as whole images unless ``patches:`` is named."""
        return False

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = np.zeros((len(indices), *self.spec.shape), self.spec.dtype), np.zeros(len(indices), bool)
        positions: dict[int, list[int]] = {}
        for position, image in enumerate(self._image[indices].tolist()):
            positions.setdefault(image, []).append(position)
        for image in [image for image in positions if self._is_large[image] and image != self._last[0]]:
            if self._read_windows(image, positions[image], indices, rows, ok):
                del positions[image]
        cached, others = self._last[0], [image for image in positions if image != self._last[0]]

        def cut(image: int, whole: np.ndarray) -> None:
            height, width = self.spec.shape[1:]
            for position in positions[image]:
                y, x = self._corner[indices[position]]
                patch = whole[:, y : y + height, x : x + width]
                if patch.shape == self.spec.shape:
                    rows[position], ok[position] = patch, True
                else:
                    size = f"{whole.shape[2]}x{whole.shape[1]} pixels"
                    reason = f"{size}: too small for a patch of {width}x{height} at {y},{x}"
                    self.skipped[self.ids[indices[position]]] = reason
            if [image] == others[-1:]:
                self._last = (image, whole)

        if cached in positions:
            cut(*self._last)
        # One large image at a time, and others side by side.
        batches = [[image] for image in others if self._is_large[image]]
        batches += [[image for image in others if not self._is_large[image]]]
        others = [image for batch in batches for image in batch]
        for batch in batches:
            files = [self._paths[image] for image in batch]
            use = partial(_use, cut, batch)
            reasons = for_each_full_size(files, self.spec, self._pool, use, self._limit)
            for image, reason in zip(batch, reasons):
                if reason:
                    self.skipped |= {self.ids[indices[position]]: reason for position in positions[image]}
        return rows, ok

    def _read_windows(
        self, image: int, positions: list[int], indices: np.ndarray, rows: np.ndarray, ok: np.ndarray
    ) -> bool:
        """Read patches of a large image into `rows` without decoding it whole; return False where its file does not allow it."""
        if any(side < needed for side, needed in zip(self._sizes[image], self.spec.shape[1:])):
            return False
        corners = [tuple(self._corner[indices[position]].tolist()) for position in positions]

        def use(number: int, window: np.ndarray) -> None:
            rows[positions[number]], ok[positions[number]] = window, True

        reasons = read_windows(self._paths[image], self.spec, corners, use, self._limit)
        if reasons is None:
            return False
        failed = {position: reason for position, reason in zip(positions, reasons) if reason}
        self.skipped |= {self.ids[indices[position]]: reason for position, reason in failed.items()}
        return True

    @staticmethod
    def example(folder: Path) -> tuple[str, dict[str, Any]]:
        """Return an example for the conformance kit to open."""
        from aekit.plugin import images

        return str(images(folder)), {"size": [4, 5], "stride": 3}
