"""`aekit drift`: test whether new data still looks like the data of an encoder."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import (
    device_option,
    examples,
    groups_option,
    json_option,
    print_analysis,
    quiet_option,
    seed_option,
)
from aekit.progress import Progress


@click.command(epilog=examples("drift run new-photos/ -o drift"))
@click.argument("reference")
@click.argument("new")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@groups_option("sample of the test")
@click.option(
    "--alpha", type=float, default=0.05, show_default=True, help="Significance level: the rate of false alarms."
)
@click.option(
    "--permutations", type=click.IntRange(min=20), default=500, show_default=True, help="Permutations of the test."
)
@click.option(
    "--max-samples",
    type=click.IntRange(min=10),
    default=1500,
    show_default=True,
    help="Samples compared of each side.",
)
@seed_option("the permutations")
@device_option
@json_option("drift.json")
@quiet_option
def drift(reference: str, new: str, out: str, as_json: bool, progress: Progress, **settings: Any) -> None:
    """Test whether NEW data still looks like the REFERENCE, and show what differs.

    REFERENCE is embeddings, or a run, whose training data is embedded. NEW is embeddings of the same encoder, or data, which
    is embedded with it. The exit code is 0 with or without drift; "drift" in the JSON tells which.
    """
    result = aekit.measure_drift(reference, new, out=out, progress=progress, **settings)
    print_analysis(result, out, f"new samples, the most different first, in {out}/drift.csv", as_json)
