"""Hold the tables of a comparison: statistics, columns, rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Statistic:
    """A number over the runs of a row.

    Attributes:
        mean: over the runs.
        deviation: standard deviation over the runs, n - 1 in the denominator; None for a single run.
        low, high: the outermost ends of the runs' 95 % intervals, or None where there are none.
        count: runs it is of.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    count: int

    def significantly_above(self, other: Statistic) -> bool:
        """Whether the whole interval lies above the other's."""
        return self.low is not None and other.high is not None and self.low > other.high


@dataclass(frozen=True)
class Column:
    """What a column shows: ``score`` (of an evaluator; higher is better), ``share``, ``error``, ``decibel``, ``seconds``,
    ``count`` or ``rate``."""

    name: str
    kind: str

    @property
    def lower_is_better(self) -> bool:
        return self.kind in ("error", "seconds", "count")


_PLAIN = [
    Column("explained", "share"),
    Column("psnr", "decibel"),
    Column("mse", "error"),
    Column("seconds", "seconds"),
    Column("parameters", "count"),
    Column("bytes", "count"),
    Column("samples/s", "rate"),
]
"""Columns of what is not judged by an evaluator: a number for each run, without an interval."""


@dataclass(frozen=True)
class Row:
    """Runs that differ only in their seed, or a control.

    Attributes:
        name: what sets it apart from the other rows.
        control: whether nothing was learned for it.
        seeds: of its runs.
        runs: names of their folders.
        figures: column -> what was found.
        settings: those in which the recipes of the table differ; empty for a control.
    """

    name: str
    is_baseline: bool
    seeds: list[int]
    runs: list[str]
    statistics: dict[str, Statistic]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """All rows on one data set, the best first.

    Attributes:
        data: the data set.
        notes: what the reader should know besides.
    """

    data: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str]
