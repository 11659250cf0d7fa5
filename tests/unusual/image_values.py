"""Image files whose values other libraries read differently, or which Pillow reads as others."""

from __future__ import annotations

import base64
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tifffile
from aekit_plugins.sources import patches
from PIL import Image
from unusual.harness import Area, Listener
from unusual.images import rows_of

import aekit
from aekit.data.readers.images import read_full_size
from aekit.data.spec import SampleSpec

AREA = Area(__name__)
RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (32, 48), np.uint8)
COLOR = RNG.integers(0, 65536, (32, 48, 3), np.uint16)
ALPHA = RNG.integers(1, 65536, (32, 48, 1), np.uint16)
TURNED = {5: lambda v: v.swapaxes(0, 1), 6: lambda v: np.rot90(v, -1), 8: np.rot90}


def written(path: Path, values: np.ndarray, **options: Any) -> np.ndarray:
    """Write a TIFF, and return the samples of its folder, (1, C, H, W)."""
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, values, **options)
    return rows_of(aekit.open_data(path.parent))


def first(values: np.ndarray) -> np.ndarray:
    return np.moveaxis(values, -1, 0) if values.ndim == 3 else values[None]


# ---- TIFF


@AREA.right("TIFF files that lie on their side, packed or not, of 8 and 16 bits and of floats")
def _(folder: Path, listener: Listener) -> None:
    for number, turn in TURNED.items():
        for values in (GRAY, GRAY.astype(np.uint16) * 257, GRAY.astype(np.float32), (COLOR >> 8).astype(np.uint8)):
            for packing in (None, "zlib"):
                name = f"{number}-{values.dtype}-{values.ndim}-{packing}"
                kind = "rgb" if values.ndim == 3 else "minisblack"
                tag = [(274, "H", 1, number, True)]
                rows = written(folder / name / "a.tif", values, photometric=kind, compression=packing, extratags=tag)
                assert np.array_equal(rows[0], first(turn(values))), name


@AREA.right("16-bit color in planes")
def _(folder: Path, listener: Listener) -> None:
    values = np.moveaxis(COLOR, -1, 0)
    assert np.array_equal(written(folder / "a.tif", values, photometric="rgb", planarconfig="separate")[0], values)


@AREA.right("palettes in TIFF files, of 8 and 16 bits, in tiles or not, of gray alone or of color")
def _(folder: Path, listener: Listener) -> None:
    colors = RNG.integers(0, 65536, (3, 256), np.uint16)
    for number, tile in enumerate((None, (16, 16))):
        rows = written(folder / str(number) / "a.tif", GRAY, photometric="palette", colormap=colors, tile=tile)
        assert np.array_equal(rows[0], colors[:, GRAY] >> 8)
    wide = RNG.integers(0, 65536, (3, 65536), np.uint16)
    assert np.array_equal(
        written(folder / "wide" / "a.tif", COLOR[:, :, 0], photometric="palette", colormap=wide)[0],
        wide[:, COLOR[:, :, 0]],
    )
    gray = np.tile(np.arange(255, -1, -1, dtype=np.uint16) * 257, (3, 1))
    rows = written(folder / "gray" / "a.tif", GRAY, photometric="palette", colormap=gray)
    assert np.array_equal(rows[0], 255 - GRAY[None])


@AREA.changed("16-bit color and gray with transparency, multiplied by it or not", "transparency becomes white")
def _(folder: Path, listener: Listener) -> None:
    for values, kind in ((COLOR, "rgb"), (COLOR[:, :, :1], "minisblack")):
        part = ALPHA / 65535
        expected = first(values * part + 65535 * (1 - part))
        for extra, stored in (("unassalpha", values), ("assocalpha", (values * part).round().astype(np.uint16))):
            place = folder / f"{kind}-{extra}" / "a.tif"
            pixels = np.concatenate([stored, ALPHA], axis=2)
            rows = written(place, pixels, photometric=kind, planarconfig="contig", extrasamples=[extra])
            assert rows.shape[1] == values.shape[2] and np.abs(rows[0] - expected).max() < 2, place
    listener.lines += aekit.open_data(folder / "rgb-assocalpha").notes


@AREA.right("CMYK of 16 bits, as Pillow reads that of 8")
def _(folder: Path, listener: Listener) -> None:
    inks = np.concatenate([COLOR, ALPHA], axis=2)
    rows = written(folder / "a.tif", inks, photometric="separated")
    eight = Image.fromarray((inks >> 8).astype(np.uint8), "CMYK").convert("RGB")
    assert rows.shape[1] == 3 and np.abs(rows[0] / 257 - first(np.asarray(eight).astype(int))).max() < 2.1


@AREA.right("four inks that are not those of CMYK, as four channels")
def _(folder: Path, listener: Listener) -> None:
    inks = np.concatenate([COLOR, ALPHA], axis=2)
    rows = written(folder / "a.tif", inks, photometric="separated", extratags=[(332, "H", 1, 2, True)])
    assert np.array_equal(rows[0], first(inks))


@AREA.right("windows of large TIFF files: packed, with a palette, in CMYK, as L*a*b*")
def _(folder: Path, listener: Listener) -> None:
    Image.fromarray(GRAY).save(folder / "packed.tif", compression="tiff_lzw")
    tiled = {"tile": (16, 16), "compression": "zlib"}
    colors = RNG.integers(0, 65536, (3, 256), np.uint16)
    tifffile.imwrite(folder / "palette.tif", GRAY, photometric="palette", colormap=colors, **tiled)
    tifffile.imwrite(folder / "cmyk.tif", np.stack([GRAY] * 4, -1), photometric="separated", **tiled)
    tifffile.imwrite(folder / "lab.tif", np.stack([GRAY] * 3, -1), photometric="cielab", **tiled)
    for name in ("packed", "palette", "cmyk", "lab"):
        place = folder / f"{name}.tif"
        with mock.patch.object(patches, "LARGE", 0):
            source = aekit.open_data(f"patches:{place}", {"patches": {"size": 10}})
            rows = rows_of(source)
        whole = read_full_size(place, SampleSpec("image", source.spec.shape, "uint8"))
        for one, row in zip(source.ids, rows):
            y, x = map(int, one.partition("@")[2].split(","))
            assert np.abs(row.astype(int) - whole[:, y : y + 10, x : x + 10]).max() <= 1, one


# ---- other formats


@AREA.right("palettes in BMP, TGA, GIF and PNG files, of any number of colors")
def _(folder: Path, listener: Listener) -> None:
    for count in (2, 5, 100, 252, 256):
        for name, values in (("color", (COLOR >> 8).astype(np.uint8)), ("gray", GRAY)):
            image = Image.fromarray(values).quantize(count)
            for ending in ("bmp", "gif", "png", "tga"):
                place = folder / f"{name}-{count}-{ending}"
                place.mkdir()
                image.save(place / f"a.{ending}")
                expected = first(np.asarray(image.convert("RGB" if name == "color" else "L")))
                assert np.array_equal(rows_of(aekit.open_data(place))[0], expected), place


def png(path: Path, rows: list[bytes], width: int, bits: int, *chunks: tuple[bytes, bytes]) -> None:
    """Write a gray PNG of so many bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, 0, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    body = [(b"IHDR", header), *chunks, (b"IDAT", packed), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in body))


@AREA.changed("PNG files of 2, 4 and 16 bits with a transparent gray", "transparency becomes white")
def _(folder: Path, listener: Listener) -> None:
    clear = (b"tRNS", struct.pack(">H", 1))
    for bits, row, expected in (
        (2, b"\x1b", [0, 255, 170, 255]),
        (4, b"\x01\x2f", [0, 255, 34, 255]),
        (16, b"\0\0\0\1\0\2\xff\xff", [0, 65535, 2, 65535]),
    ):
        place = folder / str(bits)
        place.mkdir()
        png(place / "a.png", [row, row], 4, bits, clear)
        assert rows_of(aekit.open_data(place))[0, 0].tolist() == [expected, expected]
    listener.lines += aekit.open_data(folder / "16").notes


DEEP = base64.b64decode(
    "/0//UQAvAAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAADCwEBCwEBCwEB/1IADAAAAAEBAAQEAAH/XAAEQGD/ZAAlAAFDcmVh"
    "dGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAAAYAAH/k8/kFBQAXK+HgID/2Q=="
)
"""White of 12 bits, (8, 8, 3), as JPEG 2000."""


@AREA.changed("JPEG 2000 with color of 12 bits", "color of 12 bits, whose white Pillow reads as black")
def _(folder: Path, listener: Listener) -> None:
    (folder / "a.j2k").write_bytes(DEEP)
    Image.fromarray(GRAY).save(folder / "b.png")
    source = aekit.open_data(folder)
    assert source.read(np.arange(2))[1].tolist() == [False, True]
    listener.lines += source.skipped.values()


def profile(name: str, colors: list[list[float]]) -> bytes:
    """Return a color profile (ICC) with these XYZ of red, green and blue."""
    text = name.encode("utf-16-be")
    tags = {b"desc": b"mluc" + struct.pack(">5I", 0, 1, 12, 0x656E5553, len(text)) + struct.pack(">I", 28) + text}
    for key, color in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colors):
        tags[key] = b"XYZ " + struct.pack(">4i", 0, *(round(65536 * one) for one in color))
    place, table, content = 132 + 12 * len(tags), b"", b""
    for key, value in tags.items():
        table += struct.pack(">4sII", key, place + len(content), len(value))
        content += value
    head = struct.pack(">I12s4s", place + len(content), b"", b"RGB ").ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + table + content


SRGB = [[0.436, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7141]]
P3 = [[0.5151, 0.2412, -0.0011], [0.292, 0.6922, 0.0419], [0.1571, 0.0666, 0.7841]]


def check_profiles(files: int, colors: list[list[float]], folder: Path, listener: Listener) -> None:
    for number in range(2):
        image = Image.fromarray((COLOR >> 8).astype(np.uint8))
        of = profile("Display P3" if colors is P3 else "c2", colors) if number < files else None
        image.save(folder / f"{number}.png", icc_profile=of)
    source = aekit.open_data(folder)
    assert np.array_equal(rows_of(source)[0], first(COLOR >> 8))
    assert any("profile" in note for note in source.notes) == (colors is P3)
    listener.lines += source.notes


AREA.changed("images with the color profile of a telephone", "not applied, such as 'Display P3' of 1 of 2 images")(
    partial(check_profiles, 1, P3)
)
AREA.right("images with a color profile of sRGB under another name")(partial(check_profiles, 2, SRGB))


@AREA.changed("a list of the bytes of images, one with several frames", "e.g. '1' 2, of which the first")
def _(folder: Path, listener: Listener) -> None:
    frames = [Image.fromarray(np.roll(GRAY, step)) for step in range(2)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "b.gif")
    source = aekit.open_data([(folder / name).read_bytes() for name in ("b.gif", "a.gif")])
    listener.lines += source.losses
    assert np.array_equal(rows_of(source)[1, 0], GRAY)
