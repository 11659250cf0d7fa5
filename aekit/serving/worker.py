"""Answer requests in a worker process, which ``python -m aekit.serving.worker DESCRIPTOR`` runs."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aekit.errors import AekitError, AekitWarning

ACCEPTED_AT_ONCE = 4
"""Connections that a worker takes at a time: the rest of many that come at once is left to the others."""
QUEUE = 2048
"""Connections that wait to be taken."""


def main() -> None:
    """Serve until a signal comes, or the process that has started this one ends."""
    with Connection(int(sys.argv[1])) as supervisor:
        told: dict[str, Any] = json.loads(supervisor.recv_bytes())
        # Read when prometheus_client is imported: the numbers of all workers are in one folder.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(Path(told["folder"]) / "metrics")
        warnings.simplefilter("ignore", AekitWarning)  # the main process has opened the same index and said so
        try:
            _serve(told, supervisor)
        except AekitError as error:
            supervisor.send_bytes(str(error).encode())


def _serve(told: dict[str, Any], supervisor: Connection) -> None:
    import uvicorn

    from aekit.index.vector_index import open_index
    from aekit.serving.app import make_app
    from aekit.serving.catalog import Catalog
    from aekit.serving.results import Results
    from aekit.serving.server import make_server

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.config.backlog = ACCEPTED_AT_ONCE
            await super().startup(sockets)
            listening.listen(QUEUE)  # asyncio takes the backlog for both
            supervisor.send_bytes(b"ready")

    def health() -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            return json.loads((Path(told["folder"]) / "health.json").read_text("utf-8"))
        return {}

    def end_with_supervisor() -> None:
        with contextlib.suppress(EOFError, OSError):
            supervisor.recv_bytes()
        server.should_exit = True

    listening = socket.socket(fileno=told["socket"])
    catalog = Catalog(open_index(told["index"]), drawn=Path(told["folder"]) / "map.json")
    results = Results(Path(told["results"]) if told["results"] else None)
    access = {"hosts": told["hosts"], "token": told["token"], "max_in_flight": told["max_in_flight"]}
    app = make_app(catalog, **access, results=results, health=health)
    server = make_server(app, max_connections=told["max_connections"], server=Server)
    threading.Thread(target=end_with_supervisor, daemon=True).start()
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
