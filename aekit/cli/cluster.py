"""`aekit cluster`: groups that nobody named."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import quiet_option
from aekit.io.text_table import format_columns
from aekit.progress import Progress


@click.command()
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option("-k", "--clusters", type=click.IntRange(min=2), help="How many; by default chosen by the silhouette.")
@click.option(
    "--method",
    type=click.Choice(["kmeans", "hdbscan"]),
    default="kmeans",
    show_default=True,
    help="How they are found.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first centers.")
@quiet_option
def cluster(embeddings: str, out: str, clusters: int | None, method: Any, seed: int, progress: Progress) -> None:
    """Group EMBEDDINGS (a folder that `aekit embed` wrote)."""
    found = aekit.find_clusters(
        embeddings, clusters=clusters or 0, method=method, out=out, seed=seed, progress=progress
    )
    click.echo(format_columns(found.rows()))
    none = int((found.clusters < 0).sum())
    click.echo(f"silhouette {found.silhouette:.3f}" + (f"; {none} samples are in no cluster" if none else ""))
    image = f", an image in {out}/image.png" if found.image else ""
    click.echo(f"the cluster of each sample in {out}/clusters.csv{image}")
