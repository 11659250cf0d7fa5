"""`aekit export`: export the encoder to ONNX or torch.export."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import examples, json_option, print_json, quiet_option, set_option, source_options
from aekit.progress import Progress


@click.command(epilog=examples("export run -o model.onnx"))
@click.argument("encoder")
@click.option(
    "-o", "--out", required=True, type=click.Path(dir_okay=False), help="File to write: model.onnx or model.pt2."
)
@click.option("--data", metavar="DATA", help="Samples to compare on; by default the training data of the encoder.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-4,
    show_default=True,
    help="Largest allowed relative difference.",
)
@json_option("the record of the export")
@set_option("data.images.size=96")
@quiet_option
def export(
    encoder: str,
    out: str,
    data: str | None,
    tolerance: float,
    as_json: bool,
    overrides: dict[str, Any],
    progress: Progress,
) -> None:
    """Export ENCODER (an encoder folder or a run folder) to ONNX or torch.export.

    The exported model maps raw samples to embeddings, in batches of any size. The file is written only if its outputs match
    those of the encoder.
    """
    exported = aekit.export_encoder(
        encoder,
        out,
        data=data,
        options=source_options(overrides),
        tolerance=tolerance,
        progress=progress,
    )
    if as_json:
        print_json(exported)
        return
    click.echo(
        f"{out}: {exported['format']} of encoder {exported['digest'][:12]}, "
        f"differs by {exported['difference']:.1e} on {exported['samples']} samples (tolerance {exported['tolerance']:.0e})"
    )
