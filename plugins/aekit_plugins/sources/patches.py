"""Patches of images: a grid of windows over images at their natural size, for networks that are to run on whole pages."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from aekit.plugin import (
    Field,
    SampleSpec,
    Source,
    all_headers,
    choose_spec,
    for_each_full_size,
    list_images,
    window_corners,
)

Side = Annotated[int, Field(ge=1, le=8192)]
Sides = Side | Annotated[list[Side], Field(min_length=2, max_length=2)]

_STRIDE = Field(
    description="pixels from one patch to the next, or [down, across]; auto: the size, so that none overlap"
)
_MOST = Field(ge=0, description="patches taken of an image, evenly spaced in its grid; 0: all")
_CHANNELS = Field(description="1 gray, 3 RGB, 4 RGBA; auto: RGB if any image is colored")
_COLUMN = Field(description="of a list, the one with the paths; auto: path, file, filename or image")


class Patches(Source):
    """Cuts each image of a folder, a list or a file into a grid of patches (C, H, W), of the image's own depth.

    The last row and column of the grid are moved back to the edge, so that everything is covered. Ids are ``name@y,x``,
    from the image's name and the upper left corner; labels and splits are the image's. Names, labels and splits come
    from folders and lists as `aekit.data.readers.image_lists.list_images` says. Two openings of images of equal names and
    sizes, such as one list with ``column = "dirty"`` and ``column = "clean"``, have the same ids in the same order.
    Images are decoded when a batch asks for them; only the last is kept, as the next batch likely goes on in it.

    Args:
        where: the folder, list or image.
        like: what an encoder takes: patches are of its size, channels and depth, whatever the options say.

    Raises:
        DataError: there are no images, or the list is not usable. An image that is bad, or smaller than a patch, is
            one patch ``name@0,0`` that is skipped, with a reason.
    """

    slow = True
    looks_for = "images, if it is asked to cut them: patches:FOLDER"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        size: Annotated[Sides, Field(description="pixels of a patch, one side or [height, width]")] = 64,
        stride: Annotated[Literal["auto"] | Sides, _STRIDE] = "auto",
        most_per_image: Annotated[int, _MOST] = 0,
        channels: Annotated[Literal["auto", 1, 3, 4], _CHANNELS] = "auto",
        column: Annotated[str, _COLUMN] = "auto",
    ) -> None:
        self.skipped, self._pool = {}, ThreadPoolExecutor(os.cpu_count())
        listing = list_images(where, column)
        self.paths = listing.paths
        headers = all_headers(self.paths, self._pool)
        spec, notes = choose_spec([h for h in headers if h is not None], like, size, channels=channels)
        self.spec = replace(spec, resize=None)
        self.note = "; ".join([*notes, *filter(None, [listing.note])])
        step = spec.shape[1:] if stride == "auto" else (stride, stride) if isinstance(stride, int) else tuple(stride)
        grids = [window_corners(h.size if h else (0, 0), spec.shape[1:], step, most_per_image) for h in headers]
        self._image = np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])
        self._corner = np.concatenate(grids)
        places = zip(self._image.tolist(), self._corner.tolist())
        self.ids = [f"{listing.ids[image]}@{y},{x}" for image, (y, x) in places]
        self.labels = None if listing.labels is None else listing.labels[self._image]
        self.splits = None if listing.splits is None else listing.splits[self._image]
        self._last: tuple[int, np.ndarray] = (-1, np.empty(0))

    @staticmethod
    def claims(path: Path) -> bool:
        """Never: a folder of images is opened whole, unless patches are asked for."""
        return False

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = np.zeros((len(indices), *self.spec.shape), self.spec.dtype), np.zeros(len(indices), bool)
        wanted: dict[int, list[int]] = {}
        for position, image in enumerate(self._image[indices].tolist()):
            wanted.setdefault(image, []).append(position)
        kept, others = self._last[0], [image for image in wanted if image != self._last[0]]

        def cut(image: int, whole: np.ndarray) -> None:
            height, width = self.spec.shape[1:]
            for position in wanted[image]:
                y, x = self._corner[indices[position]]
                patch = whole[:, y : y + height, x : x + width]
                if patch.shape == self.spec.shape:
                    rows[position], ok[position] = patch, True
                else:
                    found = f"{whole.shape[2]}x{whole.shape[1]} pixels"
                    why = f"{found}: too small for a patch of {width}x{height} at {y},{x}"
                    self.skipped[self.ids[indices[position]]] = why
            if [image] == others[-1:]:
                self._last = (image, whole)

        if kept in wanted:
            cut(*self._last)
        files = [self.paths[image] for image in others]
        reasons = for_each_full_size(files, self.spec, self._pool, lambda n, whole: cut(others[n], whole))
        for image, reason in zip(others, reasons):
            if reason:
                self.skipped |= {self.ids[indices[position]]: reason for position in wanted[image]}
        return rows, ok

    @staticmethod
    def example(folder: Path) -> tuple[str, dict[str, Any]]:
        """What the conformance kit opens."""
        from aekit.plugin import images

        return str(images(folder)), {"size": [4, 5], "stride": 3}
