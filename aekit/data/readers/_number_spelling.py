"""Write the numbers of text tables as Python does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers._cell_types import MISSING, NUMBER, PLACEHOLDERS, as_cells
from aekit.data.readers._record_types import is_text as is_text_type

MINUS = "\u2212"
_FIRST = 100
"""Cells of a column of strings that decide whether the others are looked at."""
_BLANKS = " \u00a0\u2009\u202f"
_BLANK = f"[{_BLANKS}']"
_SIGNS = "%$€£¥"
_GROUPED_POINT = rf"^[+-]?\d{{1,3}}(?:(?:,|{_BLANK})\d{{3}})+(?:\.\d+)?$"
_COMMA = rf"^[+-]?(?:\d+|\d{{1,3}}(?:(?:\.|{_BLANK})\d{{3}})+)(?:,\d*)?(?:[eE][+-]?\d+)?$|^[+-]?,\d+$"
_SURELY_COMMA = (
    rf"^[+-]?(?:0,\d+|\d+,(?:\d{{1,2}}|\d{{4,}})|\d{{4,}},\d+|\d{{1,3}}(?:(?:\.|{_BLANK})\d{{3}})+,\d+)(?:[eE].*)?$"
)
_SURELY_POINT = r"^[+-]?\d{1,3}(?:,\d{3})+\.\d+$|^[+-]?\d{1,3}(?:,\d{3}){2,}$"
_GROUPED_DOTS = r"^[+-]?\d{1,3}(?:\.\d{3})+$"
_PLAIN = f"^{NUMBER}$"
_FORTRAN = r"^([+-]?(?:\d+\.\d*|\.\d+))[dD]([+-]?\d{1,3})$|^([+-]?\d+)[dD]([+-]\d{1,3})$"
_LOOKED_AT = 1 << 20
"""Bytes of a file in which numbers of Fortran are looked for."""
_SIGNED = rf"^([+-]?)[$€£¥]?[{_BLANKS}]?([+-]?[\d.,'{_BLANKS}]*\d)[{_BLANKS}]?[{_SIGNS}]?$"
_NUMBERISH = re.compile(rf"[+-]?[$€£¥]?[\d.,'{_BLANKS}]*\d[\d.,'{_BLANKS}]*(?:[eEdD][+-]?\d+)?[{_BLANKS}]?[{_SIGNS}]?")


def looks_numeric(cell: str) -> bool:
    """Return whether a cell is a number in some spelling, or a boolean."""
    return bool(_NUMBERISH.fullmatch(cell)) or cell.lower() in ("true", "false")


def respell_numbers(
    columns: list[Any], names: Sequence[str], body: bytes, delimiter: str, decimal: str
) -> tuple[list[Any], list[str]]:
    """Write numbers as Python does: with a decimal point, without separators of thousands, percent and currency signs.

    A decimal comma is assumed where a number can be read in no other way, and then in the other columns of the file too.
    """
    inner = f"'{_BLANKS}" + ("," if delimiter != "," or b'"' in body else "")
    has_fortran = re.search(rb"[\d.][dD][+-]?\d", body[:_LOOKED_AT]) is not None
    if decimal != "," and not has_fortran and not any(sign.encode() in body for sign in inner + _SIGNS + MINUS):
        return columns, []
    has_signs = any(sign.encode() in body for sign in _SIGNS)
    odd: dict[int, _Odd] = {}
    plain: list[int] = []
    said: dict[str, list[str]] = {"comma": [], "thousands": [], "signs": [], "fortran": []}
    for number, column in enumerate(columns):
        if names[number].strip().lower() == "id":
            continue
        values = pc.filter(column, pc.invert(pc.is_in(column, pa.array([*MISSING, *PLACEHOLDERS]))))
        if _are_floats(values):
            plain.append(number)
            continue
        if MINUS.encode() in body:
            column = pc.replace_substring(column, MINUS, "-")
            values = pc.replace_substring(values, MINUS, "-")
        if has_signs and _share(_sample(values), _SIGNED) == 1 and _any(_sample(values), f"[{_SIGNS}]"):
            said["signs"].append(names[number])
            column, values = (pc.replace_substring_regex(each, _SIGNED, r"\1\2") for each in (column, values))
        strange = pc.filter(values, pc.invert(pc.match_substring_regex(values, _PLAIN)))
        if has_fortran and len(strange) and _share(strange, _FORTRAN) == 1:
            said["fortran"].append(names[number])
            columns[number] = pc.replace_substring_regex(column, _FORTRAN, r"\1\3e\2\4")
            continue
        columns[number] = column
        odd[number] = _Odd(column, _sample(strange), len(strange) / max(len(values), 1))
    commas = {number for number, each in odd.items() if each.share(_COMMA) >= 0.8 and _any(each.values, _SURELY_COMMA)}
    points = {number for number, each in odd.items() if _any(each.values, _SURELY_POINT)} - commas
    has_commas = decimal == "," or (decimal == "auto" and bool(commas))
    likely = has_commas or (delimiter == ";" and not points and decimal == "auto")
    for number, each in odd.items():
        if decimal != "." and each.share(_COMMA) >= 0.8 and (number in commas or (likely and number not in points)):
            if _any(each.values, ","):
                said["comma"].append(names[number])
            if _any(each.values, rf"\d(?:\.|{_BLANK})\d"):
                said["thousands"].append(names[number])
            columns[number] = _rewrite(each.column, _COMMA, rf"\.|{_BLANK}")
        elif each.share(_GROUPED_POINT) >= 0.8 and _any(each.values, _GROUPED_POINT):
            said["thousands"].append(names[number])
            columns[number] = _rewrite(each.column, _GROUPED_POINT, f",|{_BLANK}")
    for number in plain if has_commas and b"." in body else ():
        values = pc.filter(columns[number], pc.invert(pc.is_in(columns[number], pa.array(MISSING))))
        if _any(values, _GROUPED_DOTS) and _share(values, r"^[+-]?\d{1,3}(?:\.\d{3})*$") == 1:
            said["thousands"].append(names[number])
            columns[number] = pc.replace_substring(columns[number], ".", "")
    notes = [f"decimal commas in {_quoted(said['comma'])}"] if said["comma"] else []
    notes += [f"separators of thousands in {_quoted(said['thousands'])}"] if said["thousands"] else []
    notes += [f"exponents of Fortran, as in 1.5D+03, in {_quoted(said['fortran'])}"] if said["fortran"] else []
    notes += [f"percent or currency signs are left out in {_quoted(said['signs'])}"] if said["signs"] else []
    return columns, notes


def mark_number_texts(table: pa.Table) -> tuple[pa.Table, list[str], list[str]]:
    """Mark columns of strings that hold numbers alone as text of a file, so that they are what they are in a CSV file.

    Programs that write JSON, Parquet and DataFrames leave numbers as strings where they read them as such.

    Returns:
        the table, the names of these columns, and lines about how their numbers are written.
    """
    names = [field.name for field in table.schema if is_text_type(field.type)]
    names = [name for name in names if _begins_with_numbers(table[name])]
    columns = [table[name].cast(pa.string()) for name in names]
    columns, lines = respell_numbers(columns, names, (_SIGNS + MINUS + _BLANKS + "'\",.").encode(), ",", "auto")
    numeric = []
    for name, column in zip(names, columns):
        known = _known(column)
        if _are_floats(known) and _any(known, r"\d"):
            numeric.append(name)
            table = table.set_column(table.column_names.index(name), name, as_cells(column))
    return table, numeric, lines


def _begins_with_numbers(column: Any) -> bool:
    return all(map(looks_numeric, _known(column[:_FIRST].cast(pa.string())).to_pylist()))


def _known(column: Any) -> Any:
    return pc.filter(column, pc.invert(pc.is_in(column, pa.array(MISSING)))).drop_null()


class _Odd(NamedTuple):
    """A column whose values are not all numbers as Python writes them.

    Attributes:
        column: all of it.
        values: some of the values that are not.
        fraction: the fraction of all values that are not.
    """

    column: Any
    values: Any
    fraction: float

    def share(self, pattern: str) -> float:
        """Return the share of values that are numbers if those that match a pattern are."""
        return 1 - self.fraction + self.fraction * _share(self.values, pattern)


def _sample(values: Any, most: int = 5000) -> Any:
    return values.take(pa.array(range(0, len(values), len(values) // most))) if len(values) > most else values


def _are_floats(values: Any) -> bool:
    try:
        values.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _rewrite(column: Any, pattern: str, separators: str) -> Any:
    numbers = pc.replace_substring(pc.replace_substring_regex(column, separators, ""), ",", ".")
    return pc.if_else(pc.match_substring_regex(column, pattern), numbers, column)


def _share(values: Any, pattern: str) -> float:
    """Return the share of values that match a whole pattern."""
    whole = pattern if pattern.startswith("^") else f"^(?:{pattern})$"
    return float(pc.mean(pc.match_substring_regex(values, whole)).as_py() or 0.0)


def _any(values: Any, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(values, pattern)).as_py())


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
