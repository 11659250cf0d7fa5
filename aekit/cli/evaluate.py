"""`aekit evaluate`: say how good embeddings are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from aekit.artifacts import write_json
from aekit.cli.options import Progress, quiet_option, set_option
from aekit.embeddings import Embeddings
from aekit.evaluation import evaluate as evaluate_embeddings
from aekit.overrides import nested


@click.command()
@click.argument("embeddings")
@click.option(
    "--evaluator",
    "evaluators",
    multiple=True,
    metavar="NAME",
    help="Only this one; may be repeated; by default all but the slow.",
)
@click.option("--controls/--no-controls", default=True, show_default=True, help="Judge raw, PCA and random too.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of splits and resampling.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of a table.")
@set_option("knn.metric=cosine")
@quiet_option
def evaluate(
    embeddings: str,
    evaluators: tuple[str, ...],
    controls: bool,
    seed: int,
    as_json: bool,
    overrides: dict[str, Any],
    progress: Progress,
) -> None:
    """Judge EMBEDDINGS, beside raw input, PCA and a random encoder. Writes EMBEDDINGS/results.json."""
    judged = evaluate_embeddings(
        Embeddings.open(embeddings),
        evaluators=evaluators or None,
        controls=controls,
        seed=seed,
        options=nested({name.removeprefix("evaluate."): value for name, value in overrides.items()}),
        progress=progress,
    )
    write_json(Path(embeddings) / "results.json", judged.record())
    click.echo(json.dumps(judged.record(), indent=2) if as_json else judged.text())
