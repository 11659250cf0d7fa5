"""`aekit index`: build a search index from embeddings."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import quiet_option, set_option
from aekit.progress import Progress


@click.command()
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Index folder to write or bring up to date.")
@click.option("--kind", default="auto", show_default=True, help="auto, or a factory string such as IVF1024,SQfp16.")
@click.option(
    "--metric", type=click.Choice(["cosine", "l2", "ip"]), default="cosine", show_default=True, help="Nearness."
)
@click.option("--engine", default="faiss", show_default=True, metavar="NAME", help="Index plugin.")
@set_option("target_recall=0.99")
@quiet_option
def index(
    embeddings: str, out: str, kind: str, metric: Any, engine: str, overrides: dict[str, Any], progress: Progress
) -> None:
    """Index EMBEDDINGS (a folder that `aekit embed` wrote).

    Run again over embeddings that have grown, it adds only what is new.
    """
    chosen = ({"kind": kind} if kind != "auto" else {}) | {
        k.removeprefix(f"{engine}."): v for k, v in overrides.items()
    }
    built = aekit.build_index(embeddings, out, engine=engine, metric=metric, options=chosen, progress=progress)
    found = built.manifest
    settings = ", ".join(str(v) if k == "kind" else f"{k} {v}" for k, v in found["settings"].items())
    click.echo(f"{len(built)} vectors of {built.dim} in {out}: {settings} ({found['why']})")
    click.echo(
        f"recall of the 10 nearest: {found['recall']:.3f}, on {found['recall_queries']} samples against exact search"
    )
    click.echo(f"next: aekit search {out} {_example(built.ids[0])} -k 10 --html neighbors.html")


def _example(name: str) -> str:
    return f"'id:{name}'" if " " in name else f"id:{name}"
