"""Read .ts files of the UCR and UEA archives: comments, a header of tags, then one series per line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aekit.data.reading import reading
from aekit.errors import DataError, first_line

_COMMENTS = ("#", "%")
_TAG = re.compile(r"@(\w+)\s*(.*)")


@dataclass(frozen=True)
class SeriesFile:
    """Content of a .ts file.

    Attributes:
        series: N arrays (C, T) float32, of any lengths, NaN where a value is missing; or the reason why a line cannot be used.
        labels: (N,) names of classes, or targets (float64); None if the file has neither.
    """

    series: list[np.ndarray | str]
    labels: np.ndarray | None


def read_ts(path: Path) -> SeriesFile:
    """Read a .ts file.

    Raises:
        DataError: it is not a .ts file, has time stamps, or holds no series.
    """
    with reading(path, "not a readable .ts file"), path.open(encoding="utf-8", errors="replace") as file:
        lines = ((number, line.strip()) for number, line in enumerate(file, 1))
        tags = _header(path, lines)
        if tags.get("timestamps") == "true":
            raise DataError(f"{path}: has time stamps, which are not supported; expected plain values")
        targets = tags.get("targetlabel", "").startswith("true")
        labeled = targets or tags.get("classlabel", "").startswith("true")
        series: list[np.ndarray | str] = []
        labels: list[str] = []
        for number, line in lines:
            if line and not line.startswith(_COMMENTS):
                values, _, label = line.rpartition(":") if labeled else (line, "", "")
                series.append(_values(values, number))
                labels.append(label.strip())
    if not series:
        raise DataError(f"{path}: no series after its @data line")
    if not labeled:
        return SeriesFile(series, None)
    return SeriesFile(series, _numbers(path, labels) if targets else np.array(labels))


def looks_like_ts(path: Path) -> bool:
    """Return whether a file begins like a .ts file of series; TypeScript and videos have the same ending."""
    with reading(path), path.open("rb") as file:
        return file.read(4096).lstrip()[:1] in (b"#", b"%", b"@")


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> dict[str, str]:
    """Return the tags and their values, in lower case, and advance to the line after ``@data``."""
    tags: dict[str, str] = {}
    for number, line in lines:
        if line and not line.startswith(_COMMENTS):
            match = _TAG.fullmatch(line)
            if match is None:
                raise DataError(f"{path}: line {number} is {line[:40]!r}: expected a tag such as @data")
            if match[1].lower() == "data":
                return tags
            tags[match[1].lower()] = match[2].strip().lower()
    raise DataError(f"{path}: has no @data line; expected a .ts file as in the UCR and UEA archives")


def _values(text: str, number: int) -> np.ndarray | str:
    """Parse ``1,2,?:4,5,6`` as (2, 3), or return the reason why it cannot be used."""
    try:
        channels = [np.array(channel.split(","), np.float32) for channel in text.replace("?", "nan").split(":")]
    except ValueError as error:
        return f"line {number}: {first_line(error)}"
    lengths = sorted({len(channel) for channel in channels})
    return (
        np.stack(channels) if len(lengths) == 1 else f"line {number}: channels of {lengths[0]} and {lengths[-1]} steps"
    )


def _numbers(path: Path, labels: list[str]) -> np.ndarray:
    try:
        return np.array(labels, np.float64)
    except ValueError as error:
        raise DataError(f"{path}: a target is not a number ({first_line(error)})") from None
