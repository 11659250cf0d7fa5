"""Listen for requests until Ctrl-C."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from aekit.serving.app import make_app
from aekit.serving.catalog import Catalog

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADER_SECONDS = 10.0
"""Time in which the head of a request must arrive."""
MAX_CONNECTIONS = 1000
"""Open connections above which new requests are answered with 503."""


class _ImpatientProtocol(H11Protocol):
    """Close connections whose next request head does not arrive in time, which uvicorn leaves open for ever."""

    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(HEADER_SECONDS, self._close)

    def _close(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


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
    token = "" if host in LOOPBACK else secrets.token_urlsafe(18)
    url = f"http://{address}:{listening.getsockname()[1]}{f'/?token={token}' if token else ''}"
    say(f"{len(catalog.index):,} samples at {url}  (Ctrl-C to stop)")
    # On the loopback interface only its own names are allowed; other names depend on the network.
    hosts = ["127.0.0.1", "localhost", "[::1]"] if host in LOOPBACK else ["*"]
    make_server(make_app(catalog, hosts=hosts, token=token, say=say)).run(sockets=[listening])


def make_server(app: Starlette) -> uvicorn.Server:
    """Return a server with limits on connections and on the time of a request's head."""
    config = uvicorn.Config(
        app,
        http=_ImpatientProtocol,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=5,
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    return uvicorn.Server(config)
