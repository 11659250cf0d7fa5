"""`aekit embed`: embed data."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.console import suggest
from aekit.cli.options import (
    batch_size_option,
    choice_option,
    device_option,
    engine_options,
    examples,
    json_option,
    print_json,
    quiet_option,
    set_option,
    source_options,
)
from aekit.io.shell import command_line
from aekit.progress import Progress


@click.command(
    epilog=examples("embed run photos/ -o embeddings", "embed run photos/ -o embeddings --engine processes -n 8")
)
@click.argument("encoder")
@click.argument("data")
@click.option("-o", "--out", required=True, type=click.Path(), help="Embeddings folder to write or update.")
@click.option("--split", metavar="NAME", help="Use only this split of the data.")
@batch_size_option
@choice_option(
    "--precision",
    ["auto", "fp32", "bf16"],
    "Precision of the computation; auto: bf16 if it is faster and its embeddings agree.",
)
@device_option
@click.option("--strict", is_flag=True, help="Stop at the first sample that cannot be read.")
@click.option("--drop-missing", is_flag=True, help="Remove rows whose sample is no longer in the data.")
@engine_options
@click.option(
    "--metadata",
    metavar="COLUMN",
    multiple=True,
    help="Column of the data to keep for `aekit search --where`, or none; repeatable. By default all small columns.",
)
@json_option("the manifest of the embeddings")
@set_option("data.images.size=96")
@quiet_option
def embed(
    encoder: str,
    data: str,
    out: str,
    device: str,
    metadata: tuple[str, ...],
    as_json: bool,
    overrides: dict[str, Any],
    progress: Progress,
    **settings: Any,
) -> None:
    """Embed DATA with ENCODER (an encoder folder or a run folder).

    Run it again after the data has changed: only new and changed samples are embedded.
    """
    loaded = aekit.load(encoder, device=device)
    settings["metadata"] = metadata[0] if metadata in (("auto",), ("none",)) else list(metadata) or None
    embeddings = aekit.embed(loaded, data, out=out, options=source_options(overrides), progress=progress, **settings)
    if as_json:
        print_json(embeddings.manifest | {"folder": out})
        return
    skipped = embeddings.manifest["skipped"]
    skipped_note = f", {skipped} skipped (reasons in {out}/skipped.csv)" if skipped else ""
    click.echo(
        f"{len(embeddings)} embeddings of {embeddings.dim} dimensions by encoder {embeddings.digest[:12]} in {out}{skipped_note}"
    )
    suggest(progress, command_line("index", out, o=f"{out}-index"), command_line("evaluate", out))
