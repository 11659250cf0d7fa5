"""`aekit explore`: export embeddings for explorers of embeddings."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.console import suggest
from aekit.cli.options import (
    choice_option,
    device_option,
    json_option,
    max_samples_option,
    print_json,
    projection_option,
    quiet_option,
    seed_option,
)
from aekit.progress import Progress


@click.command()
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@choice_option("--format", ["atlas", "projector"], "Embedding Atlas, or the TensorBoard projector.", "form")
@projection_option("Projection method of atlas, as in aekit map; the projector computes its own.")
@max_samples_option("Export")
@seed_option("the projection and the clusters")
@device_option
@json_option("the folder, the number of samples and the command that opens it")
@quiet_option
def explore(
    embeddings: str,
    out: str,
    form: Any,
    method: str,
    max_samples: int,
    seed: int,
    device: str,
    as_json: bool,
    progress: Progress,
) -> None:
    """Export EMBEDDINGS, with thumbnails, in a format that Embedding Atlas or TensorBoard opens directly."""
    exported = aekit.explore(
        embeddings,
        out,
        format=form,
        method=method,
        max_samples=max_samples,
        seed=seed,
        device=device,
        progress=progress,
    )
    if as_json:
        print_json({"folder": exported.folder, "samples": exported.count, "command": exported.command})
        return
    click.echo(f"{exported.count} samples in {exported.folder}")
    suggest(progress, exported.command)
