"""Which orderings in a table of runs are real: those whose outermost intervals do not overlap, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from aekit.evaluation.summary import join_words
from aekit.workflows.comparing.tables import Row, Table


def table_sentences(table: Table) -> list[str]:
    """Say in sentences what the statistics of a table show, and add its notes."""
    return [*ranking_sentences(table), *table.notes]


def ranking_sentences(table: Table) -> list[str]:
    """For each evaluator, where the encoders stand beside the controls and among each other."""
    lines = []
    for column in table.columns:
        if column.kind == "score":
            rows = [row for row in table.rows if column.name in row.statistics]
            rows.sort(key=lambda row: -row.statistics[column.name].mean)
            lines += [f"{column.name}: {sentence}" for sentence in _sentences(rows, column.name)]
    return lines


def _sentences(rows: Sequence[Row], column: str) -> list[str]:
    encoders, controls = [row for row in rows if not row.is_baseline], [row for row in rows if row.is_baseline]
    if not encoders:
        return []
    if any(row.statistics[column].low is None for row in rows):
        return ["there are no intervals, so that no order is claimed"]
    said = []
    if controls:
        standing: dict[str, list[str]] = {}
        for row in encoders:
            standing.setdefault(_compared_to_baselines(row, controls, column), []).append(row.name)
        lie = {where: "lies" if len(names) == 1 else "lie" for where, names in standing.items()}
        said.append("; ".join(f"{join_words(names)} {lie[where]} {where}" for where, names in standing.items()))
    if len(encoders) > 1:
        said.append(_among(encoders, column))
    return said


def _compared_to_baselines(row: Row, controls: Sequence[Row], column: str) -> str:
    """``above raw and random, level with pca-32``."""
    own = row.statistics[column]
    above = [c.name for c in controls if own.significantly_above(c.statistics[column])]
    below = [c.name for c in controls if c.statistics[column].significantly_above(own)]
    level = [c.name for c in controls if c.name not in (*above, *below)]
    places = {"above": above, "level with": level, "below": below}
    return ", ".join(f"{word} {join_words(names)}" for word, names in places.items() if names)


def _among(encoders: Sequence[Row], column: str) -> str:
    beaten: dict[tuple[str, ...], list[str]] = {}
    for row in encoders:
        others = tuple(o.name for o in encoders if row.statistics[column].significantly_above(o.statistics[column]))
        if others:
            beaten.setdefault(others, []).append(row.name)
    if not beaten:
        return "no encoder is told apart from another, as their intervals overlap"
    real = "; ".join(f"{join_words(names)} above {join_words(list(others))}" for others, names in beaten.items())
    pairs = len(encoders) * (len(encoders) - 1) // 2
    told = sum(len(others) * len(names) for others, names in beaten.items())
    return f"among the encoders {real}" + ("" if told == pairs else "; the others are not told apart")
