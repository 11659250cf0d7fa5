"""Join names of columns that stand in two or three lines, as pandas writes columns of several levels and spreadsheets groups."""

from __future__ import annotations

from collections.abc import Sequence

from aekit.data.readers._number_spelling import looks_numeric

MOST_LINES = 3


def stack_names(
    above: Sequence[str] | None, cells: Sequence[str], below: Sequence[Sequence[str]]
) -> tuple[list[str], int, str]:
    """Return names that do not repeat, if a line above or lines below tell columns of one name apart.

    Args:
        above: cells of the line above the names, such as names of groups, of which empty ones go on with the one before; or None.
        cells: the names.
        below: cells of the following lines.

    Returns:
        the names, the number of lines below that belong to them, and a line about them, "" where the names stay as they are.
    """
    names = [cell.strip() for cell in cells]
    if below and _are_merged(names, below[0]):
        names = _filled(names)
    if not _repeat(names):
        return names, 0, ""
    stacked, taken = names, 0
    for row in below[: MOST_LINES - 1]:
        if len(row) != len(names) or not _are_words(row) or not (_repeat(stacked) or _names_index(row)):
            break
        stacked, taken = [f"{name} {cell.strip()}".strip() for name, cell in zip(stacked, row)], taken + 1
    if taken and not _repeat(stacked):
        return stacked, taken, f"names of columns: {taken + 1} lines together, e.g. {stacked[-1]!r}"
    if above is not None and len(above) == len(names) and _are_words(above):
        grouped = [f"{group} {name}".strip() for group, name in zip(_filled(above), names)]
        if not _repeat(grouped):
            return grouped, 0, f"names of columns: with the line above, e.g. {grouped[-1]!r}"
    return names, 0, ""


def _are_merged(names: Sequence[str], below: Sequence[str]) -> bool:
    """Return whether names span several columns, each of which has a name of its own in the line below."""
    gaps = [place for place, name in enumerate(names) if place and not name]
    return bool(gaps) and len(below) == len(names) and _are_words(below) and all(cell.strip() for cell in below[1:])


def _filled(cells: Sequence[str]) -> list[str]:
    """Return cells of which empty ones go on with the one before."""
    filled: list[str] = []
    for cell in cells:
        filled.append(cell.strip() or (filled[-1] if filled else ""))
    return filled


def _repeat(names: Sequence[str]) -> bool:
    known = [name for name in names if name]
    return len(set(known)) < len(known)


def _are_words(cells: Sequence[str]) -> bool:
    return any(cell.strip() for cell in cells) and not any(looks_numeric(cell.strip()) for cell in cells)


def _names_index(cells: Sequence[str]) -> bool:
    """Return whether a line holds nothing but the name of the index."""
    return bool(cells[0].strip()) and not any(cell.strip() for cell in cells[1:])
