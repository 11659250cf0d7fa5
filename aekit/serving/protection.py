"""Protect the server: limits of uploads, security headers, the token, and the origin of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hmac import compare_digest
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aekit.errors import DataError

MAX_BYTES = 20 * 2**20
"""Most bytes of a request body."""
MAX_BYTES_IN_FLIGHT = 5 * MAX_BYTES
"""Most bytes of all request bodies that are being received."""
BODY_SECONDS = 30.0
"""Time in which a request body must arrive."""

_HEADERS = {
    # The page loads nothing from other origins, runs no inline scripts and cannot be framed.
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

COOKIE = "aekit-token"
HEALTH = "/healthz"


class RefusedError(DataError):
    """A request that is refused with a status of its own, before it is read to its end."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Uploads:
    """Receive request bodies within limits on the size of each, on the bytes of all, and on their time."""

    def __init__(self, max_bytes: int, max_in_flight: int = MAX_BYTES_IN_FLIGHT) -> None:
        self.max_bytes, self.max_in_flight, self.in_flight = max_bytes, max_in_flight, 0

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[bytes]:
        """Read the body of a request, and count its bytes until it is answered.

        Raises:
            DataError: it is too large or too slow, or too many others are being received.
        """
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self.max_bytes:
            raise self._too_large()
        parts, size, received = [], 0, 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    size += len(part)
                    if size > self.max_bytes:
                        raise self._too_large()
                    self.in_flight, received = self.in_flight + len(part), received + len(part)
                    if self.in_flight > self.max_in_flight:
                        raise RefusedError(503, "too many uploads at once; try again")
                    parts.append(part)
            yield b"".join(parts)
        except TimeoutError:
            raise RefusedError(408, f"the request took more than {BODY_SECONDS:.0f} s to arrive") from None
        finally:
            self.in_flight -= received

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the request has more than {self.max_bytes:,} bytes: expected at most that")


class Guard:
    """Add the security headers to every response, and ask for the token where there is one."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(HTTPConnection(scope)) if scope["type"] == "http" and self.token else None
        await (refusal or self.app)(scope, receive, send_with_headers)

    def _refusal(self, request: HTTPConnection) -> Response | None:
        """Return None for a request with the token; a link with it leaves a cookie, which later requests bring along."""
        authorization = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.url.path == HEALTH or any(
            compare_digest(text.encode(), self.token.encode())
            for text in (authorization, request.cookies.get(COOKIE, ""))
        ):
            return None
        if compare_digest(request.query_params.get("token", "").encode(), self.token.encode()):
            response = RedirectResponse("/", status_code=303)
            response.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            return response
        return JSONResponse({"error": "open the address that aekit serve printed: it has a token"}, status_code=401)


def check_origin(request: Request) -> None:
    """Refuse requests that other pages make the user's browser send.

    Raises:
        DataError: the request is from another page.
    """
    origin = request.headers.get("origin")
    try:
        same = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        same = False
    if not same or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise DataError(f"origin {(origin or 'unknown')[:200]!r}: expected a request from this page")
