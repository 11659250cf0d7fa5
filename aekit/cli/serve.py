"""`aekit serve`: a page on this machine for looking through an index."""

from __future__ import annotations

import click

import aekit
from aekit.cli.options import quiet_option
from aekit.errors import AekitError, OutputError
from aekit.progress import Progress


@click.command()
@click.argument("index")
@click.option("--port", type=click.IntRange(0, 65535), default=8722, show_default=True, help="0: any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--max-samples", type=click.IntRange(min=3), default=5000, show_default=True, help="Samples on the map.")
@click.option("--map", "method", default="auto", show_default=True, help="auto, pca, tsne or umap.")
@quiet_option
def serve(index: str, port: int, host: str, max_samples: int, method: str, progress: Progress) -> None:
    """Look through INDEX in a browser.

    Drop an image or pick a sample to see what is near it, filter by label, draw a loop around points of the map, and
    take a selection away as CSV. Only this machine can reach it, unless --host says otherwise: whoever reaches it sees
    all samples, as there is no password.
    """
    try:
        from aekit.serving.server import bind_socket, run
    except ModuleNotFoundError:
        raise AekitError("serving needs the packages of the extra 'serve': pip install 'aekit[serve]'") from None
    from aekit.serving.catalog import Catalog

    # Taken first, so that a port in use is told before a map is made.
    try:
        socket = bind_socket(host, port)
    except OSError as error:
        raise OutputError(f"{host}:{port}: cannot listen there ({error.strerror}); choose another --port") from None
    with socket:
        catalog = Catalog(aekit.open_index(index), max_samples=max_samples, method=method, progress=progress)
        run(catalog, socket, host, say=click.echo)
