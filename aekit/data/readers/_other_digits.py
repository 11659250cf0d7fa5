"""Write numbers in digits of other scripts, such as full-width and Arabic ones, as Python does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers._cell_types import MISSING, NUMBER, PLACEHOLDERS
from aekit.data.readers._label_names import LABEL_COLUMNS
from aekit.io.arrow import arrow_words

OTHER_ZEROS = "\uff10\u0660\u06f0\u0966\u09e6\u0e50"
"""The digit 0: full-width, Arabic, Persian, Devanagari, Bengali and Thai."""
_SIGNS = {"\u066b": ".", "\uff0e": ".", "\u066c": "", "\uff0c": "", "\uff0d": "-", "\u2212": "-", "\uff0b": "+"}
"""Decimal points, separators of thousands, and signs that are written beside such digits."""
_TO_ASCII = str.maketrans({chr(ord(zero) + digit): str(digit) for zero in OTHER_ZEROS for digit in range(10)} | _SIGNS)
_DIGITS = re.compile("|".join(f"[{zero}-{chr(ord(zero) + 9)}]" for zero in OTHER_ZEROS))
_FIRST_BYTES = tuple({zero.encode()[:2] if len(zero.encode()) > 2 else zero.encode()[:1] for zero in OTHER_ZEROS})


def with_ascii_digits(columns: Sequence[Any], names: Sequence[str], body: bytes) -> tuple[list[Any], list[str]]:
    """Return columns of strings in which those that hold nothing but numbers in digits of other scripts have ASCII ones.

    Args:
        columns: the columns; ids and labels stay as they are written.
        names: their names.
        body: the text that they are from, in UTF-8.

    Returns:
        the columns, and the names of those that are changed.
    """
    changed: list[str] = []
    if body.isascii() or not any(first in body for first in _FIRST_BYTES):
        return list(columns), changed
    result = list(columns)
    for place, (name, column) in enumerate(zip(names, columns)):
        if name.strip().lower() in ("id", *LABEL_COLUMNS):
            continue
        known = pc.filter(column, pc.invert(pc.is_in(column, arrow_words(*MISSING, *PLACEHOLDERS))))
        if not len(known) or not pc.any(pc.match_substring_regex(known, _DIGITS.pattern)).as_py():
            continue
        written = pa.chunked_array([[cell.translate(_TO_ASCII) for cell in known.to_pylist()]], pa.string())
        if pc.all(pc.match_substring_regex(written, f"^{NUMBER}$")).as_py():
            cells = [None if cell is None else cell.translate(_TO_ASCII) for cell in column.to_pylist()]
            result[place] = pa.chunked_array([cells], pa.string())
            changed.append(name)
    return result, changed
