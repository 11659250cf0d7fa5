"""Compare finished runs: each recipe over its seeds, next to the baselines, and which differences are significant.

Runs whose recipes differ only in ``train.seed`` share a row, with the mean and the standard deviation over the seeds and the
outermost interval: the lowest and the highest end of any run's 95% interval. Two rows differ significantly only if their
outermost intervals do not overlap.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aekit._arguments import checked_arguments
from aekit.errors import DataError, RecipeError, closest_name
from aekit.io.remote import local_path
from aekit.io.summaries import data_frame, html_summary
from aekit.workflows.comparing._differences import differing_settings, recipe_titles
from aekit.workflows.comparing._finished_runs import ENCODER, FinishedRun, Score, find_runs
from aekit.workflows.comparing._rankings import table_conclusion, table_sentences
from aekit.workflows.comparing._rendering import as_csv, as_markdown, as_page, as_records, as_text, shown_rows
from aekit.workflows.comparing._tables import PLAIN_COLUMNS, Column, Row, Statistic, Table

RANDOM = "random"

_NUMBER = re.compile(r"((?<![\w.-])\d+(?:,\d{3})*(?:\.\d+)?)(?![\w-])")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Tables of runs, one for each data set.

    Attributes:
        tables: the tables.
        skipped: folder -> why it is in no table.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> kinds = np.repeat(["cat", "dog"], 60)
        >>> x = np.random.default_rng(0).normal(size=(120, 8)) + 3 * (kinds == "dog")[:, None]
        >>> np.savez("pets.npz", x=x.astype("float32"), y=kinds)
        >>> _ = aekit.fit(
        ...     "pets.npz", dim=2, out="runs/narrow", overrides={"train.epochs": 2, "evaluate.evaluators": ["knn"]}
        ... )
        >>> comparison = aekit.compare("runs")
        >>> comparison.headline
        'denoising is not significantly better than every baseline on knn accuracy and reconstruction explained.'
        >>> comparison.csv().splitlines()[0].split(",")[:5]
        ['data', 'name', 'is_baseline', 'seeds', 'knn accuracy']
    """

    tables: list[Table]
    skipped: dict[str, str]

    @property
    def headline(self) -> str:
        """The conclusion in one sentence for each data set."""
        if len(self.tables) == 1:
            return table_conclusion(self.tables[0])
        return " ".join(f"{table.data}: {table_conclusion(table)}" for table in self.tables)

    def __repr__(self) -> str:
        return f"<Comparison: {self.headline}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        rows = shown_rows(self.tables)
        notes = [f"{name}: {reason}" for name, reason in self.skipped.items()]
        return html_summary(self.headline, notes, rows, longest=len(rows))

    def text(self, width: int = 120) -> str:
        """Return the conclusions, the tables and the sentences for a terminal with `width` columns."""
        return as_text(self.tables, self.skipped, width)

    def csv(self) -> str:
        """Return a line for each row, with all digits."""
        return as_csv(self.tables)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each recipe and baseline of each data set, and the columns of `csv`: the
        mean over the seeds, its standard deviation, and the ends of the interval."""
        return data_frame(as_records(self.tables))

    def markdown(self) -> str:
        """Return the tables and the sentences as Markdown."""
        return as_markdown(self.tables, self.skipped)

    def html(self) -> str:
        """Return a self-contained page with the intervals plotted."""
        return as_page(self.tables, self.skipped)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        tables = [
            {
                "data": table.data,
                "columns": [{"name": column.name, "kind": column.kind} for column in table.columns],
                "rows": [
                    vars(row) | {"statistics": {n: vars(f) for n, f in row.statistics.items()}} for row in table.rows
                ],
                "conclusion": table_conclusion(table),
                "sentences": table_sentences(table),
            }
            for table in self.tables
        ]
        return {"tables": tables, "skipped": self.skipped}


@checked_arguments
def compare(paths: str | Path | Iterable[str | Path], *, sort: str | None = None) -> Comparison:
    """Compare finished runs.

    Args:
        paths: a run folder or a folder that holds runs at any depth, or several of them.
        sort: name of the column to sort by, the best first; default: the first evaluator.

    Returns:
        A table for each data set, with a row for each recipe and each baseline, and the runs that were skipped.

    Raises:
        DataError: no such folder, no runs in it, or none that can be compared.
        RecipeError: no column of that name.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> labels = np.repeat(["cat", "dog"], 60)
        >>> samples = np.random.default_rng(0).normal(size=(120, 8)) + 3 * (labels == "dog")[:, None]
        >>> np.savez("pets.npz", x=samples.astype("float32"), y=labels)
        >>> for seed in (0, 1):
        ...     settings = {"train.epochs": 2, "train.seed": seed, "evaluate.evaluators": ["knn"]}
        ...     _ = aekit.fit("pets.npz", dim=2, out=f"runs/seed-{seed}", overrides=settings)
        >>> comparison = aekit.compare("runs")
        >>> sorted((row.name, row.seeds) for row in comparison.tables[0].rows)
        [('denoising', [0, 1]), ('pca-2', [0, 1]), ('random', [0, 1]), ('raw', [0, 1])]
    """
    given_paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    folders = list(dict.fromkeys(folder for path in given_paths for folder in find_runs(local_path(path))))
    runs: list[FinishedRun] = []
    skipped: dict[str, str] = {}
    for folder in folders:
        try:
            run = FinishedRun(folder)
        except DataError as error:
            skipped[str(folder)] = str(error)
            continue
        twin = next((other for other in runs if other.digest == run.digest and other.data == run.data), None)
        if twin:
            skipped[str(folder)] = f"holds the same encoder as {twin.folder}"
        else:
            runs.append(run)
    if not runs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        raise DataError(f"no comparable run among {len(skipped)}: {reasons}")
    by_data: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_data.setdefault(run.data, []).append(run)
    names = _data_names([members[0] for members in by_data.values()])
    tables = [_table(name, members, sort) for name, members in zip(names, by_data.values())]
    if sort and not any(_column(sort, table.columns) for table in tables):
        known = dict.fromkeys(column.name for table in tables for column in table.columns)
        raise RecipeError([f"sort = {sort!r}: no such column{closest_name(sort, known)}"])
    return Comparison(tables, skipped)


def _table(data: str, runs: Sequence[FinishedRun], sort: str | None) -> Table:
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run.settings, sort_keys=True), []).append(run)
    recipes = [members[0].settings for members in groups.values()]
    fallbacks = [_common_name([run.folder.name for run in members]) for members in groups.values()]
    names, notes = recipe_titles(recipes, fallbacks)
    scores = _score_columns(runs)
    settings = differing_settings(recipes)
    rows = []
    for name, members in zip(names, groups.values()):
        statistics = {
            title: _pooled([run.scores[ENCODER][key] for run in members if key in run.scores[ENCODER]])
            for key, title in scores
        }
        statistics |= {column.name: _plain_statistic(column.name, members) for column in PLAIN_COLUMNS}
        differing = {name: members[0].settings[name] for name in settings if name in members[0].settings}
        rows.append(_row(name, members, statistics, settings=differing))
    rows += _baseline_rows(runs, scores)
    known = {name for row in rows for name in row.statistics}
    columns = [c for c in [*(Column(title, "score") for _, title in scores), *PLAIN_COLUMNS] if c.name in known]
    notes += [*_notes(runs, rows), *merge_notes(note for run in runs for note in run.notes)]
    return Table(data, columns, _sorted(rows, columns, sort), notes)


def _row(
    name: str,
    runs: Sequence[FinishedRun],
    statistics: Mapping[str, Statistic | None],
    *,
    settings: dict[str, Any] | None = None,
    is_baseline: bool = False,
) -> Row:
    known = {column: statistic for column, statistic in statistics.items() if statistic is not None}
    seeds = sorted({run.seed for run in runs}) if is_baseline else [run.seed for run in runs]
    return Row(name, is_baseline, seeds, [run.folder.name for run in runs], known, settings or {})


def _baseline_rows(runs: Sequence[FinishedRun], columns: Sequence[tuple[tuple[str, str], str]]) -> list[Row]:
    """Return a row for each baseline, pooled over the runs that evaluated it.

    Raw samples and their components depend on the scaling, and random weights on the whole encoder.
    """
    subjects = dict.fromkeys(subject for run in runs for subject in run.scores if subject != ENCODER)
    rows = []
    for subject in subjects:
        groups: dict[str, list[FinishedRun]] = {}
        for run in (run for run in runs if subject in run.scores):
            groups.setdefault(json.dumps(_baseline_settings(subject, run), sort_keys=True), []).append(run)
        fallbacks = [members[0].folder.name for members in groups.values()]
        names, _ = recipe_titles([_baseline_settings(subject, members[0]) for members in groups.values()], fallbacks)
        for name, members in zip(names, groups.values()):
            statistics = {}
            for key, title in columns:
                # Recipes that share a seed evaluated the same baseline: that is one observation.
                observed = {(run.seed, run.scores[subject][key]) for run in members if key in run.scores[subject]}
                statistics[title] = _pooled([score for _, score in sorted(observed, key=str)])
            if subject == RANDOM:
                statistics |= {cost: _plain_statistic(cost, members) for cost in ("parameters", "bytes")}
            title = f"{subject} {name}" if len(groups) > 1 else subject
            rows.append(_row(title, members, statistics, is_baseline=True))
    return rows


def _baseline_settings(subject: str, run: FinishedRun) -> dict[str, Any]:
    """Return the settings that a baseline depends on."""
    return {name: value for name, value in run.encoder.items() if subject == RANDOM or name == "encoder.scaling"}


def _plain_statistic(name: str, runs: Sequence[FinishedRun]) -> Statistic | None:
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
    """Return the key and the title of each evaluator's column; the title has the options if one evaluator has several."""
    keys = list(dict.fromkeys(key for run in runs for by_column in run.scores.values() for key in by_column))
    columns = []
    for name, options in keys:
        variants = [json.loads(other) for title, other in keys if title == name]
        shown = [f"{n.rpartition('.')[2]}={json.loads(options).get(n)}" for n in differing_settings(variants)]
        columns.append(((name, options), f"{name} ({', '.join(shown)})" if shown else name))
    return columns


def _column(name: str, columns: Sequence[Column]) -> Column | None:
    """Return the column of that name, or the first one that begins with it."""
    exact = [column for column in columns if column.name == name]
    return next(iter(exact or [column for column in columns if column.name.startswith(name)]), None)


def _sorted(rows: Sequence[Row], columns: Sequence[Column], sort: str | None) -> list[Row]:
    column = (_column(sort, columns) if sort else None) or columns[0]
    sign = 1 if column.lower_is_better else -1
    rated = [row for row in rows if column.name in row.statistics]
    ordered = sorted(rated, key=lambda row: sign * row.statistics[column.name].mean)
    return ordered + [row for row in rows if column.name not in row.statistics]


def _notes(runs: Sequence[FinishedRun], rows: Sequence[Row]) -> list[str]:
    notes = []
    single = [row.name for row in rows if not row.is_baseline and len(row.runs) == 1]
    if single:
        notes.append(f"only one run, so the variation over seeds is unknown: {', '.join(single)}")
    notes += [
        f"{row.name}: several runs with the same seed gave different encoders: {', '.join(row.runs)}"
        for row in rows
        if not row.is_baseline and len(set(row.seeds)) < len(row.seeds)
    ]
    if not any(row.is_baseline for row in rows):
        notes.append("no baselines: no run evaluated raw samples, PCA and random weights")
    counts = sorted({run.tested for run in runs})
    if len(counts) > 1:
        notes.append(f"the runs were evaluated on different numbers of test samples: {', '.join(map(str, counts))}")
    if runs[0].origin.startswith("<"):
        notes.append("the data was in memory, so it is assumed, but not checked, to be the same for all runs")
    return notes


def merge_notes(notes: Iterable[str]) -> list[str]:
    """Return each note once; notes that differ only in their numbers become one with the ranges."""
    alike: dict[tuple[str, ...], list[list[str]]] = {}
    for note in notes:
        parts = _NUMBER.split(note)
        alike.setdefault(tuple(parts[::2]), []).append(parts[1::2])
    merged = []
    for texts, numbers in alike.items():
        columns = [sorted(set(column), key=lambda number: float(number.replace(",", ""))) for column in zip(*numbers)]
        ranges = [column[0] if len(column) == 1 else f"{column[0]} to {column[-1]}" for column in columns]
        merged.append("".join(text + number for text, number in zip(texts, [*ranges, ""])))
    return merged


def _data_names(runs: Sequence[FinishedRun]) -> list[str]:
    """Return a name for each data set, with the options that differ if one source was opened in several ways."""
    names = []
    for run in runs:
        same_origin = [other for other in runs if other.origin == run.origin]
        differing = differing_settings([other.options for other in same_origin])
        parts = [f"{name.removeprefix('data.')}={run.options.get(name)}" for name in differing]
        parts += [f"{run.samples} samples"] if len({other.samples for other in same_origin}) > 1 else []
        names.append(f"{run.origin} ({', '.join(parts)})" if parts else run.origin)
    return names


def _common_name(folders: Sequence[str]) -> str:
    """Return the part that folder names share, such as ``fast`` for ``fast-seed-0`` and ``fast-seed-1``."""
    shared = {re.sub(r"[-_. ]*(seed)?[-_. ]*\d*$", "", name) for name in folders}
    return shared.pop() or folders[0] if len(shared) == 1 else folders[0]
