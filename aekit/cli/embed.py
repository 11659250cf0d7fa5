"""`aekit embed`: turn data into embeddings."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import device_option, quiet_option, set_option, source_options
from aekit.progress import Progress


@click.command()
@click.argument("encoder")
@click.argument("data")
@click.option("-o", "--out", required=True, type=click.Path(), help="Embeddings folder to write or bring up to date.")
@click.option("--split", metavar="NAME", help="Only this split of a data set that has splits.")
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True, help="Samples at a time.")
@device_option
@click.option("--strict", is_flag=True, help="Stop at the first sample that cannot be read.")
@click.option("--drop-missing", is_flag=True, help="Remove rows whose sample is no longer in the data.")
@set_option("data.images.size=96")
@quiet_option
def embed(
    encoder: str, data: str, out: str, device: str, overrides: dict[str, Any], progress: Progress, **settings: Any
) -> None:
    """Embed DATA with ENCODER (an encoder folder or a run folder).

    Run again over data that has grown, it embeds only what is new or changed.
    """
    loaded = aekit.load(encoder, device=device)
    found = aekit.embed(loaded, data, out=out, options=source_options(overrides), progress=progress, **settings)
    skipped = found.manifest["skipped"]
    left_out = f", {skipped} skipped (reasons in {out}/skipped.csv)" if skipped else ""
    click.echo(f"{len(found)} embeddings of {found.dim} numbers by encoder {found.digest[:12]} in {out}{left_out}")
    click.echo(f"next: aekit index {out} -o {out}-index, or aekit evaluate {out}")
