"""`aekit serve`: browse an index in a web browser."""

from __future__ import annotations

import errno
from pathlib import Path

import click

import aekit
from aekit.cli.options import examples, max_samples_option, projection_option, quiet_option
from aekit.errors import AekitError, OutputError, RecipeError
from aekit.progress import Progress


@click.command(epilog=examples("serve index", "serve index --results results --port 0"))
@click.argument("index")
@click.option("--port", type=click.IntRange(0, 65535), default=8722, show_default=True, help="Port; 0: any free port.")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@max_samples_option("Show on the map")
@projection_option("Projection method of the map, as in aekit map.")
@click.option(
    "--workers",
    "-n",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Server processes, for many users; they share an index that is mapped into memory.",
)
@click.option(
    "--results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Show the results of duplicates, propagate, label-errors, curate, anomalies and drift below this folder too.",
)
@quiet_option
def serve(
    index: str,
    port: int,
    host: str,
    max_samples: int,
    method: str,
    workers: int,
    results: Path | None,
    progress: Progress,
) -> None:
    """Browse INDEX in a web browser.

    Drop an image or pick a sample to see its neighbors, filter by label, select points of the map with a lasso, and
    download a selection as CSV. By default only this machine can connect. With another --host, the printed address contains
    a token (AEKIT_TOKEN, or a random one) that visitors need; the connection is not encrypted.
    """
    try:
        from aekit.serving.server import bind_socket, run
        from aekit.serving.workers import run_workers
    except ModuleNotFoundError:
        raise AekitError("aekit serve needs the packages of the extra 'serve': pip install 'aekit[serve]'") from None
    from aekit.serving.catalog import Catalog

    if not host:  # Python takes it for all addresses
        raise RecipeError(["--host is empty: expected an address; 0.0.0.0 listens on all of this machine"])
    # Bound first, so that a port in use is reported before the map is computed.
    try:
        socket = bind_socket(host, port)
    except OSError as error:
        other = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        reason = (error.strerror or str(error)).partition(" (while ")[0]  # Python repeats the address
        raise OutputError(f"{host}:{port}: cannot listen ({reason}); choose another {other}") from None
    with socket:
        catalog = Catalog(aekit.open_index(index), max_samples=max_samples, method=method, progress=progress)
        if workers == 1:
            run(catalog, socket, host, say=click.echo, results=results)
        else:
            run_workers(catalog, socket, host, workers, say=click.echo, results=results)
