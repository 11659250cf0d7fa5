"""`aekit copy`: copy folders to and from object storage."""

from __future__ import annotations

import click

import aekit
from aekit.cli.options import quiet_option
from aekit.io.remote_urls import shown_url
from aekit.progress import Progress


@click.command()
@click.argument("source")
@click.argument("target")
@quiet_option
def copy(source: str, target: str, progress: Progress) -> None:
    """Copy the folder SOURCE, such as a run or embeddings, to TARGET; either may be a URL such as s3://bucket/run.

    Manifests are copied last. Run it again after an interruption: what is there already is not sent again.
    """
    count = aekit.copy(source, target, progress=progress)
    click.echo(f"{count} files in {shown_url(target)}")
