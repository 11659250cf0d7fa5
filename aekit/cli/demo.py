"""`aekit demo`: the whole way on data that comes along."""

from __future__ import annotations

import time
from pathlib import Path

import click

import aekit
from aekit.cli.options import quiet_option
from aekit.io.atomic import atomic_folder, write_json, write_text
from aekit.progress import Progress

DATA = "sklearn:digits"
ASKED = 6


@click.command()
@click.option("-o", "--out", default="aekit-demo", show_default=True, type=click.Path(), help="Folder to write.")
@quiet_option
def demo(out: str, progress: Progress) -> None:
    """The whole way on data that comes along, offline, in a minute.

    Trains a denoising autoencoder on scikit-learn's 1797 handwritten digits, embeds them, indexes them, finds neighbors and
    says how good the embedding is.
    """
    from aekit.report.search_page import search_page

    started = time.monotonic()
    folder = Path(out)
    with atomic_folder(folder) as part:
        encoder = aekit.fit(
            DATA,
            variants=["denoising"],
            dim=32,
            epochs=100,
            overrides={"objective.denoising.noise": "gaussian", "objective.denoising.level": 0.3},
            out=part / "run",
            progress=progress,
        )
        embeddings = encoder.embed(DATA, out=part / "embeddings", progress=progress)
        index = aekit.build_index(embeddings, part / "index", progress=progress)
        asked = embeddings.ids[:: len(embeddings) // ASKED][:ASKED]
        scores, rows = index.search_ids(asked, 10)
        hits = index.hits([f"id:{name}" for name in asked], scores, rows)
        write_text(part / "neighbors.html", search_page(index, hits))
        evaluation = aekit.evaluate(embeddings, evaluators=["quick"], progress=progress)
        write_json(part / "embeddings" / "results.json", evaluation.to_dict())
    click.echo(evaluation.text())
    click.echo(f"\nall of it took {time.monotonic() - started:.0f} s; in {folder}:")
    for name, what in {
        "neighbors.html": "images of the nearest neighbors",
        "run/report.html": "what was learned: a map, neighbors, figures, curves",
        "run/encoder": "the encoder, to use: aekit embed, aekit export, aekit.load",
        "embeddings": "the embeddings, as Parquet",
        "index": f"the index, to search: aekit search {folder}/index id:7",
    }.items():
        click.echo(f"  {name:16} {what}")
    click.echo("next, on your own data: aekit fit FOLDER_OF_IMAGES -o run")
