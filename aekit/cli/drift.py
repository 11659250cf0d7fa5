"""`aekit drift`: test whether new data still is what an encoder knows."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import device_option, groups_option, json_option, print_analysis, quiet_option, seed_option
from aekit.progress import Progress


@click.command()
@click.argument("reference")
@click.argument("new")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@groups_option("sample of the test")
@click.option(
    "--alpha", type=float, default=0.05, show_default=True, help="Probability of finding drift that is not there."
)
@click.option("--permutations", type=click.IntRange(min=20), default=500, show_default=True, help="Random exchanges.")
@click.option(
    "--max-samples", type=click.IntRange(min=10), default=1500, show_default=True, help="Samples compared of each side."
)
@seed_option("the exchanges")
@device_option
@json_option("drift.json")
@quiet_option
def drift(reference: str, new: str, out: str, as_json: bool, progress: Progress, **settings: Any) -> None:
    """Test whether NEW data still looks like the REFERENCE, and show what differs.

    REFERENCE is a run, whose training data is embedded, or embeddings; NEW is embeddings of the same encoder, or data, which
    is embedded with it. Exits with 0 whether or not there is drift; see "drift" in the JSON.
    """
    result = aekit.measure_drift(reference, new, out=out, progress=progress, **settings)
    print_analysis(result, out, f"new samples, the most different first, in {out}/drift.csv", as_json)
