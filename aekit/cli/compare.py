"""`aekit compare`: compare runs."""

from __future__ import annotations

import shutil

import click

import aekit
from aekit.cli.options import examples, json_option, print_json
from aekit.io.atomic import write_text
from aekit.io.remote import output_file

MIN_WIDTH, MAX_WIDTH = 80, 200


@click.command(epilog=examples("compare runs/ --html comparison.html"))
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option(
    "--sort", metavar="COLUMN", help="Sort by this column, best first; by default that of the first evaluator."
)
@click.option("--csv", type=click.Path(dir_okay=False), help="Write the values as CSV.")
@click.option("--markdown", type=click.Path(dir_okay=False), help="Write the tables and their summary as Markdown.")
@click.option("--html", type=click.Path(dir_okay=False), help="Write an HTML page with the intervals plotted.")
@json_option("the comparison")
def compare(
    runs: tuple[str, ...], sort: str | None, csv: str | None, markdown: str | None, html: str | None, as_json: bool
) -> None:
    """Compare finished RUNS, each a run folder or a folder of runs.

    Runs that differ only in their seed share a row, which shows the mean, the standard deviation and the outer bounds of
    their 95% intervals.
    """
    comparison = aekit.compare(runs, sort=sort)
    for path, render in ((csv, comparison.csv), (markdown, comparison.markdown), (html, comparison.html)):
        if path:
            with output_file(path) as file:
                write_text(file, render())
    print_json(comparison.to_dict()) if as_json else click.echo(comparison.text(terminal_width()))


def terminal_width() -> int:
    """Return the width of the terminal in columns, or 120 without one."""
    return min(max(shutil.get_terminal_size((120, 24)).columns, MIN_WIDTH), MAX_WIDTH)
