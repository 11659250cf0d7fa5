"""`aekit fit`: train an encoder without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import aekit
from aekit._lazy import QuickImports
from aekit.cli.console import suggest
from aekit.cli.options import (
    SEED,
    examples,
    json_option,
    print_json,
    processes_option,
    quiet_option,
    run_device_option,
    set_option,
    without_results,
)
from aekit.io.shell import command_line
from aekit.progress import Progress, warn


@click.command(
    epilog=examples(
        "fit photos/ -o run",
        "fit sensors.csv -o run --variant denoising --dim 32",
        "fit recipe.toml -o run --set train.lr=1e-3 --resume",
    )
)
@click.argument("recipe_or_data")
@click.option("-o", "--out", required=True, type=click.Path(), help="Run folder to write.")
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Autoencoder variant; repeatable.")
@click.option("--pretext", "pretexts", multiple=True, metavar="NAME", help="Pretext task; repeatable.")
@click.option("--backbone", metavar="NAME", help="Network; by default one that suits the kind of data.")
@click.option(
    "--dim",
    type=click.IntRange(min=0),
    help="Dimensions of the embedding; 0: the backbone's features.  [default: 64; for tables: 4 per column, 64 to 256]",
)
@click.option(
    "--epochs", type=click.IntRange(min=0), help="Passes over the data; by default about 3000 steps in total."
)
@click.option("--seed", type=SEED, help="Seed of the weights, the order of samples and the noise.  [default: 0]")
@run_device_option("that of the recipe")
@json_option("results.json")
@set_option("train.lr=1e-3")
@processes_option("fit", " With --set train.sharding=full they share the backbone's weights too.")
@click.option("--resume", is_flag=True, help="Resume an interrupted run, or evaluate and report a trained one.")
@click.option("--no-report", is_flag=True, help="Do not write report.html; `aekit report` can write it later.")
@quiet_option
def fit(
    recipe_or_data: str,
    out: str,
    variants: tuple[str, ...],
    pretexts: tuple[str, ...],
    overrides: dict[str, Any],
    no_report: bool,
    as_json: bool,
    progress: Progress,
    **settings: Any,
) -> None:
    """Train an encoder without labels on RECIPE_OR_DATA.

    RECIPE_OR_DATA is a recipe (.toml), a folder of images, an array file, or SOURCE:NAME such as
    torchvision:FashionMNIST or sklearn:digits.
    """
    with QuickImports():
        from aekit.evaluation.run_results import read_results
        from aekit.io.torchrun import reports_to_another
        from aekit.workflows.saved_run import UnfinishedWarning, missing

    encoder = aekit.fit(
        recipe_or_data,
        variants=variants or None,
        pretexts=pretexts or None,
        overrides=overrides,
        out=out,
        report=not no_report,
        progress=without_results(progress, as_json),
        **settings,
    )
    if reports_to_another():
        return
    if as_json:
        print_json(read_results(Path(out)))
        return
    click.echo(f"encoder {encoder.digest[:12]}: {encoder.spec} -> {encoder.dim} dimensions, in {out}/encoder")
    for name, value in encoder.record.get("metrics", {}).items():
        click.echo(f"  {name.replace('_', ' ')}: {value:g}{_meaning(name, encoder.dim)}")
    origin = encoder.record.get("data", {})
    if lacking := missing(Path(out), report=not no_report):
        warn(f"{out} has no {' and no '.join(lacking)}; create with: {command_line('report', out)}", UnfinishedWarning)
    # Such as the column of the labels, which the encoder does not know.
    settings_of_data = _overrides_of(origin.get("source", ""), origin.get("options", {}))
    data = origin.get("data", recipe_or_data)
    suggest(progress, command_line("embed", out, data, o=f"{out}-embeddings", set=settings_of_data))


def _overrides_of(source: str, options: dict[str, Any]) -> list[str]:
    """Return the options of a source as values of ``--set``."""
    return [
        f"data.{source}.{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in options.items()
    ]


def _meaning(name: str, dim: int) -> str:
    meanings = {
        "explained": " of the variance of the samples is explained by the reconstruction",
        "features_explained": " of the variance of the frozen features is explained by the reconstruction",
        "effective_rank": f" of {dim} dimensions in use",
        "dead_units": f" of {dim} dimensions are constant",
    }
    return meanings.get(name, "")
