"""`aekit report`: rebuild the report of a run."""

from __future__ import annotations

import click

import aekit
from aekit._lazy import QuickImports
from aekit.cli.options import examples, json_option, print_json, quiet_option, without_results
from aekit.progress import Progress, warn


@click.command(epilog=examples("report run", "report run --thorough"))
@click.argument("run", type=click.Path())
@click.option(
    "--thorough",
    is_flag=True,
    help="Evaluate a short run too, and lay out its map by t-SNE; by default the report costs about a tenth of the run.",
)
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps; by default the device of the recipe.")
@json_option("the path of the report and what is missing")
@quiet_option
def report(run: str, thorough: bool, device: str | None, as_json: bool, progress: Progress) -> None:
    """Rebuild RUN/report.html from the run and its data.

    It runs the evaluators of the recipe only if RUN/results.json has no evaluation.
    """
    with QuickImports():
        from aekit.workflows.saved_run import UnfinishedWarning, missing

    page = aekit.make_report(run, thorough=thorough, device=device, progress=without_results(progress, as_json))
    if lacking := missing(page.parent):
        warn(f"{run} has no {' and no '.join(lacking)}", UnfinishedWarning)
    print_json({"report": page, "missing": lacking}) if as_json else click.echo(page)
