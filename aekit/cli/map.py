"""`aekit map`: draw embeddings as a 2-D map."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import drawing_options, examples, json_option, labels_option, print_json, quiet_option
from aekit.io.remote_urls import with_suffix
from aekit.progress import Progress


@click.command(epilog=examples("map embeddings -o map.png --html map.html"))
@click.argument("embeddings")
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="PNG image to write.")
@click.option("--html", type=click.Path(dir_okay=False), help="Interactive HTML page to write.")
@labels_option
@drawing_options(
    "Projection method; auto: t-SNE, or the embedding itself if it has two dimensions.", "Show", "t-SNE and UMAP"
)
@json_option("the files and titles of the map")
@quiet_option
def map(
    embeddings: str,
    out: str | None,
    html: str | None,
    labels: str | None,
    as_json: bool,
    progress: Progress,
    **drawing: Any,
) -> None:
    """Draw EMBEDDINGS, or the training data of a RUN, as a map in two dimensions.

    The image shows the map next to principal components; a Parquet file next to the image holds the coordinates. The HTML
    page shows each sample and its neighbors at its point. EMBEDDINGS may be a file of precomputed vectors such as .npy.
    """
    if out is None and html is None:
        raise click.UsageError("expected -o IMAGE.png, --html PAGE.html or both")
    drawn = aekit.draw_map(embeddings, labels=labels, out=out, html=html, progress=progress, **drawing)
    if as_json:
        files = {"image": out, "coordinates": out and with_suffix(out, ".parquet"), "page": html}
        print_json({"encoder": drawn.digest, "samples": len(drawn.ids), "titles": list(drawn.titles), **files})
        return
    if out is not None:
        pca_note = "" if drawing["method"] == "pca" else f", next to the {drawn.titles[1]}"
        click.echo(f"{len(drawn.ids)} samples in {out}: {drawn.titles[0]}{pca_note}")
        click.echo(f"coordinates in {with_suffix(out, '.parquet')}")
    if html is not None:
        click.echo(f"{len(drawn.ids)} samples in {html}: {drawn.titles[0]}")
