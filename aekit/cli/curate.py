"""`aekit curate`: select samples to label next, or a representative subset."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit._lazy import QuickImports
from aekit.cli.options import (
    choice_option,
    device_option,
    examples,
    json_option,
    labels_option,
    print_analysis,
    quiet_option,
    seed_option,
)
from aekit.progress import Progress


@click.command(epilog=examples("curate embeddings -o to-label -n 200 --strategy typical"))
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option(
    "-n", "--samples", "n", type=click.IntRange(min=1), default=100, show_default=True, help="Samples to select."
)
@choice_option(
    "--strategy",
    ["representative", "typical", "coverage", "uncertain"],
    "How to select samples; uncertain needs labels of some of them.",
)
@labels_option
@seed_option("the clusters")
@device_option
@json_option("curation.json")
@quiet_option
def curate(
    embeddings: str,
    out: str,
    n: int,
    strategy: Any,
    labels: str | None,
    seed: int,
    device: str,
    as_json: bool,
    progress: Progress,
) -> None:
    """Select samples of EMBEDDINGS to label next, or a representative subset; find rare and over-represented regions.

    If some samples have labels, only samples without one are selected.
    """
    with QuickImports():
        from aekit.analysis.inputs import open_or_embed

    opened = open_or_embed(embeddings, progress, device)
    curation = aekit.curate(
        opened,
        n,
        strategy=strategy,
        labels=labels or None,
        out=out,
        seed=seed,
        progress=progress,
    )
    print_analysis(curation, out, f"selected samples in {out}/selected.csv, all samples in {out}/curation.csv", as_json)
