"""Decide whether the first line of a text table holds the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from aekit.data.readers._cell_types import MISSING, PLACEHOLDERS
from aekit.data.readers._number_spelling import looks_numeric

COMPARED = 200
"""Most columns, the first and the last, in which the first line is compared with those below."""
_KNOWN_NAMES = frozenset(
    "class date file file_name filename id image index label labels name path split target time timestamp value".split()
)


_ORANGE_TYPES = frozenset(["c", "d", "s", "t", "continuous", "discrete", "string", "time", "basket"])
_ORANGE_ROLES = frozenset(["class", "c", "meta", "m", "ignore", "i", "weight", "w"])


def orange_roles(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """Return the role of each column, "" for a feature, where two lines below the names hold types and roles, as in Orange."""
    if len(rows) < 3:
        return None
    types, roles = ([cell.strip() for cell in row] for row in rows[:2])
    # A type may list the categories instead, and a role may have attributes such as width=3.
    declared = [cell for cell in types if cell in _ORANGE_TYPES]
    if not declared or not all(cell in _ORANGE_TYPES or " " in cell for cell in types):
        return None
    roles = [" ".join(word for word in cell.split() if "=" not in word) for cell in roles]
    return roles if all(not role or role in _ORANGE_ROLES for role in roles) else None


def has_header_line(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[bool, str]:
    """Decide whether the first line holds names, by comparing it with the lines below; with a note if that is not clear."""
    cells = [cell.strip() for cell in cells]
    if len(rows) and len(cells) < len(rows[0]):
        return True, ""
    said = "line 1 is read as the names of columns; header = false reads it as a row"
    names, values, weak = 0, 0, 0
    wide = len(cells) > COMPARED
    for number in (
        [*range(COMPARED // 2), *range(len(cells) - COMPARED // 2, len(cells))] if wide else range(len(cells))
    ):
        cell = cells[number]
        below = [row[number].strip() for row in rows[:100] if number < len(row)]
        below = [other for other in below if other not in MISSING and other not in PLACEHOLDERS]
        if cell in MISSING or cell in PLACEHOLDERS:
            continue
        is_number = looks_numeric(cell)
        numeric = sum(map(looks_numeric, below))
        if not below:
            weak += not is_number
            values += is_number
        elif numeric >= 0.8 * len(below):
            values, names = values + is_number, names + (not is_number)
        elif cell in below:
            values += 1
        elif cell.lower() in _KNOWN_NAMES:
            names += 2
        elif not is_number and _same_form(cell, below):
            values += 1
        else:
            weak += not is_number
    if _counts(cells, rows) or (names + weak and _is_progression(cells)) or _is_axis(cells, rows):
        return True, said
    if names and values:
        return names >= values, said if names >= values else ""
    return bool(names) or bool(weak and not values), ""


def _same_form(cell: str, below: Sequence[str]) -> bool:
    """Return whether a word is made like all of those below it, such as a date, ``A12`` or ``x/1.png``."""
    forms = {re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", other)) for other in [cell, *below]}
    return len(below) > 1 and len(forms) == 1 and not re.fullmatch(r"a(?:[ _-]a)*", forms.pop())


def _counts(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the cells are 0, 1, ..., the names that pandas gives to columns without names."""
    names = list(cells[1:] if cells and not cells[0] else cells)
    if len(names) < 2 or not rows:
        return False
    zero_based, one_based = ([str(number + start) for number in range(len(names))] for start in (0, 1))
    below = rows[0][-len(names) :]
    goes_on = (
        [str(int(name) + len(names)) for name in names] == list(below) if names in (zero_based, one_based) else False
    )
    if names == zero_based:
        return not goes_on and (len(names) > 2 or any("." in cell for cell in below))
    return names == one_based and len(names) > 4 and not goes_on


def _is_axis(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether all cells are an axis, evenly spaced numbers such as wavelengths, or years, and the rows below are none."""
    if len(cells) < 3 or len(rows) < 2 or not all(map(_PLAIN.fullmatch, cells)):
        return False
    numbers = [float(cell) for cell in cells]
    are_years = all(number == int(number) and 1800 <= number <= 2100 for number in numbers)
    rises = len(cells) >= _AXIS and all(before < after for before, after in pairwise(numbers))
    if not (_is_even(numbers) and (are_years or len(cells) >= _AXIS)) and not (are_years and rises):
        return False
    plain = [row for row in rows[:3] if all(map(_DECIMAL.fullmatch, map(str.strip, row)))]
    below = [[float(cell.replace(",", ".")) for cell in row] for row in plain]
    return len(below) > 1 and not any(map(_is_even, below)) and not any(1800 <= row[0] <= 2100 for row in below)


_AXIS = 5
"""Fewest evenly spaced numbers that are names rather than values."""
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?")
_DECIMAL = re.compile(r"-?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?")


def _is_even(numbers: Sequence[float]) -> bool:
    steps = [after - before for before, after in pairwise(numbers)]
    return steps[0] != 0 and max(steps) - min(steps) <= 1e-3 * abs(steps[0])


def _is_progression(cells: Sequence[str]) -> bool:
    """Return whether the numbers among the cells are whole and evenly spaced, as years are."""
    numbers = [cell for cell in cells if looks_numeric(cell)]
    if len(numbers) < 2 or not all(re.fullmatch(r"\d+", number) for number in numbers):
        return False
    if len(numbers) == 2 and not all(1800 <= int(number) <= 2100 for number in numbers):
        return False
    steps = {int(after) - int(before) for before, after in pairwise(numbers)}
    return len(steps) == 1 and steps != {0}
