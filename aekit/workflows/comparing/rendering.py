"""Runs side by side, as text for a terminal, CSV, Markdown, and a page of HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from aekit.visualization.charts import intervals
from aekit.visualization.page import Page, card, sentences, side_by_side, table
from aekit.workflows.comparing.rankings import table_sentences
from aekit.workflows.comparing.tables import Column, Row, Table

_FORMAT = {
    "score": ".4f",
    "share": ".4f",
    "error": ".4g",
    "decibel": ".2f",
    "seconds": ",.1f",
    "count": ",.0f",
    "rate": ",.0f",
}


def as_text(tables: Sequence[Table], skipped: Mapping[str, str], width: int) -> str:
    """Columns that do not fit beside each other go below, beside the names again."""
    parts = ["\n".join([one.data, *_blocks(one, width), "", *table_sentences(one)]) for one in tables]
    return "\n\n".join([*parts, *filter(None, ["\n".join(_left_out(skipped))])])


def as_csv(tables: Sequence[Table], skipped: Mapping[str, str]) -> str:
    """A line for each row; a score has its mean, deviation and interval in columns of their own."""
    columns = list(dict.fromkeys(column for one in tables for column in one.columns))
    head = ["data", "name", "control", "seeds"]
    for column in columns:
        parts = ["", " sd", " low", " high"] if column.kind == "score" else ["", " sd"]
        head += [f"{column.name}{part}" for part in parts]
    written = io.StringIO()
    out = csv.DictWriter(written, head, lineterminator="\n")
    out.writeheader()
    for one in tables:
        for row in one.rows:
            line: dict[str, object] = {"data": one.data, "name": row.name, "control": str(row.is_baseline).lower()}
            line["seeds"] = _seeds(row.seeds)
            for name, figure in row.statistics.items():
                found = {"": figure.mean, " sd": figure.deviation, " low": figure.low, " high": figure.high}
                line |= {f"{name}{part}": value for part, value in found.items() if f"{name}{part}" in head}
            out.writerow(line)
    return written.getvalue()


def as_markdown(tables: Sequence[Table], skipped: Mapping[str, str]) -> str:
    """A table and a list of sentences for each data set."""
    parts = []
    for one in tables:
        head, *rows = _cells(one)
        lines = [head, ["---"] * len(head), *rows]
        drawn = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        parts.append("\n".join([f"**{one.data}**", "", *drawn, "", *(f"- {line}" for line in table_sentences(one))]))
    parts += filter(None, ["\n".join(f"- {line}" for line in _left_out(skipped))])
    return "\n\n".join(parts) + "\n"


def as_page(tables: Sequence[Table], skipped: Mapping[str, str]) -> str:
    """A self-contained page, with the intervals drawn."""
    encoders = sum(not row.is_baseline for one in tables for row in one.rows)
    subtitle = f"{encoders} encoders; mean, standard deviation and outermost 95 % interval over the seeds of each"
    page = Page("Runs side by side", subtitle)
    for one in tables:
        head, *rows = _cells(one)
        figures = table([dict(zip(head, row)) for row in rows])
        page.add("", card(one.data, "", figures, sentences(table_sentences(one))))
        drawn = [_intervals(one.rows, column) for column in one.columns if column.kind == "score"]
        if drawn:
            page.add("", card("Intervals", "The dot is the mean; controls are gray.", side_by_side(*drawn, least=390)))
        differs: list[dict[str, object]] = [
            {"row": row.name, "runs": ", ".join(row.runs), **_settings(row, one)} for row in one.rows
        ]
        below = "Settings in which the recipes differ, and the runs of each row."
        page.add("", card("What differs", below, table(differs)))
    if skipped:
        page.add("", card("Left out", "", sentences(_left_out(skipped))))
    return page.html()


def _blocks(one: Table, width: int) -> list[str]:
    """The table, in as many blocks of columns as the width asks for."""
    columns = list(zip(*_cells(one)))
    sizes = [max(map(len, column)) for column in columns]
    fixed, first = 2, sizes[0] + sizes[1] + 4  # the name and the seeds stand in every block
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


def _cells(one: Table) -> list[list[str]]:
    """The heads, and the cells of each row."""
    rows = [[row.name, _seeds(row.seeds), *(_said(row, column) for column in one.columns)] for row in one.rows]
    return [["", "seeds", *(column.name for column in one.columns)], *rows]


def _said(row: Row, column: Column) -> str:
    """``0.8659 ± 0.0033 [0.8551, 0.8747]``."""
    figure, how = row.statistics.get(column.name), _FORMAT[column.kind]
    if figure is None:
        return ""
    # That the runs of one recipe have equally many parameters goes without saying.
    silent = figure.deviation is None or (column.kind == "count" and not figure.deviation)
    sure = "" if silent else f" ± {format(figure.deviation, '.2g' if column.kind == 'error' else how)}"
    interval = "" if figure.low is None else f" [{format(figure.low, how)}, {format(figure.high, how)}]"
    return f"{format(figure.mean, how)}{sure}{interval}"


def _seeds(seeds: Sequence[int]) -> str:
    """``0-2``, or ``0, 4, 7`` where there are gaps."""
    whole = len(seeds) > 2 and sorted(seeds) == list(range(min(seeds), max(seeds) + 1))
    return f"{min(seeds)}-{max(seeds)}" if whole else ", ".join(map(str, seeds))


def _left_out(skipped: Mapping[str, str]) -> list[str]:
    return [f"left out {folder}: {why}" for folder, why in skipped.items()]


def _settings(row: Row, one: Table) -> dict[str, str]:
    names = dict.fromkeys(name for other in one.rows for name in other.settings)
    return {name: str(row.settings.get(name, "")) for name in names}


def _intervals(rows: Sequence[Row], column: Column) -> str:
    found = {row.name: (row.statistics[column.name], row.is_baseline) for row in rows if column.name in row.statistics}
    return intervals({who: (f.mean, f.low, f.high, control) for who, (f, control) in found.items()}, column.name, 4)
