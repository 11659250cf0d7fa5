"""`aekit index`: build a search index from embeddings."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.console import suggest
from aekit.cli.options import choice_option, examples, json_option, print_json, quiet_option, set_option
from aekit.io.shell import command_line
from aekit.progress import Progress


@click.command(
    epilog=examples("index embeddings -o index", "index vectors.npy -o index --kind IVF1024,SQfp16 --metric l2")
)
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Index folder to write or update.")
@click.option(
    "--kind",
    metavar="KIND",
    default="auto",
    show_default=True,
    help="auto, or a factory string such as IVF1024,SQfp16.",
)
@choice_option("--metric", ["cosine", "l2", "ip"], "Similarity or distance.")
@click.option("--engine", default="faiss", show_default=True, metavar="NAME", help="Index plugin.")
@json_option("the manifest of the index")
@set_option("target_recall=0.99")
@quiet_option
def index(
    embeddings: str,
    out: str,
    kind: str,
    metric: Any,
    engine: str,
    as_json: bool,
    overrides: dict[str, Any],
    progress: Progress,
) -> None:
    """Index EMBEDDINGS (a folder written by `aekit embed`, or a file of precomputed vectors such as .npy).

    Run it again after the embeddings have grown: only new vectors are added.
    """
    chosen = ({"kind": kind} if kind != "auto" else {}) | {
        k.removeprefix(f"{engine}."): v for k, v in overrides.items()
    }
    built = aekit.build_index(embeddings, out, engine=engine, metric=metric, options=chosen, progress=progress)
    manifest = built.manifest
    if as_json:
        print_json(manifest | {"folder": out})
        return
    settings = ", ".join(str(v) if k == "kind" else f"{k} {v}" for k, v in manifest["settings"].items())
    click.echo(f"{len(built)} vectors of {built.dim} dimensions in {out}: {settings} ({manifest['reason']})")
    click.echo(
        f"recall@10: {manifest['recall']:.3f}, on {manifest['recall_queries']} queries, compared with exact search"
    )
    suggest(progress, command_line("search", out, f"id:{built.ids[0]}", k=10, html="neighbors.html"))
