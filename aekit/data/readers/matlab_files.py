"""Check MATLAB files before SciPy opens them: its reader, written in C, follows wrong sizes out of its memory."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from aekit.data.reading import read_all
from aekit.errors import DataError
from aekit.io.memory import check_memory

_COMPRESSED, _MATRIX = 15, 14
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
"""Type of an element -> bytes of one of its numbers or letters."""
_LETTERS = (1, 2, 3, 4, 16, 17, 18)
_CELL, _CHAR, _SPARSE, _NUMBERS = 1, 4, 5, range(6, 16)
"""Classes of variables that hold letters and numbers; others are structs, objects and functions."""
_COMPLEX, _MOST_AXES = 0x0800, 32


def matlab_variables(path: Path) -> list[str] | None:
    """Return the variables of a file of version 5 that hold numbers, text or cells of both; None for one of version 4.

    Raises:
        DataError: it is damaged, or would not fit in memory.
    """
    with path.open("rb") as file:
        head = file.read(128)
        if len(head) < 4 or 0 in head[:4]:
            return None  # each variable of version 4 has a header of fixed size, which SciPy reads in Python
        order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
        if order is None:
            raise DataError(f"{path}: not a readable MATLAB file (its header is damaged)")
        size, names, unpacked = path.stat().st_size, [], 0
        while (place := file.tell()) + 8 <= size:
            kind, length = struct.unpack(f"{order}II", file.read(8))
            if place + 8 + length > size:
                raise DataError(f"{path}: not a readable MATLAB file (an element ends beyond the file)")
            stream: IO[bytes] = file
            inner = length
            if kind == _COMPRESSED:
                content = read_all(_Inflated(file.read(length)), path)
                unpacked += len(content)
                check_memory(unpacked, f"{path}: its unpacked content")
                stream = io.BytesIO(content)
                kind, inner = struct.unpack(f"{order}II", _exactly(stream, 8))
                if inner > len(content) - 8:
                    raise DataError(f"{path}: not a readable MATLAB file (a packed element ends beyond its content)")
            if kind == _MATRIX and inner and (name := _Variable(stream, inner, order).name) is not None:
                names.append(name)
            file.seek(place + 8 + length)
        return names


class _Inflated:
    """A stream of unpacked bytes."""

    def __init__(self, content: bytes) -> None:
        self._inflate, self._content = zlib.decompressobj(), content

    def read(self, size: int) -> bytes:
        part = self._inflate.decompress(self._content, size)
        self._content = self._inflate.unconsumed_tail
        return part


class _Variable:
    """A variable, whose parts have to fit each other and what is left of the variable.

    Attributes:
        name: its name; None if it is of a class that is not read.

    Raises:
        DataError: they do not.
    """

    def __init__(self, stream: IO[bytes], size: int, order: str, is_cell: bool = False) -> None:
        self._stream, self._left, self._order = stream, size, order
        self.name: str | None = None
        flags = struct.unpack(f"{order}I", self._part((6,), 8)[:4])[0]
        kind = flags & 0xFF
        if kind not in (_CELL, _CHAR, _SPARSE, *_NUMBERS) or (is_cell and kind in (_CELL, _SPARSE)):
            return
        sides = self._part((5,))
        shape = struct.unpack(f"{order}{len(sides) // 4}i", sides)
        if not 2 <= len(shape) <= _MOST_AXES or min(shape) < 0:
            raise DataError(f"a variable of shape {shape}")
        name, count = self._part((1, 2, 16)).decode("latin-1"), math.prod(shape)
        if kind == _CELL:
            if count > self._left // 8 or not all(self._cells(count)):
                return
        elif kind == _SPARSE:
            rows, starts = (self._skip((5, 6)) for _ in range(2))
            values = max(self._skip(tuple(_WIDTHS)) for _ in range(2 if flags & _COMPLEX else 1))
            if starts != shape[1] + 1 or len(shape) != 2 or rows < values:
                raise DataError(f"a sparse variable of shape {shape} whose parts differ in length")
        else:
            for _ in range(2 if flags & _COMPLEX and kind != _CHAR else 1):
                parts = self._skip(_LETTERS if kind == _CHAR else tuple(_WIDTHS)) if self._left or count else 0
                if parts != count and (kind != _CHAR or parts < count):
                    raise DataError(f"a variable of shape {shape} with {parts:,} values")
        self.name = name

    def _cells(self, count: int) -> Iterator[bool]:
        for _ in range(count):
            kind, length, _ = self._tag()
            if kind != _MATRIX or length > self._left:
                raise DataError("a cell that is not a variable")
            if length:
                start = self._stream.tell()
                yield _Variable(self._stream, length, self._order, is_cell=True).name is not None
                self._stream.seek(start + length)
            self._left -= length

    def _tag(self) -> tuple[int, int, bytes]:
        """Read the kind and the size of a part; and its content, if that is in the tag."""
        raw = self._take(8)
        first, second = struct.unpack(f"{self._order}II", raw)
        if first >> 16:
            if first >> 16 > 4:
                raise DataError("a small part of more than 4 bytes")
            return first & 0xFFFF, first >> 16, raw[4:]
        return first, second, b""

    def _take(self, size: int) -> bytes:
        if size > self._left:
            raise DataError("a part that ends beyond its variable")
        self._left -= size
        return _exactly(self._stream, size)

    def _part(self, kinds: tuple[int, ...], size: int | None = None) -> bytes:
        """Read a part of one of some types, and its padding."""
        kind, length, content = self._tag()
        if kind not in kinds or length % _WIDTHS[kind] or (size is not None and length != size) or length > 4096:
            raise DataError(f"a part of type {kind} and {length:,} bytes")
        if not content and length:
            content = self._take(length)
            self._take(min(-length % 8, self._left))
        return content[:length]

    def _skip(self, kinds: tuple[int, ...]) -> int:
        """Skip a part of one of some types, and return how many numbers or letters it has."""
        kind, length, content = self._tag()
        if kind not in kinds or length % _WIDTHS[kind]:
            raise DataError(f"a part of type {kind} and {length:,} bytes")
        if not content:
            padded = min(length + -length % 8, self._left)
            if padded < length:
                raise DataError("a part that ends beyond its variable")
            self._left -= padded
            self._stream.seek(padded, io.SEEK_CUR)
        return length // _WIDTHS[kind]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise DataError("a part that ends beyond the file")
    return content
