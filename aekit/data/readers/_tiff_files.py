"""Read TIFF files that Pillow does not read in full, with tifffile: more than 4 channels, 16-bit color, floats of any width.

Windows of tiled or uncompressed files are read without decoding the rest.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from aekit.data.readers._image_pages import ImagePage

TIFF_ENDINGS = (".tif", ".tiff")
INSTALL = "pip install 'aekit[tiff]'"
NODATA = 42113
"""Tag of the value that GDAL writes where there is no data."""
_SIMPLE = (1, 8, 32946)
"""Compressions that tifffile reads alone: none and Deflate."""
ORIENTATION = 274
"""Tag of an image's orientation, also in EXIF."""
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda values: values,
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: np.rot90(values, -1),
    7: lambda values: np.rot90(values, 2).swapaxes(0, 1),
    8: lambda values: np.rot90(values),
}
"""Orientation -> what turns (H, W, bands) upright."""
_EXACT = 2**24
"""Largest integer up to which float32 is exact."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, (8, 9, 10)
"""Values of the tag that says what the bands are."""
_INK_SET, _INKS_OF_CMYK, _JPEG, _PREMULTIPLIED = 332, 1, 7, 1


class TiffPage(ImagePage):
    """A page of an open TIFF file."""

    def __init__(self, file: Any, page: int) -> None:
        kept = (
            [one for one in file.pages if not one.is_reduced and not one.is_mask] if len(file.pages) > 1 else file.pages
        )
        self.pages = len(kept)
        self._page = kept[page]
        tag = self._page.tags.get(ORIENTATION)
        self.orientation = int(tag.value) if tag is not None and tag.value in _UPRIGHT else 1
        sides = self._page.imagelength, self._page.imagewidth
        self.height, self.width = sides[::-1] if self.orientation > 4 else sides
        self.bands, self._photometric = self._page.samplesperpixel, int(self._page.photometric)
        if not all(isinstance(number, int) for number in (*sides, self.bands)):
            raise ValueError(f"a page of {sides[0]} x {sides[1]} with {self.bands:.3g} bands")
        raw = np.dtype(self._page.dtype)
        self.dtype = raw.name if raw.name in ("uint8", "uint16") else "uint8" if raw.kind == "b" else "float32"
        extras = [int(extra) for extra in self._page.extrasamples]
        self.has_alpha = any(extra in (1, 2) for extra in extras)
        self._premultiplied = extras == [_PREMULTIPLIED] and self.bands in (2, 4)
        if self._photometric == _PALETTE and self.bands == 1 and self._page.colormap is not None:
            self.bands, self.dtype = 3, "uint8" if self.dtype == "uint8" else "uint16"
        ink_set = self._page.tags.get(_INK_SET)
        self._is_cmyk = (
            self._photometric == _CMYK and self.bands in (4, 5) and (ink_set is None or ink_set.value == _INKS_OF_CMYK)
        )
        if self._is_cmyk:
            self.bands, self.has_alpha = 3, False
        nodata = self._page.tags.get(NODATA)
        self.nodata = None if nodata is None else str(nodata.value)

    def read(self) -> np.ndarray:
        return _UPRIGHT[self.orientation](self._convert(self._page.asarray()))

    @property
    def has_windows(self) -> bool:
        """Whether parts of it can be read alone."""
        page = self._page
        # Pillow reads the other colors, and packed tiles that tifffile cannot unpack.
        is_plain = self._photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK)
        if self.orientation != 1 or not is_plain or not has_tifffile(int(page.compression)):
            return False
        return page.is_memmappable or (page.is_tiled and page.imagedepth == 1 and page.planarconfig == 1)

    def read_window(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return a window as (height, width, bands) of `dtype`, where it `has_windows`; raises ValueError."""
        page = self._page
        if page.is_memmappable and (whole := page.asarray(out="memmap")) is not None:
            rows = slice(top, top + height), slice(left, left + width)
            return self._convert(
                np.array(whole[rows] if whole.ndim == 2 or page.planarconfig == 1 else whole[:, rows[0], rows[1]])
            )
        result = np.zeros((height, width, page.samplesperpixel), page.dtype)
        across = -(-page.imagewidth // page.tilewidth)
        for down in range(top // page.tilelength, (top + height - 1) // page.tilelength + 1):
            for right in range(left // page.tilewidth, (left + width - 1) // page.tilewidth + 1):
                number = down * across + right
                if number >= len(page.dataoffsets) or not page.databytecounts[number]:
                    continue
                page.parent.filehandle.seek(page.dataoffsets[number])
                raw = page.parent.filehandle.read(page.databytecounts[number])
                tile = page.decode(raw, number, jpegtables=page.jpegtables)[0]
                tile = (
                    np.zeros((page.tilelength, page.tilewidth, page.samplesperpixel), page.dtype)
                    if tile is None
                    else tile[0]
                )
                y, x = down * page.tilelength, right * page.tilewidth
                begin, end = max(top, y), min(top + height, y + tile.shape[0])
                first, last = max(left, x), min(left + width, x + tile.shape[1])
                result[begin - top : end - top, first - left : last - left] = tile[
                    begin - y : end - y, first - x : last - x
                ]
        return self._convert(result)

    def _convert(self, values: np.ndarray) -> np.ndarray:
        if values.ndim == 2:
            values = values[:, :, None]
        elif values.ndim != 3:
            raise ValueError(f"a page of shape {values.shape}; expected (height, width, channels)")
        elif self._page.planarconfig != 1:
            values = np.moveaxis(values, 0, -1)
        if values.dtype == bool:
            values = values.astype(np.uint8) * 255
        values = self._to_colors(values)
        return values if self.dtype != "float32" else to_float32(values, self.nodata)

    def _to_colors(self, values: np.ndarray) -> np.ndarray:
        """Return (H, W, bands) as gray, red, green and blue, with transparency apart from them."""
        page = self._page
        if self._photometric in _LAB or (self._photometric == _YCBCR and int(page.compression) != _JPEG):
            raise ValueError(f"colors as {page.photometric.name}; save it as RGB")
        if values.dtype.kind != "u":
            return values
        white = np.iinfo(values.dtype).max
        if self._photometric == _PALETTE and page.colormap is not None:
            colors = np.moveaxis(page.colormap[:, values[:, :, 0]], 0, -1)
            return colors if self.dtype == "uint16" else (colors >> 8).astype(np.uint8)
        if 1 < page.bitspersample < 8:
            values = values * np.uint8(white // ((1 << page.bitspersample) - 1))
        if self._photometric == _WHITE_IS_ZERO:
            return (white if page.bitspersample <= 8 else (1 << page.bitspersample) - 1) - values
        if self._is_cmyk:
            ink = values[:, :, :4].astype(np.float32) / np.float32(white)
            return ((1 - ink[:, :, :3]) * (1 - ink[:, :, 3:]) * np.float32(white)).round().astype(values.dtype)
        if self._premultiplied:
            alpha = np.maximum(values[:, :, -1:], 1).astype(np.float32)
            colors = (values[:, :, :-1] / alpha * np.float32(white)).round().clip(0, white).astype(values.dtype)
            return np.concatenate([colors, values[:, :, -1:]], axis=2)
        return values


@contextmanager
def open_tiff(path: Path | bytes, page: int = 0) -> Iterator[TiffPage]:
    """Open a page of a TIFF file, or of the bytes of one.

    Raises:
        ImportError: tifffile is not installed.
        ValueError: it cannot be read, also while it is open.
    """
    import logging

    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is in its reason
    with tifffile.TiffFile(io.BytesIO(path) if isinstance(path, bytes) else path) as file:
        yield TiffPage(file, page)


def to_float32(values: np.ndarray, nodata: str | None = None) -> np.ndarray:
    """Return numbers of any shape as float32, NaN where they are `nodata`.

    Raises:
        ValueError: they are integers that float32 cannot hold, or complex.
    """
    if values.dtype.kind == "c":
        raise ValueError("complex numbers; expected real ones")
    if values.dtype.kind in "ui" and values.size and max(abs(int(values.min())), abs(int(values.max()))) > _EXACT:
        raise ValueError(f"integers of {values.min()}..{values.max()}: more than float32 holds exactly")
    numbers = values.astype(np.float32)
    if nodata is not None:
        with suppress(ValueError, OverflowError):
            numbers[values == np.asarray(float(nodata)).astype(values.dtype)] = np.nan
    return numbers


def has_tifffile(compression: int = 1) -> bool:
    """Return whether tifffile is installed, and reads a compression, of which it needs imagecodecs for some."""
    names = ["tifffile"] if compression in _SIMPLE else ["tifffile", "imagecodecs"]
    return all(importlib.util.find_spec(name) is not None for name in names)
