"""Find the encoding of a text table, and refuse what is no text."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from aekit.errors import DataError

HEAD = 1 << 20
"""Bytes from which the form of a file is guessed."""
GZIP = b"\x1f\x8b"
_BINARY = {
    b"PK\x03\x04": "an archive, such as an Excel workbook, whose name should end in .xlsx",
    b"\xd0\xcf\x11\xe0": "an old or encrypted Excel workbook; save it as .xlsx or CSV",
    GZIP: "a gzipped file; its name should end in .gz",
    **dict.fromkeys((b"Rar!\x1a\x07", b"7z\xbc\xaf", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"), "an archive; unpack it first"),
    **{b"BZh%d1AY&SY" % level: "an archive; unpack it first" for level in range(1, 10)},
    b"SQLite format 3\0": "a database of SQLite; save its table as CSV or Parquet",
    b"PAR1": "a Parquet file; its name should end in .parquet",
    b"ARROW1": "an Arrow file; its name should end in .arrow",
    b"\x89HDF": "an HDF5 file; its name should end in .h5",
    b"\x93NUMPY": "an array of NumPy; its name should end in .npy",
    b"Obj\x01": "an Avro file; save its records as Parquet",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"%PDF": "a PDF document",
}
"""First bytes -> what a file is."""
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f]")
_CHARACTERS = re.compile(rb"[\xc2-\xf4][\x80-\xbf]+")
_REPLACEMENT = "\ufffd"
_GOOD = 5
"""Characters beyond ASCII for each bad one in text that is UTF-8 but for some bytes."""
_CUT_OFF = "the file ends within a character, as one does that is cut off"


def decoded(path: Path, data: bytes, encoding: str, is_head: bool = False) -> tuple[bytes, list[str]]:
    """Return the text of a file as UTF-8, with a note if its encoding is a guess.

    Args:
        path: the file, for messages.
        data: its content.
        encoding: its name; ``auto``: to be found out.
        is_head: whether the content is cut off.

    Raises:
        DataError: it is no text, or not in this encoding.
    """
    notes = []
    for magic, what in _BINARY.items():
        if data.startswith(magic):
            raise DataError(f"{path}: not a text table, but {what}")
    is_guess = encoding == "auto"
    if is_guess:
        encoding = _encoding_of(data, is_head)
        if encoding in ("cp1252", "latin-1"):
            if (mended := _mostly_utf8(data)) is not None:
                return mended
            notes = [f"not UTF-8, read as {encoding}; encoding = ... reads it in another way"]
        elif encoding.startswith("utf-16") and len(data) % 2 and not is_head:
            data, notes = data[:-1], [_CUT_OFF]
    try:
        known = codecs.lookup(encoding).name
        if known in ("utf-8", "utf-8-sig"):
            data = data.removeprefix(codecs.BOM_UTF8)
            return (data, notes) if is_head or _is_encoded(data, "utf-8") else (data.decode("utf-8").encode(), notes)
        text = data.decode(encoding, "ignore" if is_head else "strict")
    except LookupError:
        raise DataError(
            f"{path}: encoding = {encoding!r}: no such encoding; expected one such as utf-8, cp1252"
        ) from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        advice = ", as its first bytes say" if is_guess else "; encoding = 'auto' finds out which it is"
        raise DataError(f"{path}: line {line} is not {encoding}{advice}") from None
    if notes and len(_CONTROL.findall(text[:HEAD])) > len(text[:HEAD]) // 100:
        raise DataError(f"{path}: not a text table; it begins with {data[:8].hex()}")
    return text.removeprefix("\ufeff").encode("utf-8"), notes


def _encoding_of(data: bytes, is_head: bool) -> str:
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) and len(data) % 4 == 0:
        return "utf-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = data[:4096].rstrip(b"\0")
    if len(sample) >= 4 and sample.count(0) > len(sample) // 4:
        encoding = "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
        if _is_encoded(data, encoding, is_head):
            return encoding
    if _is_encoded(data, "utf-8", is_head):
        return "utf-8"
    return "cp1252" if _is_encoded(data, "cp1252", is_head) else "latin-1"


def _is_encoded(data: bytes, encoding: str, is_head: bool = False) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    view = memoryview(data)
    try:
        for start in range(0, len(data), 1 << 24):
            decoder.decode(view[start : start + (1 << 24)])
        decoder.decode(b"", final=not is_head)
    except UnicodeDecodeError:
        return False
    return True


def _mostly_utf8(data: bytes) -> tuple[bytes, list[str]] | None:
    """Return text that is UTF-8 but for few bytes, such as the last ones of a file that is cut off, without them; and a line."""
    text = data.decode("utf-8", "replace")
    bad = text.count(_REPLACEMENT) - data.count(_REPLACEMENT.encode())
    if len(_CHARACTERS.findall(data)) < _GOOD * bad:
        return None
    if bad == 1 and text.endswith(_REPLACEMENT):
        return data.decode("utf-8", "ignore").encode(), [_CUT_OFF]
    first = data[: len(text[: text.index(_REPLACEMENT)].encode())].count(b"\n") + 1
    places = f"1 place, in line {first}, is" if bad == 1 else f"{bad:,} places, from line {first} on, are"
    return data.decode("utf-8", "ignore").encode(), [f"{places} not UTF-8 and left out"]
