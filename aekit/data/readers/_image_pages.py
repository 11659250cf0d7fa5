"""The pages of image files that Pillow does not open."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class ImagePage(ABC):
    """A page of an open image file.

    Attributes:
        height, width: size in pixels.
        bands: number of values of a pixel.
        dtype: ``uint8``, ``uint16`` or ``float32``, which other types are converted to.
        has_alpha: whether the last band is transparency.
        pages: number of pages of full resolution.
    """

    height: int
    width: int
    bands: int
    dtype: str
    has_alpha: bool
    pages: int

    @abstractmethod
    def read(self) -> np.ndarray:
        """Return the page as (H, W, bands) of `dtype`; raises ValueError."""
