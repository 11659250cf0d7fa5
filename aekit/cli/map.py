"""`aekit map`: samples as points in the plane."""

from __future__ import annotations

from pathlib import Path

import click

from aekit.cli.options import Progress, quiet_option
from aekit.mapping import draw_map


@click.command()
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False), help="Picture to write, .png.")
@click.option("--most", type=click.IntRange(min=3), default=5000, show_default=True, help="Samples shown.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of t-SNE.")
@quiet_option
def map(embeddings: str, out: str, most: int, seed: int, progress: Progress) -> None:
    """Draw EMBEDDINGS, or the data that a RUN was trained on, as a map in two dimensions.

    A code of two numbers is drawn as it is, beside principal components of the samples; one of more by t-SNE, beside
    principal components of the code. The coordinates go into a Parquet file beside the picture.
    """
    found = draw_map(embeddings, out=out, most=most, seed=seed, progress=progress)
    click.echo(f"{len(found.ids)} samples in {out}: {found.titles[0]}, beside the {found.titles[1]}")
    click.echo(f"coordinates in {Path(out).with_suffix('.parquet')}")
