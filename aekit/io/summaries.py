"""Show objects in a notebook as short HTML, and turn tables into data frames."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from aekit.errors import AekitError, importing
from aekit.io.text_table import format_cell

if TYPE_CHECKING:
    from PIL import Image

MAX_ROWS = 10
"""Rows of a table that a summary shows."""


def html_summary(
    title: str,
    lines: Sequence[str] = (),
    rows: Sequence[Mapping[str, Any]] = (),
    *,
    total: int | None = None,
    longest: int = MAX_ROWS,
    image: Image.Image | None = None,
) -> str:
    """Return HTML for ``_repr_html_``, with everything escaped.

    Args:
        title: first line, in bold.
        lines: further lines.
        rows: a table; only the first rows are shown.
        longest: how many rows are shown.
        total: number of rows in all, where `rows` is a part of them.
        image: an image below.
    """
    parts = [f"<strong>{escape(title)}</strong>", *(f"<div>{escape(line)}</div>" for line in lines)]
    if rows:
        shown = rows[:longest]
        names = list(dict.fromkeys(name for row in shown for name in row))
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(format_cell(row.get(name)))}</td>' for name in names)}</tr>" for row in shown
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        count = len(rows) if total is None else total
        if count > len(shown):
            parts.append(f"<div>{len(shown)} of {count:,} rows</div>")
    if image is not None:
        encoded = base64.b64encode(png_bytes(image)).decode()
        parts.append(f'<div><img alt="" style="max-width: 100%" src="data:image/png;base64,{encoded}"></div>')
    return f"<div>{''.join(parts)}</div>"


def png_bytes(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def data_frame(columns: Any) -> Any:
    """Return a `pandas.DataFrame` of columns by name, or of rows.

    Raises:
        AekitError: pandas is not installed.
    """
    with importing("to_pandas needs pandas", "pip install pandas", AekitError):
        import pandas as pd
    return pd.DataFrame(columns)
