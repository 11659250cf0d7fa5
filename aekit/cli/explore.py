"""`aekit explore`: export embeddings for explorers of embeddings."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.console import suggest
from aekit.cli.options import choice_option, drawing_options, examples, json_option, print_json, quiet_option
from aekit.progress import Progress


@click.command(epilog=examples("explore embeddings -o atlas"))
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@choice_option("--format", ["atlas", "projector"], "Embedding Atlas, or the TensorBoard projector.", "form")
@drawing_options(
    "Projection method of atlas, as in aekit map; the projector computes its own.",
    "Export",
    "the projection and the clusters",
)
@json_option("the folder, the number of samples and the command that opens it")
@quiet_option
def explore(embeddings: str, out: str, form: Any, as_json: bool, progress: Progress, **drawing: Any) -> None:
    """Export EMBEDDINGS, with thumbnails, in a format that Embedding Atlas or TensorBoard opens directly."""
    exported = aekit.explore(embeddings, out, format=form, progress=progress, **drawing)
    if as_json:
        print_json({"folder": exported.folder, "samples": exported.count, "command": exported.command})
        return
    click.echo(f"{exported.count} samples in {exported.folder}")
    suggest(progress, exported.command)
