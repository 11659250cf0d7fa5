"""Write the numbers of text tables as Python does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers._cell_types import MISSING, NUMBER, PLACEHOLDERS, as_cells
from aekit.data.readers._label_names import LABEL_COLUMNS
from aekit.data.readers._number_affixes import APOSTROPHES, BLANKS, SIGNS, begins_as_number, without_affixes
from aekit.data.readers._other_digits import OTHER_ZEROS, with_ascii_digits
from aekit.data.readers._record_types import is_text as is_text_type
from aekit.io.arrow import arrow_numbers, arrow_words

MINUSES = "\u2212\u2013\u2010\u2011\ufe63\uff0d"
"""Signs that stand for a minus: typographic ones, and dashes that word processors make of it."""
_MINUS_SIGN = rf"(^|[eE{SIGNS}{BLANKS}])[{MINUSES}]([\d.,{SIGNS}])"
_FIRST = 100
"""Cells of a column of strings that decide whether the others are looked at."""
_BLANK = f"[{BLANKS}{APOSTROPHES}]"
_LAKH = r"[1-9]\d?(?:,\d{2})+,\d{3}"
_GROUPED_POINT = rf"^[+-]?(?:[1-9]\d{{0,2}}(?:(?:,|{_BLANK})\d{{3}})+|{_LAKH})(?:\.\d+)?$"
_DOTTED = rf"[1-9]\d{{0,2}}(?:(?:\.|{_BLANK})\d{{3}})+"
_COMMA = rf"^[+-]?(?:\d+|{_DOTTED})(?:,\d*)?(?:[eE][+-]?\d+)?$|^[+-]?,\d+$"
_SURELY_COMMA = rf"^[+-]?(?:0,\d+|\d+,(?:\d{{1,2}}|\d{{4,}})|\d{{4,}},\d+|{_DOTTED},\d+)(?:[eE].*)?$"
_SURELY_POINT = rf"^[+-]?\d{{1,3}}(?:,\d{{3}})+\.\d+$|^[+-]?\d{{1,3}}(?:,\d{{3}}){{2,}}$|^[+-]?{_LAKH}$"
_DECIMAL_POINT = r"^[+-]?(?:0?\.\d+|\d+\.(?:\d{1,2}|\d{4,})|\d{4,}\.\d+|0\d*\.\d+)(?:[eE].*)?$"
"""Numbers whose point separates decimals, and no thousands."""
_GROUPED_DOTS = r"^[+-]?[1-9]\d{0,2}(?:\.\d{3})+$"
_MAYBE_GROUPED_DOTS = r"^[+-]?(?:\d{1,3}|[1-9]\d{0,2}(?:\.\d{3})+)$"
_PLAIN = f"^{NUMBER}$"
_ADDRESS = r"^\d{1,3}(?:\.\d{1,3}){3}$"
"""Addresses of the internet, whose points separate no thousands."""
_FORTRAN = r"^([+-]?(?:\d+\.\d*|\.\d+))[dD]([+-]?\d{1,3})$|^([+-]?\d+)[dD]([+-]\d{1,3})$"
_MOST = 0.8
"""Least share of the values of a column that are numbers in a spelling."""
_LOOKED_AT = 1 << 20
"""Bytes of a file in which numbers of Fortran, and those with units, are looked for."""
_AFFIXED = re.compile(rb"[\d.,]\)|\d-[\t;,\"\r\n]|\d ?[A-DF-Za-df-z\xc2-\xf4]|[A-Za-z$]\.? ?\d")
"""What a file has where its numbers may be in parentheses or have a unit."""
_DIGIT = rf"[\d.,{APOSTROPHES}{BLANKS}]"
_NUMBERISH = re.compile(rf"[+-]?[{SIGNS}]?{_DIGIT}*\d{_DIGIT}*(?:[eEdD][+-]?\d+)?[{BLANKS}]?[{SIGNS}]?")

_GROUPS_OF_OTHERS = re.compile(r"\.(?!\d{3}\b)\d*\.|\.\d*\.(?!\d{3}\b)")
"""Two points that separate no thousands, as in ``1.2.1``, the second column of R and pandas that was named 1.2."""


def looks_numeric(cell: str) -> bool:
    """Return whether a cell is a number in some spelling, or a boolean."""
    is_number = _NUMBERISH.fullmatch(cell) and not _GROUPS_OF_OTHERS.search(cell)
    return bool(is_number) or cell.lower() in ("true", "false")


def respell_numbers(
    columns: list[Any], names: Sequence[str], body: bytes, delimiter: str, decimal: str
) -> tuple[list[Any], list[str]]:
    """Write numbers as Python does: with a decimal point, without separators of thousands, signs and units.

    A decimal comma is assumed where a number can be read in no other way, and then in the other columns of the file too.
    """
    columns, in_other_digits = with_ascii_digits(columns, names, body)
    lines = [f"digits of other scripts in {_quoted(in_other_digits)}"] if in_other_digits else []
    inner = APOSTROPHES + BLANKS + ("," if delimiter != "," or b'"' in body else "")
    has_fortran = re.search(rb"[\d.][dD][+-]?\d", body[:_LOOKED_AT]) is not None
    is_ascii = body.isascii()  # so that most signs need not be looked for
    has_minus_signs = not is_ascii and any(sign.encode() in body for sign in MINUSES)
    signs = [sign for sign in inner + SIGNS if sign.isascii() or not is_ascii]
    is_odd = any(sign.encode() in body for sign in signs) or _AFFIXED.search(body[:_LOOKED_AT])
    if decimal != "," and not has_fortran and not has_minus_signs and not is_odd:
        return columns, lines
    said: dict[str, list[str]] = {kind: [] for kind in _SAID}
    odd, plain = _find_odd(columns, names, said, has_fortran=has_fortran, has_minus_signs=has_minus_signs)
    # Beside numbers with decimal points, commas in few cells list numbers, as in "20,22".
    least = 0.5 if delimiter == "," and any(_any(_sample(columns[n]), _DECIMAL_POINT) for n in plain) else 0
    commas = {
        number
        for number, each in odd.items()
        if each.fraction >= least and each.share(_COMMA) >= _MOST and each.has_commas
    }
    points = {number for number, each in odd.items() if _any(each.values, _SURELY_POINT)} - commas
    has_commas = decimal == "," or (decimal == "auto" and bool(commas))
    likely = has_commas or (delimiter == ";" and not points and decimal == "auto")
    for number, each in odd.items():
        if decimal != "." and each.share(_COMMA) >= _MOST and (number in commas or (likely and number not in points)):
            if _any(each.values, ","):
                said["comma"].append(names[number])
            if _any(each.values, rf"\d(?:\.|{_BLANK})\d"):
                said["thousands"].append(names[number])
            columns[number] = _rewrite(each.column, _COMMA, rf"\.|{_BLANK}")
        elif each.share(_GROUPED_POINT) >= _MOST and _any(each.values, _GROUPED_POINT):
            said["thousands"].append(names[number])
            columns[number] = _rewrite(each.column, _GROUPED_POINT, f",|{_BLANK}")
    if has_commas and b"." in body:
        said["thousands"] += [names[number] for number in _without_dots(columns, plain)]
    return columns, [*lines, *(f"{text} {_quoted(said[kind])}" for kind, text in _SAID.items() if said[kind])]


def _find_odd(
    columns: list[Any], names: Sequence[str], said: dict[str, list[str]], *, has_fortran: bool, has_minus_signs: bool
) -> tuple[dict[int, _Odd], list[int]]:
    """Write signs, units and exponents as Python does, in `columns`, and tell what is left to write.

    Args:
        columns: the columns, which are changed.
        names: their names.
        said: kind of spelling -> names of columns, which are added.
        has_fortran: whether there are exponents of Fortran.
        has_minus_signs: whether there are other signs for a minus.

    Returns:
        the columns with numbers in another spelling, or with words, by their place, and the places of those with plain numbers.
    """
    odd: dict[int, _Odd] = {}
    plain: list[int] = []
    for number, column in enumerate(columns):
        if names[number].strip().lower() == "id":
            continue
        values = pc.filter(column, pc.invert(pc.is_in(column, arrow_words(*MISSING, *PLACEHOLDERS))))
        if _are_floats(values):
            plain.append(number)
            continue
        if has_minus_signs:
            column, values = (pc.replace_substring_regex(each, _MINUS_SIGN, r"\1-\2") for each in (column, values))
        is_label = names[number].strip().lower() in LABEL_COLUMNS  # whose classes keep their names
        column, values, kinds, unit = without_affixes(column, values, _sample(values), units=not is_label)
        for kind in kinds:
            said[kind].append(names[number] if kind != "unit" else f"{names[number]!r} ({unit})")
        strange = pc.filter(values, pc.invert(pc.match_substring_regex(values, _PLAIN)))
        if len(strange) and _share(_sample(strange), _ADDRESS) == 1:
            continue
        if has_fortran and len(strange) and _share(strange, _FORTRAN) == 1:
            said["fortran"].append(names[number])
            columns[number] = pc.replace_substring_regex(column, _FORTRAN, r"\1\3e\2\4")
            continue
        columns[number] = column
        has_points = _any(_sample(values), _DECIMAL_POINT)
        odd[number] = _Odd(column, _sample(strange), len(strange) / max(len(values), 1), has_points)
    return odd, plain


_SAID = {
    "comma": "decimal commas in",
    "thousands": "separators of thousands in",
    "fortran": "exponents of Fortran, as in 1.5D+03, in",
    "signs": "percent or currency signs are left out in",
    "mixed": "different signs, or some without one, and numbers that are not converted, in",
    "unit": "units are left out in",
    "negative": "numbers in parentheses or with a minus behind them are negative in",
}
"""Kind of spelling -> the line about it."""


def _without_dots(columns: list[Any], plain: Sequence[int]) -> list[int]:
    """Take the points that separate thousands out of columns, if no number of these has decimals, and return which changed."""
    known = {n: pc.filter(columns[n], pc.invert(pc.is_in(columns[n], arrow_words(*MISSING)))) for n in plain}
    if any(_any(_sample(values), _DECIMAL_POINT) for values in known.values()):
        return []
    dotted = [
        n for n, values in known.items() if _any(values, _GROUPED_DOTS) and _share(values, _MAYBE_GROUPED_DOTS) == 1
    ]
    for number in dotted:
        columns[number] = pc.replace_substring(columns[number], ".", "")
    return dotted


def mark_number_texts(table: pa.Table) -> tuple[pa.Table, list[str], list[str]]:
    """Mark columns of strings that hold numbers alone as text of a file, so that they are what they are in a CSV file.

    Programs that write JSON, Parquet and DataFrames leave numbers as strings where they read them as such.

    Returns:
        the table, the names of these columns, and lines about how their numbers are written.
    """
    names = [field.name for field in table.schema if is_text_type(field.type)]
    names = [name for name in names if _begins_with_numbers(table[name])]
    columns = [table[name].cast(pa.string()) for name in names]
    columns, lines = respell_numbers(
        columns, names, (SIGNS + MINUSES + BLANKS + OTHER_ZEROS + "'\",.").encode(), ",", "auto"
    )
    numeric = []
    for name, column in zip(names, columns):
        known = _known(column)
        if _are_floats(known) and _any(known, r"\d"):
            numeric.append(name)
            table = table.set_column(table.column_names.index(name), name, as_cells(column))
    return table, numeric, lines


def _begins_with_numbers(column: Any) -> bool:
    return all(map(begins_as_number, _known(column[:_FIRST].cast(pa.string())).to_pylist()))


def _known(column: Any) -> Any:
    return pc.filter(column, pc.invert(pc.is_in(column, arrow_words(*MISSING)))).drop_null()


class _Odd(NamedTuple):
    """A column whose values are not all numbers as Python writes them.

    Attributes:
        column: all of it.
        values: some of the values that are not.
        fraction: the fraction of all values that are not.
        has_points: whether some of the others have decimals behind a point.
    """

    column: Any
    values: Any
    fraction: float
    has_points: bool

    @property
    def has_commas(self) -> bool:
        """Whether its numbers have decimals behind a comma."""
        return not self.has_points and _any(self.values, _SURELY_COMMA)

    def share(self, pattern: str) -> float:
        """Return the share of values that are numbers if those that match a pattern are."""
        return 1 - self.fraction + self.fraction * _share(self.values, pattern)


def _sample(values: Any, most: int = 5000) -> Any:
    return values.take(arrow_numbers(np.arange(0, len(values), len(values) // most))) if len(values) > most else values


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
    return ", ".join(name if name.startswith("'") else repr(name) for name in names)
