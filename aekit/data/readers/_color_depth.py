"""How many bits the values of an image file have, of which Pillow keeps 8 for color."""

from __future__ import annotations

from PIL import Image

BITS, SAMPLE_FORMAT = 258, 339
"""Tags of TIFF."""
_HEAD = 1 << 16
"""Bytes at the start of a file in which its depth is."""
_CODESTREAM = b"\xff\x4f\xff\x51"
"""The markers that a bare JPEG 2000 begins with."""


def tag_values(image: Image.Image, tag: int) -> tuple[int, ...]:
    """Return the values of a tag of a TIFF image; () for others."""
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    value = () if tags is None else tags.get(tag, ())
    return value if isinstance(value, tuple) else (value,)


def is_reduced(image: Image.Image) -> bool:
    """Return whether an image that is not decoded yet has color of more than 8 bits, of which Pillow reads 8."""
    if image.mode == "F" or image.mode.startswith("I"):
        return False
    if image.format in ("AVIF", "HEIF"):
        return _bits_of_container(image) > 8
    deep_ppm = image.format == "PPM" and any(
        isinstance(one[3], tuple) and isinstance(one[3][1], int) and one[3][1] > 255 for one in _tiles(image)
    )
    return deep_ppm or max(tag_values(image, BITS), default=0) == 16 or has_deep_tiles(image)


def has_deep_tiles(image: Image.Image) -> bool:
    """Return whether Pillow knows that the values of the file have 16 bits, such as ``RGB;16B``.

    In BMP and TGA it is a color that has them, of which red takes 5.
    """
    if image.format not in ("PNG", "TIFF"):
        return False
    layouts = [one[3][0] if isinstance(one[3], tuple) and one[3] else one[3] for one in _tiles(image)]
    return any(isinstance(layout, str) and ";16" in layout for layout in layouts)


def _tiles(image: Image.Image) -> list[tuple[str, tuple[int, ...], int, object]]:
    return list(getattr(image, "tile", []))


def bits_of_jpeg2000(image: Image.Image) -> int:
    """Return the number of bits of a value of an open JPEG 2000 file; 0: unknown."""
    head = _head(image)
    if head[:4] == _CODESTREAM:
        return (head[42] & 127) + 1 if len(head) > 42 else 0
    for box, place in ((b"ihdr", 14), (b"bpcc", 4)):  # 255 in the first means that the second says it
        start = head.find(box)
        if start >= 0 and start + place < len(head) and head[start + place] != 255:
            return (head[start + place] & 127) + 1
    return 0


def _bits_of_container(image: Image.Image) -> int:
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    head = _head(image)
    start = head.find(b"av1C")
    flags = head[start + 6] if 0 <= start < len(head) - 6 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def _head(image: Image.Image) -> bytes:
    file = getattr(image, "fp", None)
    if file is None or getattr(file, "closed", False):
        return b""
    place = file.tell()
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(place)
    return bytes(head)
