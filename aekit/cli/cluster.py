"""`aekit cluster`: cluster embeddings."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import (
    choice_option,
    device_option,
    examples,
    json_option,
    print_analysis,
    quiet_option,
    seed_option,
)
from aekit.progress import Progress


@click.command(epilog=examples("cluster embeddings -o clusters -k 10"))
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option(
    "-k", "--clusters", type=click.IntRange(min=2), help="Number of clusters; by default chosen by the silhouette."
)
@choice_option("--method", ["kmeans", "hdbscan"], "Clustering method.")
@seed_option("the initial centers")
@device_option
@json_option("clusters.json")
@quiet_option
def cluster(
    embeddings: str,
    out: str,
    clusters: int | None,
    method: Any,
    seed: int,
    device: str,
    as_json: bool,
    progress: Progress,
) -> None:
    """Cluster EMBEDDINGS (a folder written by `aekit embed`, or a file of precomputed vectors such as .npy)."""
    clustering = aekit.find_clusters(
        embeddings, clusters=clusters or 0, method=method, out=out, seed=seed, device=device, progress=progress
    )
    print_analysis(clustering, out, f"cluster of each sample in {out}/clusters.csv", as_json)
