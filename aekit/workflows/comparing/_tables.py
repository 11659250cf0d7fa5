"""Hold the tables of a comparison: statistics, columns and rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Statistic:
    """A number over the runs of a row.

    Attributes:
        mean: mean over the runs.
        deviation: standard deviation over the runs, with n - 1 in the denominator; None for a single run.
        low, high: outermost ends of the 95% intervals of the runs, or None without intervals.
        count: number of runs.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    count: int

    def significantly_above(self, other: Statistic) -> bool:
        """Return whether the whole interval lies above the other's."""
        return self.low is not None and other.high is not None and self.low > other.high


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: title of the column.
        kind: ``score`` (the primary metric of an evaluator; higher is better), ``fraction``, ``error``, ``decibel``,
            ``seconds``, ``count`` or ``rate``.
    """

    name: str
    kind: str

    @property
    def lower_is_better(self) -> bool:
        """Whether the best value is the lowest."""
        return self.kind in ("error", "seconds", "count")


PLAIN_COLUMNS = [
    Column("explained", "fraction"),
    Column("psnr", "decibel"),
    Column("mse", "error"),
    Column("seconds", "seconds"),
    Column("parameters", "count"),
    Column("bytes", "count"),
    Column("samples/s", "rate"),
]
"""Columns that come from no evaluator: one number per run, without an interval."""


@dataclass(frozen=True)
class Row:
    """Runs that differ only in their seed, or a baseline.

    Attributes:
        name: the settings that distinguish it from the other rows.
        is_baseline: whether it is a baseline rather than a trained encoder.
        seeds: seeds of its runs.
        runs: names of their folders.
        statistics: column -> statistic.
        settings: settings in which the recipes of the table differ; empty for a baseline.
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
        data: name of the data set.
        columns: the columns.
        rows: encoders and baselines.
        notes: remarks on the runs.
    """

    data: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str]
