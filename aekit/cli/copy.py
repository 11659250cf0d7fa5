"""`aekit copy`: copy folders to and from object storage."""

from __future__ import annotations

import click

import aekit
from aekit.cli.options import examples, quiet_option
from aekit.io.remote_urls import shown_url
from aekit.progress import Progress


@click.command(epilog=examples("copy run s3://bucket/run", "copy run hf://user/model --private"))
@click.argument("source")
@click.argument("target")
@click.option(
    "--private/--public", default=None, help="Visibility of a new repository; by default that of the account."
)
@click.option("--message", help="Message of the commit on the Hub.")
@quiet_option
def copy(source: str, target: str, private: bool | None, message: str | None, progress: Progress) -> None:
    """Copy the folder SOURCE, such as a run or embeddings, to TARGET; either may be a URL such as s3://bucket/run.

    Run it again after an interruption: files that are already there are not copied again. A copy to the Hugging Face Hub,
    hf://user/model, is one commit; --private, --public and --message apply to it alone.
    """
    count = aekit.copy(source, target, private=private, message=message, progress=progress)
    click.echo(f"{count} files in {shown_url(target)}")
