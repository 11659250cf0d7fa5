"""Headers of image files, and the spec that images are converted to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from aekit.data.readers._color_depth import BITS, SAMPLE_FORMAT, is_reduced, tag_values
from aekit.data.readers._color_profiles import foreign_profile
from aekit.data.readers._image_files import (
    MAX_MEGAPIXELS as MAX_MEGAPIXELS,
    AnyImage,
    BadImage,
    count_pages,
    is_turned,
    open_image,
    quiet_pillow,
)
from aekit.data.readers._image_pages import ImagePage
from aekit.data.readers._tiff_files import ORIENTATION
from aekit.data.readers.folders import readable_text
from aekit.data.spec import Kernel, Resize, SampleSpec
from aekit.errors import DataError
from aekit.progress import warn

HEADERS = 10_000
"""Number of headers that decide the spec: all of a smaller data set, or a random draw."""
COMMON_LIMIT, DEFAULT_SIDE = 96, 64
"""Longest side of images that keep the size they share, and the side that others are resized to; training on larger images takes
hours on a CPU."""


@dataclass(frozen=True)
class Header:
    """Properties of an image that are known before it is decoded.

    Attributes:
        size: (H, W), upright.
        is_color: whether it has other than gray values.
        dtype: ``uint8``, ``uint16`` or ``float32``.
        depth_reduced: whether Pillow reads 8 of its 10 to 16 bits per channel, as it does for color.
        bands: number of channels that are not gray, RGB or RGBA; 0: they are.
        pages: number of pages or frames.
        has_alpha: whether pixels may be transparent.
        profile: name of a color profile other than sRGB, which is not applied; "": it has none.
    """

    size: tuple[int, int]
    is_color: bool
    dtype: str
    depth_reduced: bool
    bands: int = 0
    pages: int = 1
    has_alpha: bool = False
    profile: str = ""


def header_of(image: AnyImage) -> Header:
    """Return the header of an opened image, without decoding it."""
    if isinstance(image, ImagePage):
        alpha = image.bands in (2, 4) and image.has_alpha
        bands = 0 if image.bands in (1, 3) or alpha else image.bands
        size = image.height, image.width
        return Header(size, image.bands - alpha > 1, image.dtype, False, bands, image.pages, alpha)
    width, height = image.size
    # Asking a PNG without EXIF for it would decode the image.
    asks = not is_turned(image) and (image.format != "PNG" or "exif" in image.info)
    rotated = asks and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return Header(
        size=(width, height) if rotated else (height, width),
        is_color=_is_color(image),
        dtype=dtype_of(image),
        depth_reduced=is_reduced(image),
        pages=count_pages(image),
        has_alpha=may_be_transparent(image),
        profile=foreign_profile(image.info.get("icc_profile")),
    )


def may_be_transparent(image: Image.Image) -> bool:
    """Return whether an image of Pillow has transparency, by its mode or a transparent color."""
    return image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info


def dtype_of(image: Image.Image) -> str:
    """Return the dtype that an image of Pillow is read as: ``uint8``, ``uint16`` or ``float32``."""
    if image.mode == "F":
        return "float32"
    if not image.mode.startswith("I"):
        return "uint8"
    signed_or_wide = 2 in tag_values(image, SAMPLE_FORMAT) or 32 in tag_values(image, BITS)
    return "float32" if signed_or_wide else "uint16"


def draw_files(paths: Sequence[Path]) -> Sequence[Path]:
    """Return the files whose headers decide the spec: all, or a random draw of `HEADERS`."""
    return paths if len(paths) <= HEADERS else random.Random(0).sample(list(paths), HEADERS)


def all_headers(
    paths: Sequence[Path | bytes], pool: Executor, max_megapixels: float = MAX_MEGAPIXELS
) -> list[Header | None]:
    """Read the header of each of (B,) image files, None where it is unreadable or larger than `max_megapixels`."""
    with quiet_pillow(max_megapixels):
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
        channels: ``auto``: 3 if any image is in color, else 1; or those of images with other channels, if most are.
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
    notes: list[str] = []
    bands = Counter(header.bands for header in headers).most_common(1)[0][0] if headers else 0
    if like is not None and like.is_image and like.shape[0] in (1, 3, 4, bands):
        dtype = dtype if "float32" in (dtype, like.dtype) else like.dtype
        spec = like if like.resize else SampleSpec("image", like.shape, dtype, resize, crop_pct, interpolation)
        return replace(spec, dtype=dtype), notes
    planes: int = channels if channels != "auto" else bands
    if not planes:
        planes = 3 if any(header.is_color for header in headers) or not headers else 1
    if planes in (1, 3) and (transparent := sum(header.has_alpha for header in headers)):
        which = "images" if transparent == len(headers) else "some images"
        notes.append(f"{which} may be transparent, and transparency becomes white")
    if profiles := Counter(header.profile for header in headers if header.profile):
        name, count = profiles.most_common(1)[0]
        notes.append(
            f"color profiles other than sRGB are not applied, such as {name!r} of {count} of {len(headers)} images"
        )
    if size == "auto":
        (height, width), note = _auto_size({header.size for header in headers}, resize, source)
        notes += [note] if note else []
    else:
        height, width = (size, size) if isinstance(size, int) else size
    return SampleSpec("image", (planes, height, width), dtype, resize, crop_pct, interpolation), notes


def describe_losses(
    names: Sequence[Path | str], headers: Sequence[Header | None], option: str | None = ""
) -> tuple[str, ...]:
    """Return lines about what is not read of (B,) images: further pages, and the lower bits of color.

    Args:
        names: their files, or their ids.
        headers: their headers, None where an image is unreadable.
        option: setting that reads all pages; "": there is none; None: all are read.
    """
    shown = [readable_text(name.name) if isinstance(name, Path) else name for name in names]
    known = [(name, header) for name, header in zip(shown, headers) if header is not None]
    reduced = [name for name, header in known if header.depth_reduced]
    several = [(name, header.pages) for name, header in known if header.pages > 1]
    lines = []
    if reduced:
        which = f"{len(reduced)} of {len(names)} images, e.g. {reduced[0]!r}"
        lines.append(f"color of more than 8 bits is read as 8-bit, a limit of Pillow: {which}")
    if several and option is not None:
        name, pages = several[0]
        files = "1 file has" if len(several) == 1 else f"{len(several)} files have"
        first = f"{files} several pages or frames, e.g. {name!r} {pages}, of which the first is read"
        lines.append(f"{first}; {option} reads each" if option else first)
    return tuple(lines)


class HeaderSurprises:
    """Warn, once, of images that are unlike all of a random draw of headers.

    Args:
        spec: spec that the draw led to.
        headers: headers of the draw.
        channels: whether the number of channels follows from them.
        size: whether the size follows from them.
    """

    def __init__(self, spec: SampleSpec, headers: Sequence[Header], channels: bool, size: bool) -> None:
        self.spec, self._drawn, self._warned = spec, len(headers), False
        self._gray = channels and spec.shape[0] == 1
        self._size = spec.shape[1:] if size and {header.size for header in headers} == {spec.shape[1:]} else None
        self._unlike: dict[int, str] = {}

    def add(self, position: int, header: Header) -> None:
        """Compare the header of an image."""
        if self._gray and header.is_color and not header.bands:
            self._unlike[position] = "is in color and read as gray; data.images.channels = 3 keeps colors"
        elif header.dtype == "uint16" and self.spec.dtype == "uint8":
            self._unlike[position] = "has 16 bits per value and is read as 8 bits"
        elif self._size is not None and header.size != self._size:
            sides = "{1}x{0} to {3}x{2}".format(*header.size, *self._size)
            self._unlike[position] = f"is resized from {sides} pixels"

    def warn(self, ids: Sequence[str]) -> None:
        """Warn of the images that were added since; `ids` are the names of their positions."""
        if self._unlike and not self._warned:
            position, what = next(iter(sorted(self._unlike.items())))
            warn(f"data: {ids[position]} {what}, unlike {self._drawn:,} files that were drawn at random")
            self._warned = True
        self._unlike.clear()


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


def _header(path: Path | bytes) -> Header | None:
    try:
        with open_image(path) as image:
            return header_of(image)
    except BadImage:
        return None


def _is_color(image: Image.Image) -> bool:
    if image.mode == "P" and image.palette is not None:
        colors = np.array(_palette(image), np.uint8).reshape(-1, 3)
        return bool((colors != colors[:, :1]).any())
    return image.mode not in ("1", "L", "LA", "La", "F") and not image.mode.startswith("I")


def _palette(image: Image.Image) -> list[int]:
    """Return the red, green and blue of each entry of a palette, which files hold in several orders."""
    probe = Image.new("P", (1, 1))
    probe.putpalette(image.palette)  # type: ignore[arg-type]
    return probe.getpalette() or []
