"""`aekit classify`: predict the classes of new samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

import aekit
from aekit.cli.options import (
    batch_size_option,
    device_option,
    engine_options,
    examples,
    print_json,
    quiet_option,
    set_option,
    source_options,
)
from aekit.io.atomic import atomic_file, refuse_inputs
from aekit.io.csv_files import write_csv
from aekit.io.remote import output_file
from aekit.io.text_table import format_cell
from aekit.progress import Progress

Row = tuple[str, Any, float]


@click.command(epilog=examples("classify classifier photos/ -o predictions.csv"))
@click.argument("finetuned")
@click.argument("data")
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="CSV file to write; by default, print a table.")
@click.option("--split", metavar="NAME", help="Use only this split of the data.")
@batch_size_option
@device_option
@click.option("--strict", is_flag=True, help="Stop at the first sample that cannot be read.")
@engine_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line for each sample.")
@set_option("data.images.size=96")
@quiet_option
def classify(
    finetuned: str,
    data: str,
    out: str | None,
    device: str,
    as_json: bool,
    overrides: dict[str, Any],
    progress: Progress,
    **settings: Any,
) -> None:
    """Predict the class of each sample of DATA, and its probability, with FINETUNED (a folder written by `aekit finetune`)."""
    if out:
        refuse_inputs(out, data)
    classifier = aekit.load_classifier(finetuned, device=device)
    source = aekit.open_data(data, source_options(overrides), like=classifier.encoder.spec)

    def rows() -> Iterator[Row]:
        for batch in classifier.classify(source, progress=progress, **settings):
            yield from zip(batch.ids, batch.labels.tolist(), batch.probabilities.max(axis=1).tolist())

    if out:
        with output_file(out) as path, atomic_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            predictions = ([name, label, f"{probability:.6f}"] for name, label, probability in rows())
            count = write_csv(file, ["id", "label", "probability"], predictions)
        click.echo(f"{count} predictions in {out}")
    elif as_json:
        for name, label, probability in rows():
            print_json({"id": name, "label": label, "probability": probability}, indent=None)
    else:
        width = max(len(format_cell(str(label))) for label in classifier.classes)
        for name, label, probability in rows():
            click.echo(f"{probability:6.4f}  {format_cell(str(label)):{width}}  {format_cell(name)}")
