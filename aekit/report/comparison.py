"""Runs side by side, as text for a terminal, CSV, Markdown, and a page of HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape

from aekit.comparing.comparison import Column, Comparison, Row, Table
from aekit.report.page import heading, page, table

_FORMAT = {
    "score": ".4f",
    "share": ".4f",
    "error": ".4g",
    "decibel": ".2f",
    "seconds": ",.1f",
    "count": ",.0f",
    "rate": ",.0f",
}


def as_text(comparison: Comparison, width: int) -> str:
    """Columns that do not fit beside each other go below, beside the names again."""
    parts = ["\n".join([one.data, *_blocks(one, width), "", *one.words()]) for one in comparison.tables]
    return "\n\n".join([*parts, *filter(None, ["\n".join(_left_out(comparison))])])


def as_csv(comparison: Comparison) -> str:
    """A line for each row; a score has its mean, deviation and interval in columns of their own."""
    columns = list(dict.fromkeys(column for one in comparison.tables for column in one.columns))
    head = ["data", "name", "control", "seeds"]
    for column in columns:
        parts = ["", " sd", " low", " high"] if column.kind == "score" else ["", " sd"]
        head += [f"{column.name}{part}" for part in parts]
    written = io.StringIO()
    out = csv.DictWriter(written, head, lineterminator="\n")
    out.writeheader()
    for one in comparison.tables:
        for row in one.rows:
            line: dict[str, object] = {"data": one.data, "name": row.name, "control": str(row.control).lower()}
            line["seeds"] = _seeds(row.seeds)
            for name, figure in row.figures.items():
                found = {"": figure.mean, " sd": figure.deviation, " low": figure.low, " high": figure.high}
                line |= {f"{name}{part}": value for part, value in found.items() if f"{name}{part}" in head}
            out.writerow(line)
    return written.getvalue()


def as_markdown(comparison: Comparison) -> str:
    """A table and a list of sentences for each data set."""
    parts = []
    for one in comparison.tables:
        head, *rows = _cells(one)
        lines = [head, ["---"] * len(head), *rows]
        drawn = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        parts.append("\n".join([f"**{one.data}**", "", *drawn, "", *(f"- {line}" for line in one.words())]))
    parts += filter(None, ["\n".join(f"- {line}" for line in _left_out(comparison))])
    return "\n\n".join(parts) + "\n"


def as_page(comparison: Comparison) -> str:
    """A self-contained page, with the intervals drawn."""
    parts = []
    for one in comparison.tables:
        head, *rows = _cells(one)
        parts.append(heading(one.data))
        parts += [_intervals(one.rows, column) for column in one.columns if column.kind == "score"]
        parts.append(table([dict(zip(head, row)) for row in rows]))
        parts.append(_paragraphs(one.words()))
        differs: list[dict[str, object]] = [
            {"row": row.name, "runs": ", ".join(row.runs), **_settings(row, one)} for row in one.rows
        ]
        parts += [
            heading("What differs", "Settings in which the recipes differ, and the runs of each row."),
            table(differs),
        ]
    if comparison.left_out:
        parts += [heading("Left out"), _paragraphs(_left_out(comparison))]
    encoders = sum(not row.control for one in comparison.tables for row in one.rows)
    subtitle = f"{encoders} encoders; mean, standard deviation and outermost 95 % interval over the seeds of each"
    return page("Runs side by side", subtitle, *parts)


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
    figure, how = row.figures.get(column.name), _FORMAT[column.kind]
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


def _left_out(comparison: Comparison) -> list[str]:
    return [f"left out {folder}: {why}" for folder, why in comparison.left_out.items()]


def _settings(row: Row, one: Table) -> dict[str, str]:
    names = dict.fromkeys(name for other in one.rows for name in other.settings)
    return {name: str(row.settings.get(name, "")) for name in names}


def _paragraphs(lines: Sequence[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _intervals(rows: Sequence[Row], column: Column) -> str:
    """A line from end to end of each interval, with the mean on it; grey for controls."""
    found = [(row, row.figures[column.name]) for row in rows if column.name in row.figures]
    reach = [(f.mean if f.low is None else f.low, f.mean if f.high is None else f.high) for _, f in found]
    left, right = min(low for low, _ in reach), max(high for _, high in reach)
    names, wide, step, top = 20 + 7 * max(len(row.name) for row, _ in found), 960, 22, 26

    def across(value: float) -> float:
        return names + (value - left) / max(right - left, 1e-12) * (wide - names - 20)

    drawn = [
        f'<text x="{names}" y="14" font-size="13" font-weight="600" fill="currentColor">{escape(column.name)}</text>'
    ]
    for number, ((row, figure), (low, high)) in enumerate(zip(found, reach)):
        y, colour = top + step * number + 8, "#8a9097" if row.control else "#3a7bd5"
        drawn.append(f'<text x="0" y="{y + 4}" font-size="12" fill="currentColor">{escape(row.name)}</text>')
        drawn.append(f'<path d="M{across(low):.1f} {y}H{across(high):.1f}" stroke="{colour}" stroke-width="3"/>')
        drawn.append(f'<circle cx="{across(figure.mean):.1f}" cy="{y}" r="5" fill="{colour}"/>')
    foot = top + step * len(found) + 12
    for value, anchor in ((left, "start"), (right, "end")):
        place = f'x="{across(value):.1f}" y="{foot}" text-anchor="{anchor}"'
        drawn.append(f'<text {place} font-size="11" fill="currentColor">{value:.4f}</text>')
    box = f'viewBox="0 0 {wide} {foot + 6}" style="max-width:{wide}px"'
    return f'<svg class="chart" {box} role="img" aria-label="{escape(column.name)}">{"".join(drawn)}</svg>'
