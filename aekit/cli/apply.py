"""`aekit apply`: apply a trained run to data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import aekit
from aekit.cli.options import (
    SEED,
    device_option,
    engine_options,
    examples,
    json_option,
    print_json,
    quiet_option,
    set_option,
    source_options,
)
from aekit.progress import Progress


@click.command(epilog=examples("apply run photos/ -o reconstructed", "apply run -o generated --task sample --count 16"))
@click.argument("run")
@click.argument("data", required=False)
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option(
    "--task",
    default="reconstruct",
    show_default=True,
    metavar="NAME",
    help="reconstruct, denoise, sample, interpolate; or a task that the run was trained for, such as inpaint.",
)
@click.option("--split", metavar="NAME", help="Use only this split of the data.")
@click.option(
    "--clean", metavar="TARGET", help="Restoration: clean samples to compare with, as data or a column of DATA."
)
@click.option(
    "--mask", metavar="TARGET", help="inpaint: the masks, as one image or array, or as data or a column of DATA."
)
@click.option(
    "--mask-value",
    metavar="VALUE",
    help="inpaint: the value of masked pixels in DATA: transparent, or a value such as 255,0,255.",
)
@click.option(
    "--demonstrate/--no-demonstrate",
    default=None,
    help="Pretext tasks: corrupt DATA as in training, then restore it.",
)
@click.option("--tile", type=int, help="Restoration: side of the tiles that large images are split into.")
@click.option("--baselines/--no-baselines", default=None, help="Compare with simple methods, such as PCA or filters.")
@click.option("--count", type=int, help="sample, interpolate: number of samples or pairs.")
@click.option("--seed", type=SEED, help="Seed of sample, interpolate and --demonstrate.")
@click.option(
    "--pair",
    "pairs",
    nargs=2,
    multiple=True,
    metavar="ID ID",
    help="interpolate: between these two samples; repeatable.",
)
@click.option("--steps", type=int, help="interpolate: number of samples from one end to the other.")
@click.option("--method", metavar="linear|spherical", help="interpolate: along a straight line or an arc.")
@device_option
@engine_options
@json_option("the result")
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
    """Apply the trained RUN to DATA.

    An autoencoder reconstructs, denoises, interpolates between samples, or generates new samples, which needs no DATA. A
    pretext task restores samples: it inpaints, colorizes, removes watermarks or upscales, as trained.
    """
    chosen = {name: value for name, value in settings.items() if value is not None}
    result = aekit.apply(
        run,
        data,
        task=task,
        out=out,
        split=split,
        options=source_options(overrides),
        progress=progress,
        **chosen | ({"pairs": [list(pair) for pair in pairs]} if pairs else {}),
    )
    samples, image = Path(out) / str(result.samples_path), Path(out) / "image.png"
    if as_json:
        print_json(result.to_dict())
        return
    lines = [result.text(), f"{result.count} samples in {samples}; image in {image}"]
    click.echo("\n".join(filter(None, lines)))
