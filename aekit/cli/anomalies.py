"""`aekit anomalies`: find the odd ones."""

from __future__ import annotations

import json
from typing import Any

import click

import aekit
from aekit.cli.options import device_option, quiet_option, set_option, source_options
from aekit.progress import Progress


@click.command()
@click.argument("run")
@click.argument("data")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option("--normal", multiple=True, metavar="LABEL", help="A label of normal samples; may be repeated.")
@click.option("--detector", type=click.Path(), help="Use the detector in this folder again, instead of fitting one.")
@click.option("--reference", metavar="DATA", help="Normal samples to fit on, instead of what RUN was trained on.")
@click.option("--split", metavar="NAME", help="Only this split of a data set that has splits.")
@click.option("--baselines/--no-baselines", default=True, show_default=True, help="PCA, forest, raw distances too.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of forest and resampling.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of a table.")
@set_option("data.images.size=96")
@quiet_option
def anomalies(
    run: str,
    data: str,
    out: str,
    normal: tuple[str, ...],
    as_json: bool,
    overrides: dict[str, Any],
    progress: Progress,
    **settings: Any,
) -> None:
    """Score how odd each sample of DATA is for RUN, by its reconstruction and its code.

    Where labels are 0 for normal samples and 1 for anomalies, or --normal says which are normal, the scores are judged,
    beside detectors that need no training.
    """
    options = source_options(overrides)
    found = aekit.find_anomalies(
        run, data, out=out, normal=normal or None, options=options, progress=progress, **settings
    )
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else found.text())
    if not as_json:
        click.echo(f"{len(found.ids)} samples, the oddest first, in {out}/scores.csv, an image in {out}/image.png")
