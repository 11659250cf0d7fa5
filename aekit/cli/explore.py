"""`aekit explore`: export embeddings for explorers of embeddings."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import quiet_option
from aekit.progress import Progress


@click.command()
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["atlas", "projector"]),
    default="atlas",
    show_default=True,
    help="Embedding Atlas, or the TensorBoard projector.",
)
@click.option(
    "--method",
    type=click.Choice(["auto", "pca", "tsne", "umap"]),
    default="auto",
    show_default=True,
    help="Projection method of atlas, as in aekit map; the projector computes its own.",
)
@click.option(
    "--max-samples",
    type=click.IntRange(min=3),
    default=5000,
    show_default=True,
    help="Export at most this many samples.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the projection and the clusters."
)
@quiet_option
def explore(embeddings: str, out: str, form: Any, method: str, max_samples: int, seed: int, progress: Progress) -> None:
    """Export EMBEDDINGS, with thumbnails, in a format that Embedding Atlas or TensorBoard opens directly."""
    exported = aekit.explore(
        embeddings, out, format=form, method=method, max_samples=max_samples, seed=seed, progress=progress
    )
    click.echo(f"{exported.count} samples in {exported.folder}")
    click.echo(f"next: {exported.command}")
