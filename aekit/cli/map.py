"""`aekit map`: samples as points in the plane."""

from __future__ import annotations

from pathlib import Path

import click

import aekit
from aekit.cli.options import quiet_option
from aekit.progress import Progress


@click.command()
@click.argument("embeddings")
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="Image to write, .png.")
@click.option("--html", type=click.Path(dir_okay=False), help="Page to write, to look through the map in a browser.")
@click.option(
    "--method",
    type=click.Choice(["auto", "pca", "tsne", "umap"]),
    default="auto",
    show_default=True,
    help="How the plane is made; auto: t-SNE, or the code itself where it has two numbers.",
)
@click.option("--max-samples", type=click.IntRange(min=3), default=5000, show_default=True, help="Samples shown.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of t-SNE and UMAP.")
@quiet_option
def map(
    embeddings: str, out: str | None, html: str | None, method: str, max_samples: int, seed: int, progress: Progress
) -> None:
    """Draw EMBEDDINGS, or the data that a RUN was trained on, as a map in two dimensions.

    An image shows the map beside principal components; the coordinates go into a Parquet file beside the image. A page
    shows each sample and its neighbors at its point.
    """
    if out is None and html is None:
        raise click.UsageError("expected -o IMAGE.png, --html PAGE.html or both")
    found = aekit.draw_map(
        embeddings, out=out, html=html, method=method, max_samples=max_samples, seed=seed, progress=progress
    )
    if out is not None:
        beside = "" if found.titles[0].startswith("principal") else f", beside the {found.titles[1]}"
        click.echo(f"{len(found.ids)} samples in {out}: {found.titles[0]}{beside}")
        click.echo(f"coordinates in {Path(out).with_suffix('.parquet')}")
    if html is not None:
        click.echo(f"{len(found.ids)} samples in {html}: {found.titles[0]}")
