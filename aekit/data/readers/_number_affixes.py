"""Take off what is written around numbers: percent and currency signs, units, and the parentheses or minus of negative ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow.compute as pc

from aekit.data.readers._cell_types import STRAY_SHARE

BLANKS = " \u00a0\u2009\u202f"
APOSTROPHES = "'\u2019"
SIGNS = "%$€£¥₹₽₩₺₪"
_DIGITS = rf"[\d.,{APOSTROPHES}{BLANKS}]*\d"
_SIGN = f"[{SIGNS}]"
_SIGNED = rf"^([+-]?){_SIGN}?[{BLANKS}]?([+-]?{_DIGITS})[{BLANKS}]?{_SIGN}?$"
_PARENTHESES = rf"^\(({_SIGN}?[{BLANKS}]?{_DIGITS}[{BLANKS}]?{_SIGN}?)\)$"
_MINUS_BEHIND = rf"^({_DIGITS})-$"
_CODES = "USD EUR GBP CHF JPY CNY INR AUD CAD NZD SEK NOK DKK PLN CZK HUF BRL ZAR KRW RUB TRY MXN SGD HKD Rs Rs. R$ US$ kr zł Kč"
_CODE = "|".join(map(re.escape, _CODES.split()))
_WITH_CODE = rf"^([+-]?)(?:{_CODE})[{BLANKS}]?([+-]?{_DIGITS})$"
# Letters, °C, km/h or m/s²; a digit in it would rather be part of a name.
_UNIT = re.compile(
    rf"([+-]?{_DIGITS})[{BLANKS}]?((?:[^\W\d_]|[°µ‰])[^\W\d_²³]{{0,5}}[²³]?(?:/[^\W\d_²³]{{1,4}}[²³]?)?)"
)
_ZEROS = r"^0\d"
_BEGINS = re.compile(rf"\(?[+-]?(?:{_CODE}|{_SIGN})?[{BLANKS}]?[+-]?[.,]?\d|(?i:true|false|[+-]?inf)")


class Bare(NamedTuple):
    """Numbers without what was around them.

    Attributes:
        column: all cells; those that are no such numbers as they were.
        values: the cells that are not missing.
        kinds: what was taken off: ``negative``, ``signs`` or ``unit``; ``mixed``: signs that differ.
        unit: the unit, or "".
    """

    column: Any
    values: Any
    kinds: tuple[str, ...] = ()
    unit: str = ""


def without_affixes(column: Any, values: Any, sample: Any, units: bool = True) -> Bare:
    """Return a column of strings without signs, units and parentheses, if nearly all of its values are such numbers.

    Args:
        column: the cells.
        values: those that are not missing.
        sample: some of the values.
        units: whether units are taken off.
    """
    bare = Bare(column, values)
    for pattern in (_PARENTHESES, _MINUS_BEHIND):
        share = _share(sample, pattern)
        if 0 < share < 1 and _are_nearly_all(sample, f"{pattern}|{_SIGNED}"):
            bare = _replaced(bare, pattern, r"-\1", "negative")
            sample = pc.replace_substring_regex(sample, pattern, r"-\1")
    if _are_nearly_all(sample, _SIGNED) and bool(pc.any(pc.match_substring_regex(sample, _SIGN)).as_py()):
        signed = _replaced(bare, _SIGNED, r"\1\2", "signs")
        return signed._replace(kinds=(*signed.kinds, "mixed")) if _are_mixed(sample) else signed
    if _are_nearly_all(sample, _WITH_CODE):
        return _replaced(bare, _WITH_CODE, r"\1\2", "signs")
    unit = _unit_of(sample.slice(0, 20).drop_null().to_pylist()) if units else ""
    pattern = rf"^([+-]?{_DIGITS})[{BLANKS}]?{re.escape(unit)}$"
    # Names such as 007a and 12b are no numbers with a unit.
    if (
        not unit
        or not _are_nearly_all(sample, pattern)
        or bool(pc.any(pc.match_substring_regex(sample, _ZEROS)).as_py())
    ):
        return bare
    return _replaced(bare, pattern, r"\1", "unit")._replace(unit=unit)


def begins_as_number(cell: str) -> bool:
    """Return whether a cell may be a number, with a unit or a sign perhaps, or a boolean."""
    return bool(_BEGINS.match(cell))


def _are_mixed(sample: Any) -> bool:
    """Return whether numbers are in two currencies, or only some of them in percent."""
    shares = [share for sign in SIGNS if (share := float(pc.mean(pc.match_substring(sample, sign)).as_py() or 0.0))]
    with_percent = float(pc.mean(pc.match_substring(sample, "%")).as_py() or 0.0)
    return len(shares) > 1 or 0 < with_percent < 1 - STRAY_SHARE


def _unit_of(cells: Sequence[str]) -> str:
    """Return the unit behind the first number, or "" if there is none."""
    return next((match[2] for match in map(_UNIT.fullmatch, cells) if match), "")


def _replaced(bare: Bare, pattern: str, by: str, kind: str) -> Bare:
    column, values = (pc.replace_substring_regex(each, pattern, by) for each in (bare.column, bare.values))
    return Bare(column, values, (*bare.kinds, kind))


def _are_nearly_all(values: Any, pattern: str) -> bool:
    """Return whether so many values match that the others are strays among numbers."""
    matching = _share(values, pattern) * len(values)
    return 0 < matching >= len(values) - max(1, STRAY_SHARE * len(values)) - 1e-6


def _share(values: Any, pattern: str) -> float:
    return float(pc.mean(pc.match_substring_regex(values, pattern)).as_py() or 0.0)
