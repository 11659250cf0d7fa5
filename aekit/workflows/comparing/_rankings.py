"""State which differences in a table of runs are significant: those whose outermost intervals do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aekit.evaluation.summary import join_words
from aekit.workflows.comparing._tables import Row, Table

SUMMARIZED = 3
"""Number of metrics from which a conclusion counts them instead of listing their names."""


@dataclass
class _Outcomes:
    """Names of metrics, by what they say.

    Attributes:
        best: encoder -> metrics on which it is significantly better than every other one.
        tied: metrics on which no encoder is.
        beaten: metrics on which the best encoder is significantly better than every baseline.
        unbeaten: metrics on which it is not.
        without_intervals: metrics from which nothing can be concluded.
    """

    best: dict[str, list[str]] = field(default_factory=dict)
    tied: list[str] = field(default_factory=list)
    beaten: list[str] = field(default_factory=list)
    unbeaten: list[str] = field(default_factory=list)
    without_intervals: list[str] = field(default_factory=list)


def table_conclusion(table: Table) -> str:
    """Return one sentence on which encoders are best, and on whether they are better than the baselines."""
    scores = [column.name for column in table.columns if column.kind == "score"]
    outcomes = _outcomes(table, scores)
    clauses = [
        f"{name} is significantly better than every other encoder on {_metrics(names, scores)}"
        for name, names in outcomes.best.items()
    ]
    if outcomes.tied:
        metrics = _metrics(outcomes.tied, scores, named=sum(map(len, outcomes.best.values())))
        clauses.append(f"no significant difference between the best encoders on {metrics}")
    clauses += _baseline_clauses(outcomes, scores, [row.name for row in table.rows if not row.is_baseline])
    if outcomes.without_intervals:
        clauses.append(f"no conclusion on {join_words(outcomes.without_intervals)}, as intervals are missing")
    if not clauses:
        return "Nothing to compare: one encoder and no baseline."
    sentence = "; ".join(clauses)
    capital = sentence[0].upper() if sentence.startswith(("no ", "the ")) else sentence[0]
    return f"{capital}{sentence[1:]}."


def _outcomes(table: Table, scores: Sequence[str]) -> _Outcomes:
    """Find out on each metric whether one encoder is the best, and whether it is better than the baselines."""
    outcomes = _Outcomes()
    for column in scores:
        rows = _sorted_rows(table, column)
        encoders, baselines = [row for row in rows if not row.is_baseline], [row for row in rows if row.is_baseline]
        if not encoders:
            continue
        if any(row.statistics[column].low is None for row in rows):
            outcomes.without_intervals.append(column)
            continue
        first = encoders[0].statistics[column]
        if len(encoders) > 1 and all(first.significantly_above(row.statistics[column]) for row in encoders[1:]):
            outcomes.best.setdefault(encoders[0].name, []).append(column)
        elif len(encoders) > 1:
            outcomes.tied.append(column)
        if baselines:
            better = all(first.significantly_above(row.statistics[column]) for row in baselines)
            (outcomes.beaten if better else outcomes.unbeaten).append(column)
    return outcomes


def _baseline_clauses(outcomes: _Outcomes, scores: Sequence[str], encoders: Sequence[str]) -> list[str]:
    """Say whether the best encoder, or the only one, is better than the baselines; nothing if there are none."""
    beaten, unbeaten = outcomes.beaten, outcomes.unbeaten
    single = encoders[0] if len(encoders) == 1 else ""
    subject = single or "the best encoder"
    if beaten:
        exception = f", but not on {_metrics(unbeaten, scores, named=len(beaten))}" if unbeaten else ""
        return [f"{subject} is significantly better than every baseline on {_metrics(beaten, scores)}{exception}"]
    if len(unbeaten) == len(scores) >= SUMMARIZED:
        none = f"{single} is not" if single else "no encoder is"
        return [f"{none} significantly better than every baseline on any of the {len(scores)} metrics"]
    if unbeaten:
        return [f"{subject} is not significantly better than every baseline on {join_words(unbeaten)}"]
    return []


def _metrics(names: Sequence[str], scores: Sequence[str], named: int = 0) -> str:
    """List metrics by name; count many, if they are all, or all but the `named` ones before."""
    if len(names) < SUMMARIZED:
        return join_words(names)
    if len(names) == len(scores):
        return f"all {len(names)} metrics"
    return f"the other {len(names)} metrics" if named and named + len(names) == len(scores) else join_words(names)


def table_sentences(table: Table) -> list[str]:
    """State which differences are significant on each metric, and add the notes of the table."""
    return [*ranking_sentences(table), *table.notes]


def ranking_sentences(table: Table) -> list[str]:
    """State for each evaluator how the encoders compare with the baselines and with each other."""
    sentences = []
    for column in table.columns:
        if column.kind == "score":
            sentences += [
                f"{column.name}: {sentence}" for sentence in _sentences(_sorted_rows(table, column.name), column.name)
            ]
    return sentences


def _sorted_rows(table: Table, column: str) -> list[Row]:
    """Return the rows that have a value in a column, the highest mean first."""
    rows = [row for row in table.rows if column in row.statistics]
    return sorted(rows, key=lambda row: -row.statistics[column].mean)


def _sentences(rows: Sequence[Row], column: str) -> list[str]:
    encoders, baselines = [row for row in rows if not row.is_baseline], [row for row in rows if row.is_baseline]
    if not encoders:
        return []
    if any(row.statistics[column].low is None for row in rows):
        return ["intervals are missing, so no difference can be called significant"]
    sentences = []
    if baselines:
        by_outcome: dict[str, list[str]] = {}
        for row in encoders:
            by_outcome.setdefault(_compared_with_baselines(row, baselines, column), []).append(row.name)
        parts = [
            f"{join_words(names)} {'is' if len(names) == 1 else 'are'} {outcome}"
            for outcome, names in by_outcome.items()
        ]
        sentences.append("; ".join(parts))
    if len(encoders) > 1:
        sentences.append(_compared_with_each_other(encoders, column))
    return sentences


def _compared_with_baselines(row: Row, baselines: Sequence[Row], column: str) -> str:
    """Return the outcome, such as ``better than raw and random, not significantly different from pca-32``."""
    statistic = row.statistics[column]
    better = [other.name for other in baselines if statistic.significantly_above(other.statistics[column])]
    worse = [other.name for other in baselines if other.statistics[column].significantly_above(statistic)]
    similar = [other.name for other in baselines if other.name not in (*better, *worse)]
    outcomes = {"better than": better, "not significantly different from": similar, "worse than": worse}
    return ", ".join(f"{outcome} {join_words(names)}" for outcome, names in outcomes.items() if names)


def _compared_with_each_other(encoders: Sequence[Row], column: str) -> str:
    by_beaten: dict[tuple[str, ...], list[str]] = {}
    for row in encoders:
        beaten = tuple(o.name for o in encoders if row.statistics[column].significantly_above(o.statistics[column]))
        if beaten:
            by_beaten.setdefault(beaten, []).append(row.name)
    if not by_beaten:
        return "no significant difference between the encoders, as their intervals overlap"
    parts = [
        f"{join_words(names)} {'is' if len(names) == 1 else 'are'} better than {join_words(list(beaten))}"
        for beaten, names in by_beaten.items()
    ]
    pairs = len(encoders) * (len(encoders) - 1) // 2
    significant = sum(len(beaten) * len(names) for beaten, names in by_beaten.items())
    other = "" if significant == pairs else "; no other difference is significant"
    return f"among the encoders, {'; '.join(parts)}{other}"
