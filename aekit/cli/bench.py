"""`aekit bench`: fit recipes over several seeds and compare them."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.compare import terminal_width
from aekit.cli.console import suggest
from aekit.cli.options import (
    examples,
    json_option,
    print_json,
    quiet_option,
    run_device_option,
    set_option,
    without_results,
)
from aekit.errors import RecipeError
from aekit.io.shell import command_line
from aekit.progress import Progress


@click.command(epilog=examples("bench recipes/ -o runs --seeds 5"))
@click.argument("recipes", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder for the runs.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Number of seeds for each recipe."
)
@run_device_option("those of the recipes")
@json_option("the comparison")
@set_option("train.epochs=5")
@quiet_option
def bench(
    recipes: tuple[str, ...],
    out: str,
    seeds: int,
    device: str | None,
    as_json: bool,
    overrides: dict[str, Any],
    progress: Progress,
) -> None:
    """Fit RECIPES, each with several seeds, and compare them.

    A recipe is a .toml file or a folder of them. The runs are OUT/RECIPE-seed-0 and so on. Run the same command again to
    resume: finished runs are skipped.
    """
    settings = overrides | ({"train.device": device} if device else {})
    result = aekit.bench(recipes, out, seeds=seeds, overrides=settings, progress=without_results(progress, as_json))
    if as_json:
        print_json((result.comparison.to_dict() if result.comparison else {}) | {"failed": result.failed})
    elif result.comparison:
        click.echo(result.comparison.text(terminal_width()))
        suggest(progress, command_line("compare", out, html="comparison.html"))
    if result.failed:
        raise RecipeError([f"{name}: {line}" for name, reason in result.failed.items() for line in reason.splitlines()])
