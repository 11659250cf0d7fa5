"""Read files that may be damaged or hostile: whatever a library raises about one becomes one line, in one place."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aekit.errors import AekitError, DataError, first_line, print_traceback
from aekit.io.memory import read_limit, too_large
from aekit.io.special_files import special_kind

_CHUNK = 2**22
RELEASED_FROM = 2**28
"""Bytes of mapped files whose memory is given back after each batch."""


@contextmanager
def reading(path: str | Path, complaint: str = "damaged") -> Iterator[None]:
    """Turn what the code inside raises about a file into a `DataError` of one line; errors of aekit pass.

    Args:
        path: the file or folder that is read.
        complaint: what is said of it in front of the library's own words, such as ``not a readable table``.

    Raises:
        DataError: the file cannot be read; or it is a pipe, a socket or a device, which would block.

    Examples:
        >>> with reading("broken.csv", "not a readable table"):
        ...     raise ValueError("row 3 has 2 cells")
        Traceback (most recent call last):
        aekit.errors.DataError: broken.csv: not a readable table (row 3 has 2 cells)
    """
    refuse_special(path)
    try:
        yield
    except AekitError:
        raise
    except BaseException as error:  # a damaged file can make a library raise anything
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # what code in Rust raises
            raise
        print_traceback(error)
        raise DataError(f"{path}: {reason_of(error, complaint)}") from None


def reason_of(error: BaseException, complaint: str = "damaged") -> str:
    """Say in a line why a file cannot be read."""
    if isinstance(error, OSError) and error.errno and error.strerror and os.strerror(error.errno) == error.strerror:
        return f"cannot be read ({error.strerror})"
    if isinstance(error, MemoryError):
        return f"does not fit in memory ({first_line(error)}), or says so although it is {complaint}"
    return f"{complaint} ({first_line(error)})"


def refuse_special(path: str | Path) -> None:
    """Refuse pipes, sockets and devices: reading them may never end.

    Raises:
        DataError: it is one.
    """
    if kind := special_kind(path):
        raise DataError(f"{path}: is {kind}; expected a file: save its content to one first")


def refuse_stand_in(path: str | Path) -> None:
    """Refuse a file that stands in for the data: a pointer of Git LFS, or the page or message of a server.

    Raises:
        DataError: it is one.
    """
    if not os.path.isfile(path) or os.path.splitext(path)[1].lower() in _MARKUP:
        return
    if what := what_stands_in(Path(path)):
        is_sheet = os.fspath(path).lower().endswith((".xls", ".xlsx")) and what in (_PAGE, _XML)
        raise DataError(f"{path}: {_MARKED_UP_SHEET if is_sheet else what}")


def what_stands_in(content: Path | bytes) -> str:
    """Return what a file, or the content of one, is by its first bytes that was saved in place of the data, or ""."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            content = file.read(_FIRST_BYTES)
    text = content[:_FIRST_BYTES].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return next((what for start, what in _STAND_INS.items() if text.startswith(start)), "")


_FIRST_BYTES = 512
_MARKUP = (".html", ".htm", ".xml", ".svg", ".xhtml", ".kml", ".gpx")
_PAGE = "a web page, such as that of a failed download, in place of the data"
_XML = "XML, such as the message of a server, in place of the data"
_MARKED_UP_SHEET = (
    "HTML or XML under the name of a workbook; if a spreadsheet program opens it, save it from there as .xlsx"
)
_STAND_INS = {
    b"version https://git-lfs": "a pointer of Git LFS in place of the data; git lfs pull fetches it",
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
    b"<?xml": _XML,
}
"""How files begin that stand in for data, in lower case -> what they are."""


def hash_content(content: Path | bytes) -> str:
    """Hash an encoded sample for its fingerprint: the bytes of a file, or those in memory.

    Returns:
        BLAKE2b of 16 bytes in hexadecimal; ``unreadable`` for a file that is missing or may not be read, and for pipes, sockets
        and devices, whose reading may never end.
    """
    if isinstance(content, bytes):
        return _new_hash(content).hexdigest()
    if special_kind(content):
        return "unreadable"
    try:
        with content.open("rb") as file:
            return hashlib.file_digest(file, _new_hash).hexdigest()
    except (OSError, ValueError):  # gone, or a name with a null
        return "unreadable"


def _new_hash(content: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=16)


class ByteStream(Protocol):
    """Something that bytes are read from, such as an open file."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""


def read_all(stream: ByteStream, path: str | Path, size: int | None = None, *, copies: int = 1) -> bytes:
    """Read what a stream unpacks, a piece at a time.

    Args:
        stream: of the unpacked bytes.
        path: where they come from, for messages.
        size: most bytes to read; None: all.
        copies: how many times the bytes are in memory once they are converted.

    Raises:
        DataError: they take more memory than `aekit.io.memory.read_limit`.
    """
    limit, parts, total = read_limit(), list[bytes](), 0
    while size is None or total < size:
        part = stream.read(_CHUNK if size is None else min(_CHUNK, size - total))
        if not part:
            break
        total += len(part)
        if total * copies > limit:
            raise too_large(f"{path}: its unpacked content", limit)
        parts.append(part)
    return b"".join(parts)


class FileSize:
    """The size of a file that is mapped into memory: where it shrinks, touching the rest of it would end the process.

    Args:
        path: the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.size = path, os.stat(path).st_size

    def check(self) -> None:
        """Refuse a file that has shrunk.

        Raises:
            DataError: it has.
        """
        _check_size(self.path, self.size)


def check_mapped(array: np.ndarray) -> None:
    """Refuse an array (N, ...) of a mapped file that has shrunk since, before it is touched.

    Raises:
        DataError: it has.
    """
    mapped, buffer = _mapping(array)
    if mapped is not None and buffer is not None and mapped.filename is not None:
        _check_size(mapped.filename, mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY + len(buffer))


def release_mapped(array: np.ndarray) -> None:
    """Give back the memory of an array (N, ...) of a large file that is mapped to be read; its pages are mapped again on touch.

    So reading all of it, a batch at a time, takes the memory of a batch.
    """
    mapped, buffer = _mapping(array)
    # In another mode than "r", pages may hold changes that are not in the file.
    if buffer is not None and mapped.mode == "r" and len(buffer) >= RELEASED_FROM and hasattr(mmap, "MADV_DONTNEED"):
        buffer.madvise(mmap.MADV_DONTNEED)


def _mapping(array: np.ndarray) -> tuple[Any, Any]:
    """Return the mapped array that an array is a part of, and its buffer; None where there is none."""
    mapped: Any = array
    while mapped is not None and not isinstance(mapped, np.memmap):
        mapped = getattr(mapped, "base", None)
    return mapped, getattr(mapped, "_mmap", None)


def _check_size(path: str | Path, size: int) -> None:
    try:
        now = os.stat(path).st_size
    except FileNotFoundError:  # its content stays where it is until nobody maps it
        return
    if now < size:
        raise DataError(f"{path}: has shrunk from {size:,} to {now:,} bytes while it was read; open it again")
