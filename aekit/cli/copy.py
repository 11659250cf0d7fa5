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
@click.option("--private/--public", default=None, help="Visibility of a new repository; default: that of the account.")
@click.option("--message", help="Message of the commit on the Hub.")
@quiet_option
def copy(source: str, target: str, private: bool | None, message: str | None, progress: Progress) -> None:
    """Copy the folder SOURCE, such as a run or embeddings, to TARGET; either may be a URL such as s3://bucket/run.

    Manifests are copied last. Run it again after an interruption: what is there already is not sent again. To
    hf://user/model, the Hugging Face Hub, everything goes in one commit; --private, --public and --message are for it alone.
    """
    count = aekit.copy(source, target, private=private, message=message, progress=progress)
    click.echo(f"{count} files in {shown_url(target)}")
