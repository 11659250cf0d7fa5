"""Runs side by side: what each recipe reached over its seeds, beside the controls, and which orderings are real.

Runs whose recipes differ only in ``train.seed`` are one row. Its figures are the mean and the standard deviation over the
seeds, and the outermost interval: the lowest and the highest end of any run's 95 % interval. Two rows are told apart only if
their outermost intervals do not overlap.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aekit.errors import DataError, RecipeError, closest_name
from aekit.workflows.comparing.differences import differing_settings, recipe_titles
from aekit.workflows.comparing.finished_runs import ENCODER, FinishedRun, Score, find_runs
from aekit.workflows.comparing.rankings import table_sentences
from aekit.workflows.comparing.rendering import as_csv, as_markdown, as_page, as_text
from aekit.workflows.comparing.tables import _PLAIN, Column, Row, Statistic, Table

RANDOM = "random"

_NUMBER = re.compile(r"((?<![\w.-])\d+(?:,\d{3})*(?:\.\d+)?)(?![\w-])")


@dataclass(frozen=True)
class Comparison:
    """Tables of runs, one for each data set.

    Attributes:
        left_out: folder -> why it is not in a table.
    """

    tables: list[Table]
    skipped: dict[str, str]

    def text(self, width: int = 120) -> str:
        """For a terminal of so many columns."""
        return as_text(self.tables, self.skipped, width)

    def csv(self) -> str:
        return as_csv(self.tables, self.skipped)

    def markdown(self) -> str:
        return as_markdown(self.tables, self.skipped)

    def html(self) -> str:
        """A page of its own."""
        return as_page(self.tables, self.skipped)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        tables = [
            {
                "data": table.data,
                "columns": [{"name": column.name, "kind": column.kind} for column in table.columns],
                "rows": [
                    vars(row) | {"statistics": {n: vars(f) for n, f in row.statistics.items()}} for row in table.rows
                ],
                "words": table_sentences(table),
            }
            for table in self.tables
        ]
        return {"tables": tables, "left_out": self.skipped}


def compare(paths: str | Path | Iterable[str | Path], *, sort: str | None = None) -> Comparison:
    """Puts finished runs side by side.

    Args:
        paths: run folders, or folders that hold run folders at any depth.
        sort: name of a column; default: the first evaluator. The best comes first.

    Raises:
        DataError: no such folder, no runs in it, or none that can be compared.
        RecipeError: no column of that name.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    folders = list(dict.fromkeys(folder for path in given for folder in find_runs(Path(path))))
    runs: list[FinishedRun] = []
    left_out: dict[str, str] = {}
    for folder in folders:
        try:
            run = FinishedRun(folder)
        except DataError as error:
            left_out[str(folder)] = str(error)
            continue
        twin = next((other for other in runs if other.digest == run.digest and other.data == run.data), None)
        if twin:
            left_out[str(folder)] = f"holds the very encoder of {twin.folder}"
        else:
            runs.append(run)
    if not runs:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3])
        raise DataError(f"none of {len(left_out)} runs can be compared: {reasons}")
    by_data: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_data.setdefault(run.data, []).append(run)
    names = _data_names([own[0] for own in by_data.values()])
    tables = [_table(name, own, sort) for name, own in zip(names, by_data.values())]
    if sort and not any(_column(sort, table.columns) for table in tables):
        known = dict.fromkeys(column.name for table in tables for column in table.columns)
        raise RecipeError([f"sort = {sort!r}: no such column{closest_name(sort, known)}"])
    return Comparison(tables, left_out)


def _table(data: str, runs: Sequence[FinishedRun], sort: str | None) -> Table:
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run.settings, sort_keys=True), []).append(run)
    recipes = [own[0].settings for own in groups.values()]
    names, notes = recipe_titles(recipes, [_pattern([run.folder.name for run in own]) for own in groups.values()])
    scores = _score_columns(runs)
    settings = differing_settings(recipes)
    rows = []
    for name, own in zip(names, groups.values()):
        figures = {title: _pooled([r.scores[ENCODER][k] for r in own if k in r.scores[ENCODER]]) for k, title in scores}
        figures |= {column.name: _plain(column.name, own) for column in _PLAIN}
        differs = {setting: own[0].settings[setting] for setting in settings if setting in own[0].settings}
        rows.append(_row(name, False, own, figures, differs))
    rows += _controls(runs, scores)
    kept = {name for row in rows for name in row.statistics}
    columns = [c for c in [*(Column(title, "score") for _, title in scores), *_PLAIN] if c.name in kept]
    notes += [*_notes(runs, rows), *merge_notes(note for run in runs for note in run.notes)]
    return Table(data, columns, _sorted(rows, columns, sort), notes)


def _row(
    name: str, control: bool, runs: Sequence[FinishedRun], figures: Mapping[str, Statistic | None], differs: Any = None
) -> Row:
    found = {column: figure for column, figure in figures.items() if figure is not None}
    seeds = sorted({run.seed for run in runs}) if control else [run.seed for run in runs]
    return Row(name, control, seeds, [run.folder.name for run in runs], found, differs or {})


def _controls(runs: Sequence[FinishedRun], columns: Sequence[tuple[tuple[str, str], str]]) -> list[Row]:
    """A row for each control, once for the data set, however many runs judged it.

    Raw samples and their components depend on the scaling, and random weights on the whole encoder.
    """
    subjects = dict.fromkeys(subject for run in runs for subject in run.scores if subject != ENCODER)
    rows = []
    for subject in subjects:
        kinds: dict[str, list[FinishedRun]] = {}
        for run in (run for run in runs if subject in run.scores):
            kinds.setdefault(json.dumps(_matters(subject, run), sort_keys=True), []).append(run)
        fallbacks = [own[0].folder.name for own in kinds.values()]
        names, _ = recipe_titles([_matters(subject, own[0]) for own in kinds.values()], fallbacks)
        for name, own in zip(names, kinds.values()):
            figures = {}
            for key, title in columns:
                # Recipes that share a seed judged the same control: that is one observation.
                found = {(run.seed, run.scores[subject][key]) for run in own if key in run.scores[subject]}
                figures[title] = _pooled([score for _, score in sorted(found, key=str)])
            if subject == RANDOM:
                figures |= {cost: _plain(cost, own) for cost in ("parameters", "bytes")}
            rows.append(_row(f"{subject} {name}" if len(kinds) > 1 else subject, True, own, figures))
    return rows


def _matters(subject: str, run: FinishedRun) -> dict[str, Any]:
    """The settings that a control depends on."""
    return {name: value for name, value in run.encoder.items() if subject == RANDOM or name == "encoder.scaling"}


def _plain(name: str, runs: Sequence[FinishedRun]) -> Statistic | None:
    return _pooled([(run.plain[name], None, None) for run in runs if name in run.plain])


def _pooled(scores: Sequence[Score]) -> Statistic | None:
    if not scores:
        return None
    values = [value for value, _, _ in scores]
    ends = [end for _, *interval in scores for end in interval if end is not None]
    low, high = (min(ends), max(ends)) if len(ends) == 2 * len(scores) else (None, None)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Statistic(statistics.mean(values), deviation, low, high, len(values))


def _score_columns(runs: Sequence[FinishedRun]) -> list[tuple[tuple[str, str], str]]:
    """Key and title of each evaluator's column; options are in the title where one evaluator has several."""
    keys = list(dict.fromkeys(key for run in runs for found in run.scores.values() for key in found))
    columns = []
    for name, options in keys:
        rivals = [json.loads(other) for title, other in keys if title == name]
        tell = [f"{n.rpartition('.')[2]}={json.loads(options).get(n)}" for n in differing_settings(rivals)]
        columns.append(((name, options), f"{name} ({', '.join(tell)})" if tell else name))
    return columns


def _column(name: str, columns: Sequence[Column]) -> Column | None:
    """The column of a name, or the first one that begins with it."""
    exact = [column for column in columns if column.name == name]
    return next(iter(exact or [column for column in columns if column.name.startswith(name)]), None)


def _sorted(rows: Sequence[Row], columns: Sequence[Column], sort: str | None) -> list[Row]:
    column = (_column(sort, columns) if sort else None) or columns[0]
    sign = 1 if column.lower_is_better else -1
    there = [row for row in rows if column.name in row.statistics]
    ordered = sorted(there, key=lambda row: sign * row.statistics[column.name].mean)
    return ordered + [row for row in rows if column.name not in row.statistics]


def _notes(runs: Sequence[FinishedRun], rows: Sequence[Row]) -> list[str]:
    notes = []
    single = [row.name for row in rows if not row.is_baseline and len(row.runs) == 1]
    if single:
        notes.append(f"one run only, so that its spread over seeds is not known: {', '.join(single)}")
    notes += [
        f"{row.name}: several runs of one seed, {', '.join(row.runs)}, which made different encoders"
        for row in rows
        if not row.is_baseline and len(set(row.seeds)) < len(row.seeds)
    ]
    if not any(row.is_baseline for row in rows):
        notes.append("no controls: none of these runs judged raw input, PCA and random weights")
    counts = sorted({run.tested for run in runs})
    if len(counts) > 1:
        notes.append(f"the runs were judged on different numbers of test samples: {', '.join(map(str, counts))}")
    if runs[0].origin.startswith("<"):
        notes.append("the data was in memory: that it was the same for all runs is taken for granted")
    return notes


def merge_notes(notes: Iterable[str]) -> list[str]:
    """Notes once each; of those that differ in their numbers alone, one with the ranges."""
    alike: dict[tuple[str, ...], list[list[str]]] = {}
    for note in notes:
        parts = _NUMBER.split(note)
        alike.setdefault(tuple(parts[::2]), []).append(parts[1::2])
    found = []
    for texts, numbers in alike.items():
        ends = [sorted(set(column), key=lambda number: float(number.replace(",", ""))) for column in zip(*numbers)]
        ranges = [own[0] if len(own) == 1 else f"{own[0]} to {own[-1]}" for own in ends]
        found.append("".join(text + number for text, number in zip(texts, [*ranges, ""])))
    return found


def _data_names(runs: Sequence[FinishedRun]) -> list[str]:
    """A name for each data set; where one source was opened in several ways, with what differs."""
    names = []
    for run in runs:
        rivals = [other for other in runs if other.origin == run.origin]
        parts = [
            f"{n.removeprefix('data.')}={run.options.get(n)}" for n in differing_settings([r.options for r in rivals])
        ]
        parts += [f"{run.samples} samples"] if len({other.samples for other in rivals}) > 1 else []
        names.append(f"{run.origin} ({', '.join(parts)})" if parts else run.origin)
    return names


def _pattern(folders: Sequence[str]) -> str:
    """What the names of folders share: ``fast-seed-0`` and ``fast-seed-1`` are ``fast``."""
    shared = {re.sub(r"[-_. ]*(seed)?[-_. ]*\d*$", "", name) for name in folders}
    return shared.pop() or folders[0] if len(shared) == 1 else folders[0]
