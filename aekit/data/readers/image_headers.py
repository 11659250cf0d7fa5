"""Headers of image files, and the spec that images are converted to."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from aekit.data.resampling import Kernel
from aekit.data.spec import Resize, SampleSpec
from aekit.errors import DataError

IMAGE_ENDINGS = (
    ".avif",
    ".bmp",
    ".gif",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)

HEADERS = 200
"""Number of headers, evenly spaced, that decide the spec."""
COMMON_LIMIT, DEFAULT_SIDE = 96, 64
"""Longest side of images that keep the size they share, and the side that others are resized to; training on larger images takes
hours on a CPU."""

_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
ORIENTATION = 0x0112
"""EXIF tag of an image's orientation."""


class BadImage(Exception):
    """An image that cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Header:
    """Properties of an image that are known before it is decoded.

    Attributes:
        size: (H, W), upright.
        is_color: whether it has other than gray values.
        dtype: ``uint8``, ``uint16`` or ``float32``.
        depth_reduced: whether Pillow reads 8 of its 16 bits per channel, as it does for color.
    """

    size: tuple[int, int]
    is_color: bool
    dtype: str
    depth_reduced: bool


def header_of(image: Image.Image) -> Header:
    """Return the header of an opened image, without decoding it."""
    width, height = image.size
    # Asking a PNG without EXIF for it would decode the image.
    rotated = (image.format != "PNG" or "exif" in image.info) and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    wide = image.mode.startswith("I")
    tiles = getattr(image, "tile", [])
    return Header(
        size=(width, height) if rotated else (height, width),
        is_color=_is_color(image),
        dtype="float32" if image.mode == "F" else "uint16" if wide else "uint8",
        depth_reduced=not wide and image.mode != "F" and any("16" in str(tile[3]) for tile in tiles),
    )


def read_headers(paths: Sequence[Path], pool: Executor) -> list[Header]:
    """Read the headers of about `HEADERS` evenly spaced image files, without unreadable ones."""
    sample = paths[:: max(1, -(-len(paths) // HEADERS))]
    return [header for header in all_headers(sample, pool) if header is not None]


def all_headers(paths: Sequence[Path | bytes], pool: Executor) -> list[Header | None]:
    """Read the header of each of (B,) image files, None where it is unreadable."""
    with quiet_pillow():
        return list(pool.map(_header, paths))


def choose_spec(
    headers: Sequence[Header],
    like: SampleSpec | None,
    size: Literal["auto"] | int | Sequence[int] = "auto",
    resize: Resize = "crop",
    channels: Literal["auto", 1, 3, 4] = "auto",
    crop_pct: float = 1.0,
    interpolation: Kernel = "bicubic",
    source: str = "images",
) -> tuple[SampleSpec, list[str]]:
    """Choose the spec that images are converted to.

    Args:
        headers: headers of some of the images.
        like: spec of an encoder; it takes precedence over the rest, except that integers are never converted to floats.
        size: pixels, one side or [height, width]; ``auto``: the size of all images if they share one whose longer side is at
            most `COMMON_LIMIT`, else `DEFAULT_SIDE` squared.
        resize: as in `SampleSpec`.
        crop_pct: as in `SampleSpec`.
        interpolation: as in `SampleSpec`.
        channels: ``auto``: 3 if any image is in color, else 1.
        source: name of the source whose option `size` the notes mention.

    Returns:
        the spec, and notes on information that is lost.

    Raises:
        DataError: `crop_pct` is below 1, but `resize` does not crop.
    """
    if crop_pct < 1 and resize not in ("crop", "torchvision"):
        raise DataError(f"crop_pct = {crop_pct}: expected 1 with resize = {resize!r}, which does not crop")
    counts = Counter(header.dtype for header in headers) or Counter([like.dtype if like else "uint8"])
    dtype = "uint16" if set(counts) == {"uint8", "uint16"} else counts.most_common(1)[0][0]
    notes = []
    if any(header.depth_reduced for header in headers):
        notes.append("16-bit color is read as 8-bit, a limit of Pillow")
    if like is not None and like.is_image and like.shape[0] in (1, 3, 4):
        dtype = dtype if "float32" in (dtype, like.dtype) else like.dtype
        spec = like if like.resize else SampleSpec("image", like.shape, dtype, resize, crop_pct, interpolation)
        return replace(spec, dtype=dtype), notes
    if channels == "auto":
        channels = 3 if any(header.is_color for header in headers) or not headers else 1
    if size == "auto":
        (height, width), note = _auto_size({header.size for header in headers}, resize, source)
        notes += [note] if note else []
    else:
        height, width = (size, size) if isinstance(size, int) else size
    return SampleSpec("image", (channels, height, width), dtype, resize, crop_pct, interpolation), notes


def _auto_size(sizes: set[tuple[int, int]], resize: Resize, source: str) -> tuple[tuple[int, int], str]:
    """Return the size (H, W) for images of these sizes, and a note if images are resized, or ""."""
    change = f"resized to {DEFAULT_SIDE}x{DEFAULT_SIDE} pixels ({resize}); data.{source}.size"
    if len(sizes) != 1:
        return (DEFAULT_SIDE, DEFAULT_SIDE), f"images differ in size: {change} sets another size" if sizes else ""
    height, width = next(iter(sizes))
    if max(height, width) <= COMMON_LIMIT:
        return (height, width), ""
    setting = height if height == width else f"[{height},{width}]"
    return (DEFAULT_SIDE, DEFAULT_SIDE), f"images of {width}x{height} are {change}={setting} keeps their size"


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore Pillow's warnings, but raise decompression bombs. Filters are per process, so use it around a thread pool."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def open_image(path: Path | bytes) -> Iterator[Image.Image]:
    """Open an image file, or the bytes of one; any error inside the block becomes a BadImage."""
    try:
        if not (len(path) if isinstance(path, bytes) else path.stat().st_size):
            raise BadImage("no image" if isinstance(path, bytes) else "empty file")
        with Image.open(io.BytesIO(path) if isinstance(path, bytes) else path, formats=_FORMATS) as image:
            yield image
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = str(error).partition("(")[2].partition(")")[0] or "too many pixels"
        raise BadImage(f"{pixels}: refused as a decompression bomb") from None
    except FileNotFoundError:
        raise BadImage("the file is missing") from None
    except Image.UnidentifiedImageError:
        raise BadImage("not an image that Pillow reads") from None
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise BadImage(first_line(error)) from None


def first_line(error: Exception) -> str:
    """Return the first line of an error message, or its type."""
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _header(path: Path | bytes) -> Header | None:
    try:
        with open_image(path) as image:
            return header_of(image)
    except BadImage:
        return None


def _is_color(image: Image.Image) -> bool:
    if image.mode == "P" and image.palette is not None and image.palette.mode == "RGB":
        colors = np.frombuffer(bytes(image.palette.palette), np.uint8).reshape(-1, 3)
        return bool((colors != colors[:, :1]).any())
    return image.mode not in ("1", "L", "LA", "La", "F") and not image.mode.startswith("I")
