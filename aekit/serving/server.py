"""Listen for requests until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from aekit.errors import RecipeError
from aekit.serving.app import make_app
from aekit.serving.catalog import Catalog
from aekit.serving.results import Results

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADER_SECONDS = 10.0
"""Time in which the head of a request must arrive."""
MAX_CONNECTIONS = 1000
"""Open connections above which new requests are answered with 503."""
GRACE_SECONDS = 5
"""Time in which requests in progress are answered when the server is stopped."""
TOKEN, SHORTEST_TOKEN = "AEKIT_TOKEN", 16
"""Environment variable with a token to ask for instead of a random one, and its fewest characters."""


class _ImpatientProtocol(H11Protocol):
    """Close connections whose next request head does not arrive in time, which uvicorn leaves open forever.

    Nonsense that follows a request, and requests for other protocols, leave no traceback or advice in the log either.
    """

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

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP. A request that came before it is not answered any more, as both answers would be mixed."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        super().send_400_response(msg)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered over HTTP, and nobody has to install what uvicorn advises."""

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


@dataclass(frozen=True)
class Access:
    """Who may send requests to a server.

    Attributes:
        hosts: names by which it may be asked.
        token: that requests must bring; "": none.
        url: its address, with the token.
    """

    hosts: list[str]
    token: str
    url: str


def access(listening: socket.socket, host: str) -> Access:
    """Return the access to a server that listens on a host: from other machines only with a token.

    Raises:
        RecipeError: the token in the environment is too short.
    """
    is_local = host in LOOPBACK
    token = "" if is_local else os.environ.get(TOKEN) or secrets.token_urlsafe(18)
    if token and (len(token) < SHORTEST_TOKEN or not re.fullmatch(r"[\w.~-]+", token, re.ASCII)):
        raise RecipeError([f"{TOKEN}: expected at least {SHORTEST_TOKEN} letters, digits and any of . _ ~ -"])
    address = f"[{host}]" if ":" in host else host
    url = f"http://{address}:{listening.getsockname()[1]}{f'/?token={token}' if token else ''}"
    # On the loopback interface only its own names are allowed; other names depend on the network.
    return Access(["127.0.0.1", "localhost", "[::1]"] if is_local else ["*"], token, url)


def run(
    catalog: Catalog, listening: socket.socket, host: str, say: Callable[[str], object], results: Path | None = None
) -> None:
    """Announce the address, then serve until interrupted; `results` is the folder of `Results`."""
    allowed = access(listening, host)
    announce(catalog, allowed, say)
    app = make_app(catalog, hosts=allowed.hosts, token=allowed.token, results=Results(results), say=say)
    make_server(app).run(sockets=[listening])


def announce(catalog: Catalog, allowed: Access, say: Callable[[str], object]) -> None:
    """Say where the catalog is served."""
    say(f"{len(catalog.index):,} samples at {allowed.url}  (Ctrl-C to stop)")


def make_server(
    app: Starlette, *, max_connections: int = MAX_CONNECTIONS, server: type[uvicorn.Server] = uvicorn.Server
) -> uvicorn.Server:
    """Return a server with limits on connections and on the time of a request's head.

    Args:
        app: the application.
        max_connections: open connections above which new requests are answered with 503.
        server: its class.
    """
    config = uvicorn.Config(
        app,
        http=_ImpatientProtocol,
        ws="none",
        limit_concurrency=max_connections,
        timeout_graceful_shutdown=GRACE_SECONDS,
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    return server(config)
