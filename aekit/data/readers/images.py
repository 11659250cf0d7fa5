"""Image files to arrays: any mode Pillow reads, brought to one size, number of channels and depth. A bad file is a
reason, never an exception."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from aekit.data.readers.resizing import resize_image
from aekit.data.resampling import Kernel
from aekit.data.source import RowIds, Source
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

HEADERS, COMMON_LIMIT, DEFAULT_SIDE = 200, 512, 64

_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION = 0x0112


class BadImage(Exception):
    """A file that cannot be used; says why in a few words."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before it is decoded.

    Attributes:
        size: (H, W), upright.
        colored: whether it has more than gray values.
        dtype: ``uint8``, ``uint16`` or ``float32``: what its values are.
        narrowed: whether it holds 16 bits a channel of which Pillow reads 8, as it does for color.
    """

    size: tuple[int, int]
    is_color: bool
    dtype: str
    depth_reduced: bool


def header_of(image: Image.Image) -> Header:
    """What an opened image says of itself, without decoding it."""
    width, height = image.size
    # Asking a PNG for EXIF that it does not have would decode it.
    turned = (image.format != "PNG" or "exif" in image.info) and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    wide = image.mode.startswith("I")
    tiles = getattr(image, "tile", [])
    return Header(
        size=(width, height) if turned else (height, width),
        is_color=_is_colored(image),
        dtype="float32" if image.mode == "F" else "uint16" if wide else "uint8",
        depth_reduced=not wide and image.mode != "F" and any("16" in str(tile[3]) for tile in tiles),
    )


def read_headers(paths: Sequence[Path], pool: Executor) -> list[Header]:
    """The headers of about `HEADERS` evenly spaced image files, without those that are not readable."""
    sample = paths[:: max(1, -(-len(paths) // HEADERS))]
    return [header for header in all_headers(sample, pool) if header is not None]


def all_headers(paths: Sequence[Path], pool: Executor) -> list[Header | None]:
    """The header of each of (B,) image files, None where it is not readable."""
    with _quiet():
        return list(pool.map(_header, paths))


def choose_spec(
    headers: Sequence[Header],
    like: SampleSpec | None,
    size: Literal["auto"] | int | Sequence[int] = "auto",
    resize: Resize = "crop",
    channels: Literal["auto", 1, 3, 4] = "auto",
    crop_pct: float = 1.0,
    interpolation: Kernel = "bicubic",
) -> tuple[SampleSpec, list[str]]:
    """What images with these headers are brought to, and notes on what that costs them.

    Args:
        headers: of some of the images.
        like: what an encoder takes. It goes before the rest, except that whole numbers are never made floats.
        size: pixels, one side or [height, width]; ``auto``: the common size where all agree on one of at most
            `COMMON_LIMIT`, else `DEFAULT_SIDE` squared.
        resize, share, interpolation: as in `SampleSpec`.
        channels: ``auto``: 3 where any image is colored, else 1.

    Raises:
        DataError: a share below 1 where nothing is cropped.
    """
    if crop_pct < 1 and resize not in ("crop", "torchvision"):
        raise DataError(f"share = {crop_pct}: expected 1 with resize = {resize!r}, which crops nothing")
    counts = Counter(header.dtype for header in headers) or Counter([like.dtype if like else "uint8"])
    dtype = "uint16" if set(counts) == {"uint8", "uint16"} else counts.most_common(1)[0][0]
    notes = []
    if any(header.depth_reduced for header in headers):
        notes.append("16-bit color is read as 8-bit, which is all that Pillow gives")
    if like is not None and like.is_image and like.shape[0] in (1, 3, 4):
        kept = dtype if "float32" in (dtype, like.dtype) else like.dtype
        how = like if like.resize else SampleSpec("image", like.shape, kept, resize, crop_pct, interpolation)
        return replace(how, dtype=kept), notes
    if channels == "auto":
        channels = 3 if any(header.is_color for header in headers) or not headers else 1
    if size == "auto":
        sizes = {header.size for header in headers}
        height, width = sizes.pop() if len(sizes) == 1 else (0, 0)
        if not 0 < max(height, width) <= COMMON_LIMIT:
            height = width = DEFAULT_SIDE
            notes.append(f"images are large or differ in size: brought to {width}x{height} pixels ({resize})")
    else:
        height, width = (size, size) if isinstance(size, int) else size
    return SampleSpec("image", (channels, height, width), dtype, resize, crop_pct, interpolation), notes


def read_images(paths: Sequence[Path], spec: SampleSpec, pool: Executor) -> tuple[np.ndarray, list[str | None]]:
    """Decodes image files in parallel.

    Args:
        paths: (B,) files.
        spec: what they are brought to: (C, H, W) with C of 1, 3 or 4, dtype and `resize`.
        pool: of threads; Pillow works outside Python's lock.

    Returns:
        (B, C, H, W) of spec.dtype, and (B,) reasons: None, or why the image could not be read and its row is zeros.
    """
    rows = np.zeros((len(paths), *spec.shape), spec.dtype)

    def decode(position: int) -> str | None:
        try:
            with _opened(paths[position]) as image:
                rows[position] = image_to_array(image, spec)
        except BadImage as error:
            return str(error)
        return None

    with _quiet():
        reasons = list(pool.map(decode, range(len(paths)))) if len(paths) > 1 else [decode(0)] if paths else []
    return rows, reasons


def read_full_size(path: Path, like: SampleSpec) -> np.ndarray:
    """An image at its own size: (C, H, W) with the channels and dtype of `like`.

    Raises:
        BadImage: it cannot be read.
    """
    with _quiet():
        return _whole(path, like)


def for_each_full_size(
    paths: Sequence[Path], like: SampleSpec, pool: Executor, use: Callable[[int, np.ndarray], None]
) -> list[str | None]:
    """Decodes (B,) image files in parallel, each as `read_whole` does, and keeps none of them.

    Args:
        pool: of threads, each of which holds one image at a time.
        use: receives the position in `paths` and the image (C, H, W), in one of the threads.

    Returns:
        (B,) reasons: None, or why the image could not be read and was not handed to `use`.
    """

    def decode(position: int) -> str | None:
        try:
            whole = _whole(paths[position], like)
        except BadImage as error:
            return str(error)
        use(position, whole)
        return None

    with _quiet():
        return list(pool.map(decode, range(len(paths))))


def _whole(path: Path, like: SampleSpec) -> np.ndarray:
    with _opened(path) as image:
        return image_to_array(image, SampleSpec("image", (like.shape[0], *header_of(image).size), like.dtype))


def image_to_array(image: Image.Image, spec: SampleSpec) -> np.ndarray:
    """An opened image as (C, H, W) of spec.dtype.

    It is turned upright, resized with antialiasing, and converted: transparency is laid over white (unless C is 4),
    color to luma where C is 1, gray is repeated where C is 3; 8 and 16 bits are rescaled to each other.

    Raises:
        BadImage: the values are of a kind that the spec's dtype cannot hold.
    """
    channels, height, width = spec.shape
    if spec.resize != "torchvision":  # which knows no such shortcut
        _draft(image, channels, 2 * height, 2 * width)
    image.load()
    image = _upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        dtype = "float32" if image.mode == "F" else "uint16"
        plane = np.asarray(image).astype(np.float32)
        if dtype == "uint16" and (plane.min() < 0 or plane.max() > 65535):
            raise BadImage(f"whole numbers of {plane.min():.0f}..{plane.max():.0f}: more than 16 bits")
        image = Image.fromarray(plane)
    else:
        dtype, image = "uint8", _flattened(image, channels)
    values = np.asarray(resize_image(image, spec))
    values = _in_depth(values, dtype, spec.dtype)
    if values.ndim == 3:
        return values.transpose(2, 0, 1)
    if channels == 4:
        raise BadImage(f"a {dtype} gray image where 4 channels are expected")
    return np.broadcast_to(values, (channels, height, width))


class ImageItems(Source):
    """Images that another library hands out one at a time.

    Args:
        count: how many there are.
        item: gives the image of a position, or raises where it cannot.
        like: and `how`, by name: as in `choose_spec`.
        labels, splits: as in `Source`.
    """

    slow = True

    def __init__(
        self,
        count: int,
        item: Callable[[int], Image.Image],
        like: SampleSpec | None = None,
        labels: np.ndarray | None = None,
        splits: np.ndarray | None = None,
        how: Mapping[str, Any] | None = None,
    ) -> None:
        self.item, self.ids, self.labels, self.splits, self.skipped = item, RowIds(splits, count), labels, splits, {}
        sample = range(0, count, max(1, -(-count // HEADERS)))
        self.spec, notes = choose_spec([header_of(item(index)) for index in sample], like, **(how or {}))
        self.note = "; ".join(notes)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = np.zeros((len(indices), *self.spec.shape), self.spec.dtype), np.ones(len(indices), bool)
        for position, index in enumerate(indices.tolist()):
            try:
                rows[position] = image_to_array(self.item(index), self.spec)
            except (BadImage, OSError, ValueError) as error:
                ok[position], self.skipped[self.ids[index]] = False, _first_line(error)
        return rows, ok


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of odd files and of bombs. Warnings are switched for the process, so this goes around the pool."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image in a file; whatever goes wrong inside the block becomes a BadImage."""
    try:
        if not path.stat().st_size:
            raise BadImage("an empty file")
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = str(error).partition("(")[2].partition(")")[0] or "too many pixels"
        raise BadImage(f"{found}: refused as a decompression bomb") from None
    except FileNotFoundError:
        raise BadImage("the file is missing") from None
    except Image.UnidentifiedImageError:
        raise BadImage("not an image that Pillow reads") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise BadImage(_first_line(error)) from None


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _header(path: Path) -> Header | None:
    try:
        with _opened(path) as image:
            return header_of(image)
    except BadImage:
        return None


def _is_colored(image: Image.Image) -> bool:
    if image.mode == "P" and image.palette is not None and image.palette.mode == "RGB":
        colors = np.frombuffer(bytes(image.palette.palette), np.uint8).reshape(-1, 3)
        return bool((colors != colors[:, :1]).any())
    return image.mode not in ("1", "L", "LA", "La", "F") and not image.mode.startswith("I")


def _draft(image: Image.Image, channels: int, height: int, width: int) -> None:
    """Lets a JPEG be decoded at the smallest fraction of its size that still has (height, width) in either position."""
    side = max(height, width)
    if min(image.size) > side and image.mode in ("L", "RGB"):
        ratio = side / min(image.size)
        image.draft(None, (round(image.width * ratio), round(image.height * ratio)))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF is no reason to lose the image
        return image


def _flattened(image: Image.Image, channels: int) -> Image.Image:
    """8-bit images as L, RGB or RGBA."""
    transparent = image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info
    if channels == 4:
        return image.convert("RGBA")
    if transparent:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode in ("P", "CMYK", "LAB", "HSV", "YCbCr"):
        image = image.convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _in_depth(values: np.ndarray, found: str, wanted: str) -> np.ndarray:
    if (found == "float32") != (wanted == "float32"):
        raise BadImage(f"its values are {found}, expected {wanted}")
    if values.dtype == wanted:
        return values
    factor = {("uint8", "uint16"): 257.0, ("uint16", "uint8"): 1 / 257}.get((found, wanted), 1.0)  # white stays white
    return (values * np.float32(factor)).round().clip(0, np.iinfo(wanted).max).astype(wanted)
