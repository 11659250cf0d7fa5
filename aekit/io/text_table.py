"""Format tables as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aekit.errors import terminal_text


def format_columns(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows as lines of aligned columns; a missing value is left empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[format_cell(name) for name in names], *([format_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(names))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def format_names(names: Iterable[str]) -> str:
    """Format names from data as a list in one line."""
    return ", ".join(map(format_cell, names))


def format_cell(value: Any) -> str:
    """Format a value of a table, in one line; None is empty."""
    if isinstance(value, float):
        return format_number(value)
    return "" if value is None else terminal_text(str(value), keep="")


def format_number(value: float) -> str:
    """Format a number of a table with about four digits: 0.0123, 1.234, 12.3."""
    if abs(value) < 0.1:
        return f"{value:.4g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
