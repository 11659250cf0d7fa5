"""Quote cells of text tables as CSV does: others write apostrophes or a formula around them, or \\ before a quote inside."""

from __future__ import annotations

import re

_CELL = re.compile(rb"(?:^|(?<=[,;|\t\r\n]))([ \t]?)'((?:[^']|'')*)'(?=[ \t]?(?:[,;|\t\r\n]|$))")
_ESCAPED = re.compile(rb'(?<!\\)((?:\\\\)*)\\"')
_FORMULA = re.compile(rb'(?:^|(?<=[,;|\t\r\n]))=("[^"\r\n]*")(?=[,;|\t\r\n]|$)|"=""([^"\r\n]*)"""')
"""A cell that is a formula for a text, which keeps Excel from reading 007 as 7."""
_MOST = 0.9
"""Least share of the lines with such backslashes whose other quotes are pairs; cells with line breaks have some on each line."""
_LOOKED_AT = 200_000
"""Bytes at the start in which the quotes are looked for."""


def with_double_quotes(data: bytes) -> tuple[bytes, list[str]]:
    """Return the text of a table, in UTF-8, with double quotes around cells and two for one inside, and a line on the change."""
    head = data[:_LOOKED_AT]
    if b'\\"' in head and _is_escaped(head):
        return _ESCAPED.sub(rb'\1""', data), ["quotes inside cells are written with a backslash"]
    if b"'" not in head or b'"' in head:
        return data, []
    cells = [match[0].strip() for match in _CELL.finditer(head)]
    # An apostrophe elsewhere, as in O'Neil, is part of a name. The last cell of the part may be cut off.
    inside = sum(cell.count(b"'") for cell in cells)
    if len(cells) < 2 or head.count(b"'") - inside > (len(head) == _LOOKED_AT):
        return data, []
    return _CELL.sub(_requoted, data), ["cells are quoted by apostrophes"]


def without_formulas(data: bytes) -> tuple[bytes, list[str]]:
    """Return the text of a table in which cells such as ``="007"`` hold their text, and a line on the change."""
    if b'="' not in data:
        return data, []
    changed = _FORMULA.sub(lambda match: match[1] or b'"' + match[2] + b'"', data)
    return changed, ['cells such as ="007" are read as their text'] if changed != data else []


def _requoted(match: re.Match[bytes]) -> bytes:
    return match[1] + b'"' + match[2].replace(b"''", b"'").replace(b'"', b'""') + b'"'


def _is_escaped(head: bytes) -> bool:
    r"""Return whether backslashes stand before quotes inside cells, rather than at the ends of cells such as ``"C:\"``."""
    if not re.search(rb'\\"[^,;|\t\r\n]', head):
        return False
    lines = [line for line in head.splitlines() if b'\\"' in line]
    closed = sum(_ESCAPED.sub(rb"\1", line).count(b'"') % 2 == 0 for line in lines)
    return closed >= _MOST * len(lines)
