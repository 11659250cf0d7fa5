"""Decode image files into arrays: any mode that Pillow reads, of one size, number of channels and depth. A bad file yields a
reason, never an exception."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps

from aekit.data.readers._color_depth import tag_values
from aekit.data.readers._image_files import (
    MAX_MEGAPIXELS,
    AnyImage,
    BadImage,
    open_image,
    quiet_pillow,
    reading_frames,
)
from aekit.data.readers._image_pages import ImagePage
from aekit.data.readers._tiff_files import NODATA, TIFF_ENDINGS, has_tifffile, open_tiff, to_float32
from aekit.data.readers.image_headers import ORIENTATION, Header, choose_spec, dtype_of, header_of, may_be_transparent
from aekit.data.readers.resizing import resize_image
from aekit.data.source import RowIds, Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError, first_line


def read_images(
    paths: Sequence[Path | bytes],
    spec: SampleSpec,
    pool: Executor,
    *,
    pages: Sequence[int] | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    use_header: Callable[[int, Header], None] | None = None,
) -> tuple[np.ndarray, list[str | None]]:
    """Decode image files in parallel.

    Args:
        paths: (B,) files, or the bytes of files.
        spec: spec of the result: (C, H, W), dtype and `resize`.
        pool: pool of threads; Pillow releases Python's lock.
        pages: (B,) numbers of pages; None: the first of each file.
        max_megapixels: size of the largest image that is decoded.
        use_header: receives the position in `paths` and the header of each image, in one of the threads.

    Returns:
        (B, C, H, W) of spec.dtype, and (B,) reasons: None, or why the image could not be read; its row is then zeros.
    """
    rows = np.zeros((len(paths), *spec.shape), spec.dtype)

    def decode(position: int) -> str | None:
        try:
            with open_image(paths[position], pages[position] if pages is not None else 0) as image:
                if use_header is not None:
                    use_header(position, header_of(image))
                rows[position] = image_to_array(image, spec)
        except BadImage as error:
            return str(error)
        return None

    with quiet_pillow(max_megapixels):
        reasons = list(pool.map(decode, range(len(paths)))) if len(paths) > 1 else [decode(0)] if paths else []
    return rows, reasons


def read_full_size(path: Path, like: SampleSpec, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Read an image at its original size: (C, H, W) with the channels and dtype of `like`.

    Raises:
        BadImage: it cannot be read.
    """
    with quiet_pillow(max_megapixels):
        return _decode_full_size(path, like)


def for_each_full_size(
    paths: Sequence[Path],
    like: SampleSpec,
    pool: Executor,
    use: Callable[[int, np.ndarray], None],
    max_megapixels: float = MAX_MEGAPIXELS,
) -> list[str | None]:
    """Decode image files in parallel, each as `read_full_size` does, and pass each to `use`.

    Args:
        paths: (B,) files.
        like: spec whose channels and dtype the images get.
        pool: pool of threads, each of which holds one image at a time.
        use: receives the position in `paths` and the image (C, H, W), in one of the threads.
        max_megapixels: size of the largest image that is decoded.

    Returns:
        (B,) reasons: None, or why the image could not be read and was not passed to `use`.
    """

    def decode(position: int) -> str | None:
        try:
            image = _decode_full_size(paths[position], like)
        except BadImage as error:
            return str(error)
        use(position, image)
        return None

    with quiet_pillow(max_megapixels):
        return list(pool.map(decode, range(len(paths))))


def read_windows(
    path: Path,
    like: SampleSpec,
    corners: Sequence[tuple[int, int]],
    use: Callable[[int, np.ndarray], None],
    max_megapixels: float,
) -> list[str | None] | None:
    """Read windows of a large image without decoding the rest, and pass each to `use`.

    Args:
        path: the file.
        like: spec (C, height, width) of a window.
        corners: (B,) upper left corners (y, x) of windows inside the image.
        use: receives the position in `corners` and the window (C, height, width) of like.dtype.
        max_megapixels: size of the largest image that is read.

    Returns:
        (B,) reasons: None, or why a window could not be read; or None where the file has to be decoded as a whole.
    """
    if path.suffix.lower() not in TIFF_ENDINGS or not has_tifffile():
        return None
    try:
        with open_tiff(path) as page:
            if page.width * page.height > max_megapixels * 1e6 or not page.has_windows:
                return None
            reasons: list[str | None] = []
            for position, (y, x) in enumerate(corners):
                try:
                    bands = page.read_window(y, x, *like.shape[1:])
                    use(position, _bands_to_array(bands, page.dtype, page.has_alpha, like))
                    reasons.append(None)
                except Exception as error:  # a damaged file can make tifffile raise anything
                    reasons.append(first_line(error))
            return reasons
    except Exception:  # Pillow may read it, or say what is wrong
        return None


def _decode_full_size(path: Path, like: SampleSpec) -> np.ndarray:
    with open_image(path) as image:
        return image_to_array(image, SampleSpec("image", (like.shape[0], *header_of(image).size), like.dtype))


def image_to_array(image: AnyImage, spec: SampleSpec) -> np.ndarray:
    """Convert an opened image to (C, H, W) of spec.dtype.

    It is rotated upright, resized with antialiasing, and converted: transparent pixels are blended with white (unless C is
    4), color becomes luma where C is 1, gray is repeated where C is 3; 8 and 16 bits are rescaled to each other.

    Raises:
        BadImage: the values do not fit the dtype of the spec, or the number of channels does not.
    """
    if isinstance(image, ImagePage):
        return _bands_to_array(image.read(), image.dtype, image.has_alpha, spec)
    channels, height, width = spec.shape
    if spec.resize != "torchvision":  # to which a draft would not be equal
        _draft(image, channels, 2 * height, 2 * width)
    clear = _clear_gray(image)
    image.load()
    dtype = dtype_of(image)
    nodata = tag_values(image, NODATA)
    image = _upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        plane = np.asarray(image)
        if clear is not None and dtype == "uint16":
            plane = np.where(plane == clear, 65535, plane)
        if dtype == "uint16" and (plane.min() < 0 or plane.max() > 65535):
            raise BadImage(f"integers of {plane.min():.0f}..{plane.max():.0f}: more than 16 bits")
        try:
            image = Image.fromarray(to_float32(plane, str(nodata[0]) if nodata and dtype == "float32" else None))
        except ValueError as error:
            raise BadImage(str(error)) from None
    else:
        if channels not in (1, 3, 4):
            raise BadImage(f"{len(image.getbands())} channels, expected {channels}")
        image = _to_channels(image, channels)
    values = np.asarray(resize_image(image, spec))
    values = _to_dtype(values, dtype, spec.dtype)
    if values.ndim == 3:
        return values.transpose(2, 0, 1)
    if channels not in (1, 3):
        raise BadImage(f"a {dtype} gray image; expected {channels} channels")
    return np.broadcast_to(values, (channels, height, width))


def _bands_to_array(values: np.ndarray, dtype: str, has_alpha: bool, spec: SampleSpec) -> np.ndarray:
    """Convert (H, W, bands) of `dtype` to (C, H, W) of spec.dtype, as `image_to_array` does."""
    channels, bands = spec.shape[0], values.shape[2]
    planes = [Image.fromarray(np.ascontiguousarray(values[:, :, band], np.float32)) for band in range(bands)]
    resized = np.stack([np.asarray(resize_image(plane, spec)) for plane in planes])
    white = np.float32(np.iinfo(dtype).max if dtype != "float32" else 1)
    if bands != channels and bands in (2, 4) and has_alpha:
        alpha = resized[-1:] / white
        resized = resized[:-1] * alpha + white * (1 - alpha)
    if len(resized) == 3 and channels == 1:
        resized = np.tensordot(_LUMA, resized, 1)[None]
    if len(resized) == 1 and channels in (3, 4):
        resized = np.broadcast_to(resized, (3, *resized.shape[1:]))
    if len(resized) == 3 and channels == 4:
        resized = np.concatenate([resized, np.full_like(resized[:1], white)])
    if len(resized) != channels:
        raise BadImage(f"{bands} channels, expected {channels}")
    return _to_dtype(resized, dtype, spec.dtype)


_LUMA = np.array([299, 587, 114], np.float32) / 1000
"""Weights of red, green and blue in gray, those of Pillow."""


ITEMS = 500
"""Number of images of another library that decide the spec, drawn at random: reading one may cost as much as decoding it."""


class ImageItems(Source):
    """Images that another library returns one at a time.

    Args:
        count: number of images.
        item: returns the image at a position, or raises.
        like: as in `choose_spec`.
        labels: as in `Source`.
        splits: as in `Source`.
        spec_options: further options of `choose_spec`, by name.
    """

    slow = True

    def __init__(
        self,
        count: int,
        item: Callable[[int], Image.Image],
        like: SampleSpec | None = None,
        labels: np.ndarray | None = None,
        splits: np.ndarray | None = None,
        spec_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.item, self.ids, self.labels, self.splits, self.skipped = item, RowIds(splits, count), labels, splits, {}
        sample = random.Random(0).sample(range(count), min(count, ITEMS))
        headers, reasons = [], []
        for index in sample:
            try:
                headers.append(header_of(item(index)))
                if 0 in headers[-1].size:
                    raise BadImage("an image without pixels")
            except (BadImage, OSError, ValueError) as error:
                reasons.append(first_line(error))
        if reasons and len(reasons) == len(sample):
            raise DataError(f"none of {count} images can be read: {reasons[0]}")
        usable = [header for header in headers if 0 not in header.size]
        self.spec, notes = choose_spec(usable, like, **(spec_options or {}))
        self.notes = tuple(notes)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = np.zeros((len(indices), *self.spec.shape), self.spec.dtype), np.ones(len(indices), bool)
        for position, index in enumerate(indices.tolist()):
            try:
                image = self.item(index)
                with reading_frames("damaged"):
                    rows[position] = image_to_array(image, self.spec)
            except (BadImage, OSError, ValueError) as error:
                ok[position], self.skipped[self.ids[index]] = False, first_line(error)
        return rows, ok


def _clear_gray(image: Image.Image) -> int | None:
    """Return the gray that a PNG declares transparent, which Pillow compares as it is in the file, or None.

    It corrects that of images of 2 and 4 bits, whose gray Pillow widens to 8 bits.
    """
    clear = image.info.get("transparency")
    if image.format != "PNG" or not isinstance(clear, int) or image.mode == "P":
        return None
    for tile in image.tile if isinstance(image, ImageFile.ImageFile) else ():
        image.info["transparency"] = clear = clear * {"L;2": 85, "L;4": 17}.get(str(tile[3]), 1)
    return clear


def _draft(image: Image.Image, channels: int, height: int, width: int) -> None:
    """Let a JPEG be decoded at the smallest fraction of its size that still covers (height, width), rotated or not."""
    side = max(height, width)
    if min(image.size) > side and image.mode in ("L", "RGB"):
        ratio = side / min(image.size)
        image.draft(None, (round(image.width * ratio), round(image.height * ratio)))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return image if image.getexif().get(ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
    except Exception:  # the image is usable without its damaged EXIF
        return image


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    """Convert an 8-bit image to L, RGB or RGBA."""
    if channels == 4:
        return image.convert("RGBA")
    if may_be_transparent(image):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode in ("P", "CMYK", "LAB", "HSV", "YCbCr"):
        image = image.convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _to_dtype(values: np.ndarray, dtype: str, expected: str) -> np.ndarray:
    if (dtype == "float32") != (expected == "float32"):
        raise BadImage(f"its values are {dtype}, expected {expected}")
    if values.dtype == expected:
        return values
    factor = {("uint8", "uint16"): 257.0, ("uint16", "uint8"): 1 / 257}.get((dtype, expected), 1.0)  # white stays white
    return (values * np.float32(factor)).round().clip(0, np.iinfo(expected).max).astype(expected)
