"""Recognize dates, times and durations in columns, and convert them to seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers._cell_types import MISSING, PLACEHOLDERS, is_text, to_floats, to_typed
from aekit.errors import DataError
from aekit.io.arrow import arrow_values, arrow_words, filled

_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?"
_MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_TIME = (
    rf"^(?:\d{{4}}-\d{{2}}|(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{4}}|\d{{2}})"
    rf"|\d{{1,2}}[- ]?{_MONTH}[-, ]+\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
    rf"(?:[T ,]+{_CLOCK}(?: ?(?:Z|(?:UTC|GMT)(?:[+-]\d{{1,2}})?|[+-]\d{{2}}:?\d{{2}}))?)?|{_CLOCK}"
    rf"|-?\d+ days?(?:[ ,]+{_CLOCK})?)$"
)
_DATES = (
    *("%Y-%m", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *(
        "%d.%m.%y",
        "%d/%m/%y",
        "%m/%d/%y",
        "%d %b %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%d %B %Y",
        "%b %d, %Y",
        "%B %d, %Y",
        "%b %d %Y",
        "%B %d %Y",
    ),
)
_CLOCKS = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p")
_EPOCH = datetime(1970, 1, 1)


def is_time(column: pa.ChunkedArray) -> bool:
    """Return whether a column holds dates, times or durations, as Arrow's types or as text."""
    typed = to_typed(column).column
    if pa.types.is_temporal(typed.type):
        return True
    if not is_text(typed):
        return False
    known = typed.cast(pa.string()).drop_null()
    known = known.filter(pc.invert(pc.is_in(known, arrow_words(*MISSING, *PLACEHOLDERS))))
    # The first cell rules out most text, for which Arrow would prepare the expression anew in each column.
    if not len(known) or not re.search(_TIME, known[0].as_py()):
        return False
    return bool(pc.all(pc.match_substring_regex(known, _TIME)).as_py())


def to_calendar(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return text (N,) that holds dates as dates, or as times in UTC if one has a time of day; None for other text.

    Raises:
        DataError: the dates can be read in two ways, or one is none.
    """
    known = column.drop_null()
    no_dates = pc.match_substring_regex(known, rf"^(?:{_CLOCK}|-?\d+ days?.*)$")
    if not is_time(column) or pc.any(no_dates).as_py():
        return None
    microseconds = np.round(to_seconds(column, "dates") * 1e6)
    missing = np.isnan(microseconds)
    moments = pa.array(np.where(missing, 0, microseconds).astype(np.int64), mask=missing).cast(pa.timestamp("us"))
    whole_days = not pc.any(pc.match_substring(known, ":")).as_py()
    return pa.chunked_array([moments.cast(pa.date32()) if whole_days else moments])


def to_seconds(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """Return dates and times as (N,) float64 seconds since 1970 (times of day since midnight), NaN where one is missing.

    Raises:
        DataError: a text is not a date, or can be read in two ways.
    """
    typed = to_typed(column).column
    kind = typed.type
    if pa.types.is_temporal(kind):
        if pa.types.is_duration(kind):
            return pc.cast(typed.cast(pa.duration("us"), safe=False), pa.int64()).cast(pa.float64()).to_numpy() / 1e6
        if pa.types.is_time(kind):
            return pc.cast(typed.cast(pa.time64("us")), pa.int64()).cast(pa.float64()).to_numpy() / 1e6
        microseconds = typed.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
        return pc.cast(pc.cast(microseconds, pa.int64()), pa.float64(), safe=False).to_numpy() / 1e6
    if not is_text(typed):
        return to_floats(typed)
    text = typed.cast(pa.string())
    try:  # the usual form, a hundred times faster than by format
        return to_seconds(text.cast(pa.timestamp("us")), where)
    except pa.ArrowException:
        pass
    encoded = text.combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    seconds = np.array([*_parse_times(words, where), np.nan])
    return seconds[arrow_values(filled(encoded.indices, len(words)))]


def _parse_times(words: Sequence[str], where: str) -> list[float]:
    zones = [_ZONE.fullmatch(" ".join(word.split())) for word in words]
    texts = [zone[1] if zone else " ".join(word.split()) for zone, word in zip(zones, words)]
    hours = [float(zone[2] or 0) if zone else 0.0 for zone in zones]
    return [seconds - 3600 * ahead for seconds, ahead in zip(_parse_local_times(texts, where), hours)]


_ZONE = re.compile(r"(.*\d(?: ?[AaPp][Mm])?) ?(?:UTC|GMT)([+-]\d{1,2})?")
"""A time with a zone, such as Google writes it: 2024/03/01 3:00:07 PM GMT+1."""


def _parse_local_times(texts: Sequence[str], where: str) -> list[float]:
    known = [text for text in texts if text not in MISSING and text not in PLACEHOLDERS]
    try:
        iso = [_seconds(datetime.fromisoformat(text)) for text in known]
    except ValueError:
        pass
    else:
        return _spread(texts, dict(zip(known, iso)))
    formats = [*_DATES, *_CLOCKS, *(f"{date} {clock}" for date in _DATES for clock in _CLOCKS)]
    readings = []
    for form in formats:
        try:
            parsed = [datetime.strptime(text, form) for text in known]
        except ValueError:
            continue
        start = _EPOCH if "%Y" in form or "%y" in form else datetime(1900, 1, 1)
        readings.append([(moment - start).total_seconds() for moment in parsed])
    durations = [re.fullmatch(r"(-?\d+) days?(?:[ ,]+(\d+):(\d+)(?::([\d.]+))?)?", text) for text in known]
    if known and all(durations):
        readings.append([_duration(match.groups()) for match in durations if match])
    if not readings:
        odd = _odd_one(known, formats)
        raise DataError(f"{where}: {odd!r} cannot be read as a date; expected one such as 2024-12-31 23:59:59")
    if any(reading != readings[0] for reading in readings):
        raise DataError(f"{where}: dates such as {known[0]!r} can be read in two ways; write them as 2024-12-31")
    return _spread(texts, dict(zip(known, readings[0])))


def _seconds(moment: datetime) -> float:
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH.replace(tzinfo=UTC)) / timedelta(
        seconds=1
    )


def _duration(parts: Sequence[str | None]) -> float:
    days, hours, minutes, seconds = (float(part or 0) for part in parts)
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def _spread(texts: Sequence[str], seconds: dict[str, float]) -> list[float]:
    return [seconds.get(text, np.nan) for text in texts]


def _odd_one(known: Sequence[str], formats: Sequence[str]) -> str:
    """Return the first text that is not of the form of the others."""
    for form in formats:
        for number, text in enumerate(known):
            try:
                datetime.strptime(text, form)
            except ValueError:
                if number:
                    return text
                break
    return known[0]
