"""`aekit apply`: use what a run has trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import aekit
from aekit.cli.options import device_option, quiet_option, set_option, source_options
from aekit.progress import Progress


@click.command()
@click.argument("run")
@click.argument("data", required=False)
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option(
    "--task",
    default="reconstruct",
    show_default=True,
    metavar="NAME",
    help="reconstruct, denoise, sample, interpolate; or what a pretext task of the run restores, such as inpaint.",
)
@click.option("--split", metavar="NAME", help="Only this split of a data set that has splits.")
@click.option("--clean", metavar="TARGET", help="To restore: the undamaged samples, as data or as a column of DATA.")
@click.option(
    "--mask", metavar="TARGET", help="inpaint: the holes, as one image or array, as data or as a column of DATA."
)
@click.option(
    "--mask-value", metavar="VALUE", help="inpaint: what a hole is: transparent, or a value of DATA such as 255,0,255."
)
@click.option(
    "--demonstrate/--no-demonstrate",
    default=None,
    help="Pretext tasks: DATA is undamaged; damage it as in training, restore it, and compare.",
)
@click.option("--tile", type=int, help="To restore: side of the pieces that large images are done in.")
@click.option(
    "--baselines/--no-baselines",
    default=None,
    help="Compare with simple methods: PCA for reconstruct, filters and fills for restoration.",
)
@click.option("--count", type=int, help="sample, interpolate: how many samples, or pairs.")
@click.option("--seed", type=int, help="sample, interpolate, --demonstrate: of what is drawn.")
@click.option("--pair", "pairs", nargs=2, multiple=True, metavar="ID ID", help="interpolate: these; may be repeated.")
@click.option("--steps", type=int, help="interpolate: from one sample to the other.")
@click.option("--method", metavar="linear|spherical", help="interpolate: along the line or the arc.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of a table.")
@set_option("data.images.size=96")
@quiet_option
def apply(
    run: str,
    data: str | None,
    out: str,
    task: str,
    split: str | None,
    pairs: tuple[tuple[str, str], ...],
    as_json: bool,
    overrides: dict[str, Any],
    progress: Progress,
    **settings: Any,
) -> None:
    """Apply what RUN has trained to DATA.

    An autoencoder reconstructs, denoises, interpolates between samples, or samples new ones, for which no DATA is
    needed. A pretext task that restores samples does so: it fills holes, colors images, removes marks, enlarges.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    made = aekit.apply(
        run,
        data,
        task=task,
        out=out,
        split=split,
        options=source_options(overrides),
        progress=progress,
        **given | ({"pairs": [list(pair) for pair in pairs]} if pairs else {}),
    )
    place, image = Path(out) / str(made.samples_path), Path(out) / "image.png"
    told = [made.text(), f"{made.count} samples in {place}, an image in {image}"]
    click.echo(json.dumps(made.to_dict(), indent=2) if as_json else "\n".join(filter(None, told)))
