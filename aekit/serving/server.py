"""Listening, until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from aekit.serving.app import make_app
from aekit.serving.catalog import Catalog

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def bind_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on an address; port 0 stands for any free one.

    Raises:
        OSError: the address is in use, or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.create_server((host, port), family=family)
    opened.set_inheritable(True)
    return opened


def run(catalog: Catalog, listening: socket.socket, host: str, say: Callable[[str], object]) -> None:
    """Serves until it is interrupted, after saying where."""
    address = f"[{host}]" if ":" in host else host
    say(f"{len(catalog.index):,} samples at http://{address}:{listening.getsockname()[1]}  (Ctrl-C ends)")
    # On the loopback, only by its own names; elsewhere the reader decides what name the machine goes by.
    hosts = ["127.0.0.1", "localhost", "[::1]"] if host in LOOPBACK else ["*"]
    config = uvicorn.Config(make_app(catalog, hosts=hosts), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])
