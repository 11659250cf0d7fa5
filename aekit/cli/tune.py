"""`aekit tune`: search for the best recipe within a time budget."""

from __future__ import annotations

import time
from typing import Any

import click

import aekit
from aekit.cli.compare import terminal_width
from aekit.cli.console import suggest
from aekit.cli.options import (
    examples,
    json_option,
    labels_option,
    print_json,
    quiet_option,
    run_device_option,
    seed_option,
    set_option,
    without_results,
)
from aekit.io.shell import command_line
from aekit.progress import Progress

PURPOSES = ["retrieval", "classification", "clustering", "anomalies", "reconstruction"]


@click.command(
    epilog=examples("tune photos/ -o search --minutes 20", "tune photos/ -o search --minutes 60 --for retrieval")
)
@click.argument("data")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    help="Time budget, including the training and the evaluation of the winner.",
)
@labels_option
@click.option(
    "--for",
    "purpose",
    type=click.Choice(PURPOSES),
    help="What the encoder is for.  [default: classification; without labels, a label-free score]",
)
@click.option("--recipe", "recipes", multiple=True, type=click.Path(), help="Recipe to try too; repeatable.")
@seed_option("the split, the search and all trainings")
@run_device_option("auto")
@json_option("the result")
@set_option("train.batch_size=64")
@quiet_option
def tune(data: str, out: str, as_json: bool, progress: Progress, **settings: Any) -> None:
    """Search for the best recipe for DATA within a time budget.

    It trains the winner, and evaluates it on samples that no candidate saw, next to the default recipe and the baselines. The
    winner's run is OUT/best, its recipe OUT/best.toml. Run the same command again to resume.
    """
    started = time.monotonic()  # before torch is imported
    result = aekit.tune(data, out, started=started, progress=without_results(progress, as_json), **settings)
    if as_json:
        print_json(result.to_dict())
        return
    click.echo(result.text(terminal_width()))
    suggest(progress, command_line("embed", result.run, data, o=f"{out}-embeddings"))
