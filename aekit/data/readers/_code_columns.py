"""Tell codes and dates from measurements among whole numbers: ZIP codes, telephone numbers, 20240131, ids that repeat."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers._cell_types import MISSING, CellText, as_written
from aekit.data.readers._column_roles import ID_NAME
from aekit.io.arrow import arrow_values, arrow_words

_CODE_WORDS = frozenset(
    (
        *"zip zipcode postcode postalcode postal plz cep pincode fips geoid naics sic".split(),
        *"phone telephone phonenumber phoneno tel mobile cellphone fax imei imsi iban".split(),
        *"ssn isbn issn ean upc gtin sku barcode accountnumber accountno account".split(),
        *"ordernumber orderno invoicenumber invoiceno invoice serialnumber serialno serial mrn".split(),
        *"cardnumber customernumber customerno code codes".split(),
    )
)
"""Last word, or last two words together, of the names of columns of codes."""
_TIME_NAME = re.compile(
    r"(?i)(.*[\W_])?(date|day|datum|fecha|time|timestamp|datetime|epoch|datenum|created|updated|modified|ts)([\W_]?at)?"
)
_SMALLEST_CODE = 100
"""Largest number below which a column with the name of a code holds a flag or a count."""
_MIN_ROWS, _WIDE, _LONG = 20, 5, 9
"""Rows, and digits from which numbers of one width, or of any, may be codes."""
_SPREAD = 4.0
"""Ratio of the largest to the smallest number from which measurements would not be of one width."""
_FIRST_DAY = 20_000
"""Least number that may be a time, by the name of its column: Excel's day 20000 was in 1954."""
_EPOCH = (946_684_800, 2_051_222_400)
"""The years 2000 and 2035 in seconds since 1970."""
_PADDED = r"^\+?0\d"


class Codes(NamedTuple):
    """Columns of whole numbers that are no measurements, each with an example as it is written.

    Attributes:
        texts: with leading zeros, or a plus before each number: codes.
        padded: with leading zeros too, but all columns have them, so that this is the form of their numbers.
        dates: dates and times such as 20240131.
        doubtful: they may be codes, ids or times, by their names or digits.
    """

    texts: dict[str, str]
    padded: dict[str, str]
    dates: dict[str, str]
    doubtful: dict[str, str]

    def lines(self, chosen: Iterable[str] | None, unused: Collection[str] = ()) -> list[str]:
        """Return lines on how these columns are used.

        Args:
            chosen: the features that the caller named, or None.
            unused: names of columns that cannot be used as numbers.
        """
        if chosen is not None:
            texts, dates = (
                {name: example for name, example in each.items() if name in chosen} for each in (self.texts, self.dates)
            )
            lines = [f"codes are read as numbers, without leading zeros: {_listed(texts)}"] if texts else []
            return lines + ([f"dates are read as numbers: {_listed(dates)}"] if dates else [])
        lines = []
        if self.texts:
            lines.append(
                f"leading zeros or signs mean codes, not numbers: {_listed(self.texts)}; x = [...] reads numbers"
            )
        if self.padded:
            lines.append(f"read as numbers, as all columns have leading zeros: {_listed(self.padded)}")
        if self.dates:
            lines.append(f"dates as whole numbers ignored: {_listed(self.dates)}; x = [...] uses them as numbers")
        if doubtful := {name: example for name, example in self.doubtful.items() if name not in unused}:
            lines.append(f"used as numbers, but may be codes or times: {_listed(doubtful)}; x = [...] leaves them out")
        return lines


def find_codes(written: pa.Table, typed: pa.Table, candidates: Iterable[str], rows_are_samples: bool = True) -> Codes:
    """Find the columns of whole numbers that are codes or dates.

    Args:
        written: the columns as they are written.
        typed: the columns with their types.
        candidates: names of columns that may be features.
        rows_are_samples: whether rows are samples rather than steps of a recording, whose leading zeros are those of a device.
    """
    names = list(candidates)
    codes = Codes({}, {}, {}, {})
    for name in names:
        values = _whole_numbers(typed[name])
        if values is None:
            if example := _time_example(typed[name], name):
                codes.doubtful[name] = example
            continue
        if example := _zero_example(written[name]):
            codes.texts[name] = example
        elif _are_dates(values, name):
            codes.dates[name] = _example(values)
        elif _may_be_codes(values, name):
            codes.doubtful[name] = _example(values)
    if codes.texts and (len(codes.texts) == len(names) > 1 or not rows_are_samples):
        codes.padded.update(codes.texts)
        codes.texts.clear()
    return codes


def with_texts(written: pa.Table, typed: pa.Table, names: Iterable[str]) -> pa.Table:
    """Return a table with types, in which some columns are text as they are written."""
    for name in names:
        texts = as_written(written[name])
        known = pc.invert(pc.is_in(texts, arrow_words(*MISSING)))
        texts = pc.if_else(known, texts, pa.nulls(len(texts), texts.type))
        typed = typed.set_column(typed.column_names.index(name), name, texts)
    return typed


def _whole_numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    """Return the known values of a column of whole numbers, from two of them on; None for another."""
    is_integer = pa.types.is_integer(column.type)
    if not is_integer and not pa.types.is_float64(column.type):
        return None
    if not is_integer and (not len(column) or ((first := column[0].as_py()) is not None and first % 1)):
        return None  # the usual case, at no cost
    known = arrow_values(column.drop_null())
    known = known if is_integer else known[~np.isnan(known)]
    if len(known) < 2 or (not is_integer and (known != np.floor(known)).any()):
        return None
    return known


def _time_example(column: pa.ChunkedArray, name: str) -> str:
    """Return a number of a column of fractions that holds days or seconds by its name: Excel's, MATLAB's or since 1970."""
    if not pa.types.is_floating(column.type) or not _TIME_NAME.fullmatch(name.strip()):
        return ""
    known = column.drop_null()
    low = pc.min(known).as_py() if len(known) else None
    return f"{known[0].as_py():.12g}" if low is not None and low >= _FIRST_DAY else ""


def _zero_example(column: pa.ChunkedArray) -> str:
    """Return a text with a leading zero of a column of text, or one with a plus if each has one and digits as a telephone has."""
    if not isinstance(column.type, CellText):
        return ""
    texts = as_written(column)
    if pc.any(pc.starts_with(texts, "-")).as_py():
        return ""
    for pattern, is_of_all in ((_PADDED, False), (r"^\+\d{7,15}$", True)):
        if not pc.any(pc.starts_with(texts, "0" if not is_of_all else "+")).as_py():
            continue
        matching = pc.match_substring_regex(texts, pattern)  # missing ones count for nothing below
        if pc.all(matching).as_py() if is_of_all else pc.any(matching).as_py():
            examples = texts.filter(matching).drop_null()
            nonzero = examples.filter(pc.match_substring_regex(examples, "[1-9]"))
            return str((nonzero if len(nonzero) else examples)[0].as_py())
    return ""


def _are_dates(values: np.ndarray, name: str) -> bool:
    """Return whether whole numbers are dates or times: 20240131, 202401 and 20240131123000."""
    low, high = float(values.min()), float(values.max())
    named = _TIME_NAME.fullmatch(name.strip()) is not None
    for scale, least in ((1e2, 8), (1.0, 3), (1e-2, 3), (1e-4, 3), (1e-6, 3)):  # to dates of 8 digits
        if not (low * scale >= 18000101 and high * scale < 22001232):
            continue
        dates = np.unique(values // int(1 / scale) if scale < 1 else values)
        days = dates % 100 if scale <= 1 else np.ones_like(dates)
        months = dates // 100 % 100 if scale <= 1 else dates % 100
        is_date = ((days >= 1) & (days <= 31) & (months >= 1) & (months <= 12)).all()
        if is_date and len(dates) >= (2 if named else least):
            return True
    return False


def _may_be_codes(values: np.ndarray, name: str) -> bool:
    low, high = float(values.min()), float(values.max())
    if low < 0:
        return False
    if _TIME_NAME.fullmatch(name.strip()) and low >= _FIRST_DAY:
        return True
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", name).lower().rstrip("0123456789 ").split()
    if {"".join(words[-1:]), "".join(words[-2:])} & _CODE_WORDS and high >= _SMALLEST_CODE:
        return True
    if high < 10 ** (_WIDE - 1) and not (ID_NAME.fullmatch(name.strip()) and high >= _SMALLEST_CODE):
        return False
    distinct = len(np.unique(values))
    if ID_NAME.fullmatch(name.strip()) and distinct > 1:
        return True
    for scale in (1e3, 1e6, 1e9):
        if _EPOCH[0] * scale <= low and high < _EPOCH[1] * scale:
            return True
    if len(values) < _MIN_ROWS or 2 * distinct < len(values):
        return False
    width = len(f"{high:.0f}")
    is_of_one_width = low >= 10 ** (width - 1)
    return (is_of_one_width and width >= _WIDE and high >= _SPREAD * low) or (
        width >= _LONG and low >= 10 ** (_LONG - 1)
    )


def _example(values: np.ndarray) -> str:
    return f"{values[0]:.0f}"


def _listed(examples: dict[str, str]) -> str:
    shown = [f"{name!r} ({example})" for name, example in list(examples.items())[:5]]
    return ", ".join(shown) + (f" and {len(examples) - 5} others" if len(examples) > 5 else "")
