"""Read tables that are drawn with lines, as Markdown has them and the consoles of MySQL and PostgreSQL print them."""

from __future__ import annotations

import re

_RULE = re.compile(rb"[ \t]*[|+]?(?:[ \t]*:?-{2,}:?[ \t]*[|+])+(?:[ \t]*:?-{2,}:?)?[ \t]*\r?")
_HEAD = 1 << 16
"""Bytes in which the first lines of a table end."""
_ROWS = re.compile(rb"(?m)^[ \t]*(?:\(\d+ rows?\)|\d+ rows? in set.*?)[ \t]*\r?(?:\n|\Z)")
_BORDERS = re.compile(rb"(?m)^[ \t]*\|[ \t]*|[ \t]*\|[ \t]*(?=\r?$)")


def without_rules(data: bytes) -> tuple[bytes, list[str]]:
    """Return the rows of a drawn table with ``|`` between cells, and a line that says so; other text as it is."""
    if b"--" not in data[:_HEAD]:
        return data, []
    first = [line for line in data[:_HEAD].split(b"\n")[:10] if line.strip()][:2]
    if not any(map(_RULE.fullmatch, first)) or len(first) < 2 or b"|" not in b"".join(first):
        return data, []
    lines = [line for line in _ROWS.sub(b"", data).split(b"\n") if not _RULE.fullmatch(line)]
    rows = b"\n".join(lines)
    if rows.lstrip().startswith(b"|"):
        rows = _BORDERS.sub(b"", rows)
    return rows, ["lines drawn around the cells, as Markdown and consoles of databases have them, are left out"]
