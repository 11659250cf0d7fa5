"""Serve the page and its JSON API over HTTP.

| path | returns |
|---|---|
| ``GET /api/index`` | facts about the index |
| ``GET /api/map`` | rows, coordinates and labels of the samples on the map |
| ``GET /api/image/ROW`` | thumbnail of a sample |
| ``GET /api/find?text=`` | samples whose id contains a text |
| ``GET /api/search?row=&k=&label=`` | neighbors of a sample |
| ``POST /api/search?k=&label=`` | neighbors of the image or array in the body |
| ``POST /api/describe``, ``/api/csv`` | ids and labels of ``{"rows": [...]}``, as JSON or CSV |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aekit.errors import AekitError, DataError
from aekit.serving.catalog import Catalog

MAX_BYTES = 20 * 2**20
"""Most bytes of a request body."""
MAX_ROWS = 100_000
"""Most rows of a selection."""

_HEADERS = {
    # The page loads nothing from other origins, runs no inline scripts and cannot be framed.
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_ASSETS = {
    "/": ("aekit.serving", "page.html", "text/html"),
    "/serve.css": ("aekit.serving", "serve.css", "text/css"),
    "/serve.js": ("aekit.serving", "serve.js", "text/javascript"),
    "/page.css": ("aekit.visualization", "page.css", "text/css"),
    "/page.js": ("aekit.visualization", "page.js", "text/javascript"),
    "/map.js": ("aekit.visualization", "map.js", "text/javascript"),
}


class _TooLargeError(DataError):
    """A request body over the limit."""


def make_app(catalog: Catalog, *, hosts: list[str], max_bytes: int = MAX_BYTES) -> Starlette:
    """Build the application.

    Args:
        catalog: the catalog to serve.
        hosts: allowed host names. Requests by other names are refused, which prevents DNS rebinding.
        max_bytes: most bytes of a request body.

    Returns:
        A Starlette application.
    """

    async def search(request: Request) -> Any:
        k, label = _number(request, "k", 24), request.query_params.get("label") or None
        if request.method == "POST":
            _same_origin(request)
            content = await _body(request, max_bytes)
            return await run_in_threadpool(catalog.neighbors_of_file, content, k, label)
        return await run_in_threadpool(catalog.neighbors_of_row, _number(request, "row"), k, label)

    async def find(request: Request) -> Any:
        return await run_in_threadpool(catalog.find, request.query_params.get("text", ""), 20)

    async def describe(request: Request) -> Any:
        return await run_in_threadpool(catalog.describe, await _rows(request, max_bytes))

    async def table(request: Request) -> Response:
        text = await run_in_threadpool(catalog.table, await _rows(request, max_bytes))
        head = {"Content-Disposition": 'attachment; filename="selection.csv"'}
        return Response(text, media_type="text/csv", headers=head)

    async def image(request: Request) -> Response:
        kind, content = await run_in_threadpool(catalog.image, request.path_params["row"])
        # The rows of an index do not change while it is served.
        return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})

    async def index(request: Request) -> Any:
        return catalog.about()

    map_body = JSONResponse(catalog.map).body  # encoded once: megabytes that do not change

    async def map_(request: Request) -> Any:
        return Response(map_body, media_type="application/json")

    def asset(path: str) -> Callable[..., Any]:
        package, name, kind = _ASSETS[path]
        content = (files(package) / name).read_bytes()

        async def send(request: Request) -> Response:
            return Response(content, media_type=kind)

        return send

    routes = [Route(path, _answer(asset(path))) for path in _ASSETS]
    routes += [
        Route("/api/index", _answer(index)),
        Route("/api/map", _answer(map_)),
        Route("/api/image/{row:int}", _answer(image)),
        Route("/api/find", _answer(find)),
        Route("/api/search", _answer(search), methods=["GET", "POST"]),
        Route("/api/describe", _answer(describe), methods=["POST"]),
        Route("/api/csv", _answer(table), methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)])


def _answer(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Answer user errors with one line of JSON, and add the security headers to every response."""

    async def answer(request: Request) -> Response:
        try:
            content = await handler(request)
            response = content if isinstance(content, Response) else JSONResponse(content)
        except AekitError as error:
            status = 413 if isinstance(error, _TooLargeError) else 400
            response = JSONResponse({"error": str(error)}, status_code=status)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return answer


def _number(request: Request, name: str, default: int | None = None) -> int:
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError:
        raise DataError(f"{name} = {text!r}: expected a whole number") from None


def _same_origin(request: Request) -> None:
    """Refuse requests that other pages make the user's browser send."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise DataError(f"origin {origin}: expected a request from this page")


async def _body(request: Request, max_bytes: int) -> bytes:
    """Read the request body, up to the limit."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _TooLargeError(f"the request has more than {max_bytes:,} bytes: expected at most that")
        parts.append(part)
    return b"".join(parts)


async def _rows(request: Request, max_bytes: int) -> list[int]:
    _same_origin(request)
    try:
        rows = json.loads(await _body(request, max_bytes))["rows"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError('expected {"rows": [0, 1, ...]}') from None
    if not isinstance(rows, list) or not all(type(row) is int for row in rows):
        raise DataError('expected {"rows": [0, 1, ...]}, whole numbers')
    if len(rows) > MAX_ROWS:
        raise DataError(f"{len(rows):,} rows: expected at most {MAX_ROWS:,}")
    return rows
