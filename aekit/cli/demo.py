"""`aekit demo`: run the whole workflow on built-in data."""

from __future__ import annotations

import time
from pathlib import Path

import click

import aekit
from aekit.cli.console import suggest
from aekit.cli.options import examples, json_option, print_json, quiet_option, without_results
from aekit.io.atomic import atomic_folder, write_json, write_text
from aekit.io.remote import refuse_remote
from aekit.io.shell import command_line
from aekit.progress import Progress

DATA = "sklearn:digits"
QUERIES, EPOCHS = 6, 100


@click.command(epilog=examples("demo -o demo"))
@click.option("-o", "--out", default="aekit-demo", show_default=True, type=click.Path(), help="Folder to write.")
@json_option("the evaluation")
@quiet_option
def demo(out: str, as_json: bool, progress: Progress) -> None:
    """Run the whole workflow on built-in data, offline.

    It trains a denoising autoencoder on scikit-learn's 1,797 handwritten digits, embeds and indexes them, finds neighbors and
    evaluates the embedding.
    """
    from aekit.report.search_page import search_page

    refuse_remote(out, "the demonstration")
    started, progress = time.monotonic(), without_results(progress, as_json)
    folder = Path(out)
    with atomic_folder(folder) as part:
        encoder = aekit.fit(
            DATA,
            variants=["denoising"],
            dim=32,
            epochs=EPOCHS,
            overrides={"objective.denoising.noise": "gaussian", "objective.denoising.level": 0.3},
            out=part / "run",
            progress=progress,
        )
        embeddings = encoder.embed(DATA, out=part / "embeddings", progress=progress)
        index = aekit.build_index(embeddings, part / "index", progress=progress)
        queries = embeddings.ids[:: len(embeddings) // QUERIES][:QUERIES]
        scores, rows = index.search_ids(queries, 10)
        hits = index.hits([f"id:{name}" for name in queries], scores, rows)
        write_text(part / "neighbors.html", search_page(index, hits))
        evaluation = aekit.evaluate(embeddings, evaluators=["quick"], progress=progress)
        write_json(part / "embeddings" / "results.json", evaluation.to_dict())
    if as_json:
        print_json(evaluation.to_dict() | {"folder": out})
        return
    click.echo(evaluation.text())
    click.echo(f"\nfinished in {time.monotonic() - started:.0f} s; in {folder}:")
    for name, description in {
        "neighbors.html": "images of the nearest neighbors",
        "run/report.html": "report: map, neighbors, metrics, training curves",
        "run/encoder": "the encoder, for aekit embed, aekit export and aekit.load",
        "embeddings": "the embeddings, as Parquet",
        "index": f"the search index: {command_line('search', folder / 'index', 'id:7')}",
    }.items():
        click.echo(f"  {name:16} {description}")
    suggest(progress, command_line("fit", "FOLDER_OF_IMAGES", o="run"), when="next, on your own data")
