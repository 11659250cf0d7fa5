"""`aekit compare`: runs side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

import aekit
from aekit.io.atomic import write_text

LEAST, WIDEST = 80, 200


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--sort", metavar="COLUMN", help="Best of this column first; by default of the first evaluator.")
@click.option("--csv", type=click.Path(dir_okay=False), help="Write the figures as CSV.")
@click.option("--markdown", type=click.Path(dir_okay=False), help="Write the tables and what they say as Markdown.")
@click.option("--html", type=click.Path(dir_okay=False), help="Write a page with the intervals drawn.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(
    runs: tuple[str, ...], sort: str | None, csv: str | None, markdown: str | None, html: str | None, as_json: bool
) -> None:
    """Put finished RUNS side by side, each a run folder or a folder of runs.

    Runs that differ only in their seed are one row: mean, standard deviation, and the outermost ends of their 95 % intervals.
    """
    found = aekit.compare(runs, sort=sort)
    for path, made in ((csv, found.csv), (markdown, found.markdown), (html, found.html)):
        if path:
            write_text(Path(path), made())
    click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else found.text(terminal_width()))


def terminal_width() -> int:
    """Columns to fill: the terminal's, or 120 where there is none."""
    return min(max(shutil.get_terminal_size((120, 24)).columns, LEAST), WIDEST)
