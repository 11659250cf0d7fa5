"""Listen for requests until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from aekit.serving.app import make_app
from aekit.serving.catalog import Catalog

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def bind_socket(host: str, port: int) -> socket.socket:
    """Bind a listening socket to an address; port 0 selects a free port.

    Raises:
        OSError: the address is in use, or is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    listening.set_inheritable(True)
    return listening


def run(catalog: Catalog, listening: socket.socket, host: str, say: Callable[[str], object]) -> None:
    """Announce the address, then serve until interrupted."""
    address = f"[{host}]" if ":" in host else host
    say(f"{len(catalog.index):,} samples at http://{address}:{listening.getsockname()[1]}  (Ctrl-C to stop)")
    # On the loopback interface only its own names are allowed; other names depend on the network.
    hosts = ["127.0.0.1", "localhost", "[::1]"] if host in LOOPBACK else ["*"]
    config = uvicorn.Config(make_app(catalog, hosts=hosts), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])
