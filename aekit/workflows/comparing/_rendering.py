"""Render a comparison of runs as text for a terminal, as CSV, as Markdown and as an HTML page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from aekit.io.csv_files import csv_text
from aekit.visualization.charts import intervals
from aekit.visualization.page import Page, card, headline, sentences, side_by_side, table as html_table
from aekit.workflows.comparing._rankings import table_conclusion, table_sentences
from aekit.workflows.comparing._tables import Column, Row, Table

_FORMAT = {
    "score": ".4f",
    "fraction": ".4f",
    "error": ".4g",
    "decibel": ".2f",
    "seconds": ",.1f",
    "count": ",.0f",
    "rate": ",.0f",
}


def as_text(tables: Sequence[Table], skipped: Mapping[str, str], width: int) -> str:
    """Render the conclusion, the table and the sentences of each data set.

    Args:
        tables: one for each data set.
        skipped: folder -> why it is in no table.
        width: columns of the terminal; table columns that do not fit go below, next to the names again.
    """
    parts = []
    for table in tables:
        conclusion = textwrap.wrap(f"{table.data}: {table_conclusion(table)}", width)
        parts.append("\n".join([*conclusion, "", *_blocks(table, width), "", *table_sentences(table)]))
    return "\n\n".join([*parts, *filter(None, ["\n".join(_skipped_lines(skipped))])])


def as_csv(tables: Sequence[Table]) -> str:
    """Render a line for each row; a score has its mean, deviation and interval in separate columns."""
    head = column_names(tables)
    records = [record | {"is_baseline": str(record["is_baseline"]).lower()} for record in as_records(tables)]
    return csv_text(head, [[_blank(record.get(name)) for name in head] for record in records])


def _blank(value: object) -> object:
    return "" if value is None else value


def column_names(tables: Sequence[Table]) -> list[str]:
    """Return the names of the columns of `as_csv`."""
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    head = ["data", "name", "is_baseline", "seeds"]
    for column in columns:
        parts = ["", " sd", " low", " high"] if column.kind == "score" else ["", " sd"]
        head += [f"{column.name}{part}" for part in parts]
    return head


def as_records(tables: Sequence[Table]) -> list[dict[str, object]]:
    """Return the values of each row by column."""
    head, records = column_names(tables), []
    for table in tables:
        for row in table.rows:
            line: dict[str, object] = {"data": table.data, "name": row.name}
            line |= {"is_baseline": row.is_baseline, "seeds": _seeds(row.seeds)}
            for name, statistic in row.statistics.items():
                values = {
                    "": statistic.mean,
                    " sd": statistic.deviation,
                    " low": statistic.low,
                    " high": statistic.high,
                }
                line |= {f"{name}{part}": value for part, value in values.items() if f"{name}{part}" in head}
            records.append({name: line.get(name) for name in head})
    return records


def shown_rows(tables: Sequence[Table]) -> list[dict[str, str]]:
    """Return the cells of each row by column, as `as_text` prints them."""
    rows = []
    for table in tables:
        head, *cells = _cells(table)
        data = {"data": table.data} if len(tables) > 1 else {}
        rows += [data | dict(zip(head, line)) for line in cells]
    return rows


def as_markdown(tables: Sequence[Table], skipped: Mapping[str, str]) -> str:
    """Render the conclusion, a table and a list of sentences for each data set."""
    parts = []
    for table in tables:
        head, *rows = _cells(table)
        lines = [head, ["---"] * len(head), *rows]
        drawn = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        listed = [f"- {sentence}" for sentence in table_sentences(table)]
        parts.append("\n".join([f"**{table.data}**: {table_conclusion(table)}", "", *drawn, "", *listed]))
    parts += filter(None, ["\n".join(f"- {line}" for line in _skipped_lines(skipped))])
    return "\n\n".join(parts) + "\n"


def as_page(tables: Sequence[Table], skipped: Mapping[str, str]) -> str:
    """Render a self-contained HTML page with the intervals plotted."""
    encoders = sum(not row.is_baseline for table in tables for row in table.rows)
    subtitle = f"{encoders} encoders; mean, standard deviation and outermost 95% interval over the seeds of each"
    page = Page("Comparison of runs", subtitle)
    for table in tables:
        head, *rows = _cells(table)
        values = html_table([dict(zip(head, row)) for row in rows])
        data = f"{table.data}: " if len(tables) > 1 else ""
        page.add("", headline(f"{data}{table_conclusion(table)}", "notice"))
        plots = [_intervals(table.rows, column) for column in table.columns if column.kind == "score"]
        if plots:
            legend = "The dot is the mean; baselines are gray."
            page.add("", card("Intervals", legend, side_by_side(*plots, least=390)))
        page.add("", card(table.data, "", values))
        page.add("", card("Significant differences", "", sentences(table_sentences(table))))
        differences: list[dict[str, object]] = [
            {"row": row.name, "runs": ", ".join(row.runs), **_settings(row, table)} for row in table.rows
        ]
        below = "Settings in which the recipes differ, and the runs of each row."
        page.add("", card("Differences between the recipes", below, html_table(differences)))
    if skipped:
        page.add("", card("Skipped", "", sentences(_skipped_lines(skipped))))
    return page.html()


def _blocks(table: Table, width: int) -> list[str]:
    """Return the lines of the table, in as many blocks of columns as the width requires."""
    columns = list(zip(*_cells(table)))
    sizes = [max(map(len, column)) for column in columns]
    fixed, first = 2, sizes[0] + sizes[1] + 4  # the name and the seeds are in every block
    blocks: list[list[int]] = [[]]
    for number in range(fixed, len(columns)):
        used = first + sum(sizes[i] + 2 for i in blocks[-1])
        if blocks[-1] and used + sizes[number] > width:
            blocks.append([])
        blocks[-1].append(number)
    lines: list[str] = []
    for block in blocks:
        lines += [""] if lines else []
        for row in zip(*columns):
            if any(row[i] for i in block):
                cells = [row[i].rjust(sizes[i]) for i in (1, *block)]
                lines.append("  ".join([row[0].ljust(sizes[0]), *cells]).rstrip())
    return lines


def _cells(table: Table) -> list[list[str]]:
    """Return the column titles and the cells of each row."""
    rows = [[row.name, _seeds(row.seeds), *(_cell(row, column) for column in table.columns)] for row in table.rows]
    seeds = "seeds" if any(len(row.seeds) > 1 for row in table.rows) else "seed"
    return [["", seeds, *(column.name for column in table.columns)], *rows]


def _cell(row: Row, column: Column) -> str:
    """Format a statistic as ``0.8659 ± 0.0033 [0.8551, 0.8747]``."""
    statistic, form = row.statistics.get(column.name), _FORMAT[column.kind]
    if statistic is None:
        return ""
    # Runs of one recipe have the same number of parameters, so their deviation of 0 is no news.
    silent = statistic.deviation is None or (column.kind == "count" and not statistic.deviation)
    deviation = "" if silent else f" ± {format(statistic.deviation, '.2g' if column.kind == 'error' else form)}"
    interval = "" if statistic.low is None else f" [{format(statistic.low, form)}, {format(statistic.high, form)}]"
    return f"{format(statistic.mean, form)}{deviation}{interval}"


def _seeds(seeds: Sequence[int]) -> str:
    """Format seeds as ``0-2``, or as ``0, 4, 7`` if there are gaps."""
    contiguous = len(seeds) > 2 and sorted(seeds) == list(range(min(seeds), max(seeds) + 1))
    return f"{min(seeds)}-{max(seeds)}" if contiguous else ", ".join(map(str, seeds))


def _skipped_lines(skipped: Mapping[str, str]) -> list[str]:
    return [f"skipped {folder}: {reason}" for folder, reason in skipped.items()]


def _settings(row: Row, table: Table) -> dict[str, str]:
    names = dict.fromkeys(name for other in table.rows for name in other.settings)
    values = {name: row.settings.get(name, "") for name in names}
    return {name: ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v) for name, v in values.items()}


def _intervals(rows: Sequence[Row], column: Column) -> str:
    drawn = {}
    for row in rows:
        if statistic := row.statistics.get(column.name):
            drawn[row.name] = (statistic.mean, statistic.low, statistic.high, row.is_baseline)
    return intervals(drawn, column.name, 4)
