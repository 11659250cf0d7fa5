"""Open image files: which endings and formats are read, which need a package, and how large an image may be."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, features

from aekit.data.readers._color_depth import (
    SAMPLE_FORMAT,
    bits_of_jpeg2000,
    has_deep_tiles,
    is_reduced,
    tag_values,
)
from aekit.data.readers._dicom_files import MISSING_DICOM, has_pydicom, is_dicom, open_dicom
from aekit.data.readers._image_pages import ImagePage
from aekit.data.readers._tiff_files import INSTALL, ORIENTATION, has_tifffile, open_tiff
from aekit.data.readers.endings import DICOM_ENDINGS, HEIF_ENDINGS
from aekit.data.reading import reason_of, refuse_special, what_stands_in
from aekit.errors import DataError, first_line, print_traceback
from aekit.io.memory import check_memory

OTHER_IMAGES = (
    *(".ai", ".arw", ".cr2", ".cr3", ".czi", ".dng", ".eps", ".exr", ".fit", ".fits", ".hdr", ".ico"),
    *(".jxl", ".lif", ".mrxs", ".nd2", ".ndpi", ".nef", ".nii", ".orf", ".pcx", ".pdf", ".psd", ".raf", ".rw2", ".sgi"),
    *(".svg", ".svs", ".xcf"),
)
"""Endings of images that are not read."""
MAX_MEGAPIXELS = 89.478485
"""Size of the largest image that is decoded, Pillow's own limit."""

_FORMATS = ["AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP"]
_WIDTH, _LENGTH, _COMPRESSION, _SAMPLES_PER_PIXEL, _SUBFILE, _PHOTOMETRIC = 256, 257, 259, 277, 254, 262
"""Tags of TIFF."""
_CMYK = 5

AnyImage = Image.Image | ImagePage


class BadImage(DataError):
    """An image that cannot be used; the message is the reason, without the path."""


@contextmanager
def quiet_pillow(max_megapixels: float = MAX_MEGAPIXELS) -> Iterator[None]:
    """Ignore Pillow's warnings, but raise decompression bombs: images of more than `max_megapixels`.

    Filters and the limit are per process, so use it around a thread pool.
    """
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = round(max_megapixels * 1e6)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def open_image(path: Path | bytes, page: int = 0) -> Iterator[AnyImage]:
    """Open a page of an image file, or of the bytes of one; any error inside the block becomes a BadImage."""
    try:
        if isinstance(path, Path):
            refuse_special(path)
        if not (len(path) if isinstance(path, bytes) else path.stat().st_size):
            raise BadImage("no image" if isinstance(path, bytes) else "empty file")
        if _is_heif(path) and not _register_heif():
            raise BadImage(MISSING_HEIF)
        if isinstance(path, Path) and path.suffix.lower() == ".avif" and not features.check("avif"):
            raise BadImage(MISSING_AVIF)
        if is_dicom(path):
            if not has_pydicom():
                raise BadImage(MISSING_DICOM)
            with open_dicom(path, page) as frame:
                _check_size(frame)
                yield frame
            return
        image, problem = _open_with_pillow(path)
        if image is not None:
            with image:
                _seek_page(image, page)
                yield image
            return
        if not has_tifffile():
            raise BadImage(f"{problem}: {INSTALL}")
        with open_tiff(path, page) as tiff:
            _check_size(tiff)
            yield tiff
    except DataError as error:
        raise error if isinstance(error, BadImage) else BadImage(error) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(_bomb(str(error))) from None
    except FileNotFoundError:
        raise BadImage("the file is missing") from None
    except Image.UnidentifiedImageError:
        raise BadImage(what_stands_in(path) or "not an image that Pillow reads") from None
    except Exception as error:  # a damaged file can make Pillow raise anything
        print_traceback(error)
        raise BadImage(first_line(error)) from None


def _check_size(page: ImagePage) -> None:
    Image._decompression_bomb_check((page.width, page.height))
    check_memory(4 * page.width * page.height * page.bands, f"{page.bands} channels of the image")


@contextmanager
def reading_frames(complaint: str) -> Iterator[None]:
    """Turn what a library raises about a video or an animated image into a BadImage; see `aekit.data.reading.reading`."""
    try:
        yield
    except BadImage:
        raise
    except Exception as error:
        print_traceback(error)
        raise BadImage(reason_of(error, complaint)) from None


def open_pillow(path: Path | bytes, formats: list[str] | tuple[str, ...]) -> Image.Image:
    """Open an image of one of some formats with Pillow."""
    image = Image.open(io.BytesIO(path) if isinstance(path, bytes) else path, formats=formats)
    if isinstance(image, ImageFile.ImageFile):
        # Pillow gives whole rows to some decoders, and collects a long one in time that is quadratic in its blocks.
        image.decodermaxblock = max(image.decodermaxblock, 4 * image.width)
    return image


def _open_with_pillow(path: Path | bytes) -> tuple[Image.Image | None, str]:
    """Return an open image, or None and the reason why only tifffile can read it."""
    try:
        image = open_pillow(path, _FORMATS)
    except Image.UnidentifiedImageError:
        if _is_tiff(path):
            return None, "a TIFF file that Pillow does not read"
        raise
    if problem := _lost_by_pillow(image):
        image.close()
        return None, problem
    if image.format == "JPEG2000" and not image.mode.startswith("I") and (bits := bits_of_jpeg2000(image)) > 8:
        image.close()
        raise BadImage(
            f"JPEG 2000 with color of {bits} bits, whose white Pillow reads as black; save it as PNG or TIFF"
        )
    if isinstance(image, ImageFile.ImageFile) and is_turned(image):
        image.filename = ""  # or Pillow maps the rows of the file, as long as those of the upright image
    return image, ""


def is_turned(image: Image.Image) -> bool:
    """Return whether rows and columns of an open TIFF image are swapped: its `size` is upright, in its file it is not."""
    return max(tag_values(image, ORIENTATION), default=1) in (5, 6, 7, 8) and image.size == (
        *tag_values(image, _LENGTH),
        *tag_values(image, _WIDTH),
    )


MISSING_HEIF = "HEIC images need pillow-heif: pip install 'aekit[heif]'"
MISSING_AVIF = "AVIF images need Pillow 11.3 or newer: pip install -U pillow"


def unreadable_formats(paths: Sequence[Path]) -> Counter[str]:
    """Count the files that need a package which is not installed, by what is said about it."""
    endings = Counter(path.suffix.lower() for path in paths)
    missing: Counter[str] = Counter()
    if (count := sum(endings[ending] for ending in HEIF_ENDINGS)) and not _register_heif():
        missing[MISSING_HEIF] = count
    if (count := sum(endings[ending] for ending in DICOM_ENDINGS)) and not has_pydicom():
        missing[MISSING_DICOM] = count
    if endings[".avif"] and not features.check("avif"):
        missing[MISSING_AVIF] = endings[".avif"]
    return missing


def _register_heif() -> bool:
    """Let Pillow read HEIC images, and return whether it does."""
    if "HEIF" in _FORMATS:
        return True
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    _FORMATS.append("HEIF")
    return True


def _is_heif(path: Path | bytes) -> bool:
    if isinstance(path, bytes):
        return path[4:8] == b"ftyp" and path[8:12] in (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1")
    return path.suffix.lower() in HEIF_ENDINGS


def _is_tiff(path: Path | bytes) -> bool:
    if isinstance(path, Path):
        with path.open("rb") as file:
            path = file.read(4)
    return path[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _bomb(message: str) -> str:
    pixels = message.partition("(")[2].partition(" pixels")[0]
    if not pixels.isdigit():
        return "too many pixels: refused as a decompression bomb"
    allowed = -(-int(pixels) // 1_000_000)
    return f"{pixels} pixels: refused as a decompression bomb; max_megapixels = {allowed} reads it"


def _lost_by_pillow(image: Image.Image) -> str:
    """Return what Pillow would not read of a TIFF image, or ""."""
    bands = max(tag_values(image, _SAMPLES_PER_PIXEL), default=0)
    if bands > len(image.getbands()) and not (bands == 5 and _CMYK in tag_values(image, _PHOTOMETRIC)):
        return f"{bands} channels, of which Pillow reads {len(image.getbands())}"
    if image.mode == "L" and 2 in tag_values(image, SAMPLE_FORMAT):
        return "signed 8-bit integers"
    if image.mode.startswith("I;16") and 0 in tag_values(image, _PHOTOMETRIC):
        return "16-bit values of which 0 is white"
    if image.format != "TIFF" or not is_reduced(image):
        return ""
    if has_tifffile(max(tag_values(image, _COMPRESSION), default=0)):
        return "16-bit color"
    if not has_deep_tiles(image):
        return "16-bit color in planes, which Pillow reads as 8-bit"
    return ""


def count_pages(image: Image.Image) -> int:
    """Return the number of pages or frames; smaller copies, masks and the second views of cameras are none."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if image.format != "TIFF" or count == 1:
        return count
    try:
        return max(1, len(_full_pages(image, count)))
    finally:
        image.seek(0)


def _full_pages(image: Image.Image, count: int) -> list[int]:
    """Return the numbers of the pages of a TIFF image that are not smaller copies or masks, up to a damaged one."""
    pages = []
    for page in range(count):
        try:
            image.seek(page)
        except (EOFError, OSError, ValueError):
            break
        if not max(tag_values(image, _SUBFILE), default=0) & 5:
            pages.append(page)
    return pages


def _seek_page(image: Image.Image, page: int) -> None:
    if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
        page = [*_full_pages(image, image.n_frames), page][page]  # type: ignore[attr-defined]
    if page != image.tell():
        image.seek(page)
