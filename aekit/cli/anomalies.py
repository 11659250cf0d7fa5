"""`aekit anomalies`: find anomalies."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import (
    baselines_option,
    device_option,
    engine_options,
    examples,
    json_option,
    print_json,
    quiet_option,
    seed_option,
    set_option,
    source_options,
)
from aekit.progress import Progress


@click.command(
    epilog=examples(
        "anomalies run photos/ -o anomalies", "anomalies run parts/ -o anomalies --normal good --threshold 0.01"
    )
)
@click.argument("run")
@click.argument("data")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option("--normal", multiple=True, metavar="LABEL", help="Label of normal samples; repeatable.")
@click.option(
    "--detector",
    type=click.Path(),
    help="Detector folder that an earlier call wrote; by default one is fitted.",
)
@click.option("--reference", metavar="DATA", help="Normal samples to fit on; by default the training data of RUN.")
@click.option(
    "--threshold",
    type=float,
    metavar="RATE",
    help="Flag samples as anomalies at this false-alarm rate, such as 0.01; by default, only score them.",
)
@click.option(
    "--calibration",
    metavar="DATA",
    help="Unseen normal samples that set the threshold; by default a third of the reference.",
)
@click.option("--split", metavar="NAME", help="Use only this split of the data.")
@click.option(
    "--heatmaps", type=int, metavar="N", help="Draw heat maps of the N most anomalous images; 0: none.  [default: 24]"
)
@click.option(
    "--patches/--no-patches",
    default=None,
    help="Score images by their most anomalous patch too; by default if there are masks, or few images.",
)
@click.option(
    "--masks",
    type=click.Path(),
    metavar="FOLDER",
    help="Masks of the anomalies in images; by default the folder ground_truth next to the images.",
)
@baselines_option("Compare with PCA, isolation forest and raw distances.")
@seed_option("the isolation forest and of resampling")
@device_option
@engine_options
@json_option("the result")
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
    """Score how anomalous each sample of DATA is, by RUN's reconstruction error and embedding.

    If labels are 0 for normal samples and 1 for anomalies, or --normal names the normal labels, the scores are evaluated
    and compared with baseline detectors.
    """
    options = source_options(overrides)
    detection = aekit.find_anomalies(
        run, data, out=out, normal=normal or None, options=options, progress=progress, **settings
    )
    if as_json:
        print_json(detection.to_dict())
        return
    click.echo(detection.text())
    click.echo(f"{len(detection.ids)} samples, most anomalous first, in {out}/scores.csv; page in {out}/report.html")
    if detection.heatmaps is not None:
        click.echo(f"{len(detection.heatmaps.ids)} heat maps in {out}/heatmaps, and on the page")
