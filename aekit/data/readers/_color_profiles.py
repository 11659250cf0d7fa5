"""Names of the color profiles (ICC) that image files hold, which no source applies."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np

_SRGB = np.array([[0.4361, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7141]])
"""(3, 3) XYZ of red, green and blue of sRGB, as profiles hold them, for the white of D50."""
_NEAR = 0.01
"""Largest difference from them by which profiles are sRGB under other names."""


def foreign_profile(profile: object) -> str:
    """Return the name of a color profile whose colors are not those of sRGB; "" for sRGB, gray, none and damaged ones."""
    if not isinstance(profile, bytes) or len(profile) < 132 or profile[16:20] not in (b"RGB ", b"CMYK"):
        return ""
    with suppress(struct.error, ValueError, UnicodeDecodeError):
        tags = _tags(profile)
        if profile[16:20] == b"RGB " and all(name in tags for name in (b"rXYZ", b"gXYZ", b"bXYZ")):
            colors = np.array([struct.unpack(">3i", tags[name][8:20]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")])
            if np.abs(colors / 65536 - _SRGB).max() < _NEAR:
                return ""
        name = _text(tags.get(b"desc", b""))
        return "" if "srgb" in name.lower() else name or profile[16:20].decode().strip()
    return ""


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack(">I", profile[128:132])
    tags = {}
    for number in range(min(count, 100)):
        name, start, size = struct.unpack(">4sII", profile[132 + 12 * number : 144 + 12 * number])
        tags[name] = profile[start : start + size]
    return tags


def _text(tag: bytes) -> str:
    """Return the text of a description, of version 2 or 4."""
    if tag[:4] == b"desc":
        (size,) = struct.unpack(">I", tag[8:12])
        return tag[12 : 12 + size].rstrip(b"\0").decode("latin-1").strip()
    if tag[:4] == b"mluc":
        size, start = struct.unpack(">II", tag[20:28])
        return tag[start : start + size].decode("utf-16-be").strip("\0 ")
    return ""
