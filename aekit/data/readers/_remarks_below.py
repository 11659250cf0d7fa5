"""Cut the remarks below a table, such as its source."""

from __future__ import annotations

import re

_BYTES = 1 << 14
"""Bytes at the end of a file in which remarks are looked for."""
_NAMED = re.compile(r"[*(\u00a9\u2020]|[^\W\d_]+(?: [^\W\d_]+)?:\s")
"""How a remark begins that needs no empty line above it: ``Source: ``, ``Last update: `` or the sign of a footnote."""
_SENTENCE = re.compile(r"[^\d+-]\S*\s+\S")
_QUOTED = re.compile(r'"([^"]*)"')


def cut_remarks(body: bytes, delimiter: str, width: int) -> tuple[bytes, list[str]]:
    """Return the rows of a table without the remarks at its end, and a line on them.

    Remarks are lines of several words in one cell, below an empty line or named as such: a last row that is cut off is none.

    Args:
        body: the rows, in UTF-8.
        delimiter: between cells; "" for blanks.
        width: number of columns.
    """
    lines = body[-_BYTES:].decode("utf-8", "ignore").splitlines(keepends=True)
    texts = [line.strip(f" \t\r\n{delimiter}") for line in lines]
    first = len(lines)
    for place in range(len(lines) - 1, 0, -1):
        if not texts[place]:
            continue
        quoted = _QUOTED.fullmatch(texts[place])
        texts[place] = quoted[1] if quoted else texts[place]
        cells = lines[place].count(delimiter) + 1 if delimiter else len(texts[place].split())
        is_named, is_row = bool(_NAMED.match(texts[place])), cells == width
        is_one_cell = bool(delimiter) and delimiter not in texts[place]
        is_cell = quoted or is_one_cell or ((is_named or not delimiter) and not is_row)
        if '"' in texts[place] or not is_cell or not _SENTENCE.match(texts[place]):
            break
        if is_named or not texts[place - 1]:
            first = place
    remarks = [text for text in texts[first:] if text]
    if not remarks or width < 2:
        return body, []
    while first > 1 and not texts[first - 1]:
        first -= 1
    shown, count = " ".join(remarks), "1 line" if len(remarks) == 1 else f"{len(remarks)} lines"
    below = len("".join(lines[first:]).encode())
    return body[:-below], [f"{count} below the table skipped: {shown[:60]}{'...' if len(shown) > 60 else ''}"]
