"""Serve the page and its JSON API over HTTP.

| path | returns |
|---|---|
| ``GET /api/index`` | facts about the index |
| ``GET /api/map`` | rows, coordinates and labels of the samples on the map |
| ``GET /api/image/ROW`` | thumbnail of a sample |
| ``GET /api/find?text=`` | samples whose id contains a text |
| ``GET /api/search?row=&k=&label=&where=`` | neighbors of a sample |
| ``POST /api/search?k=&label=&where=`` | neighbors of the image or array in the body |
| ``POST /api/describe``, ``/api/csv`` | ids, labels and metadata of ``{"rows": [...]}``, as JSON or CSV |
| ``GET /api/results``, ``/api/results/NAME`` | results of analyses: conclusions, and the samples behind them with their rows |
| ``GET /results``, ``/results/NAME`` | the same as pages |
| ``GET /healthz`` | whether it answers; needs no token |
| ``GET /metrics`` | numbers and times of requests, for Prometheus |
| ``GET /openapi.json`` | description of this API |
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aekit.errors import AekitError, DataError, printable
from aekit.serving.catalog import Catalog
from aekit.serving.metrics import MeasuredRequests, Metrics
from aekit.serving.protection import (
    HEALTH,
    MAX_BYTES,
    MAX_BYTES_IN_FLIGHT,
    Guard,
    RefusedError,
    Uploads,
    check_origin,
)
from aekit.serving.reloading import Served
from aekit.serving.results import POLICY, Results
from aekit.version import __version__

MAX_ROWS = 100_000
"""Most rows of a selection."""

_ASSETS = {
    "/": ("aekit.serving", "page.html", "text/html"),
    "/serve.css": ("aekit.serving", "serve.css", "text/css"),
    "/serve.js": ("aekit.serving", "serve.js", "text/javascript"),
    "/page.css": ("aekit.visualization", "page.css", "text/css"),
    "/page.js": ("aekit.visualization", "page.js", "text/javascript"),
    "/map.js": ("aekit.visualization", "map.js", "text/javascript"),
}


def make_app(
    catalog: Catalog,
    *,
    hosts: list[str],
    max_bytes: int = MAX_BYTES,
    max_in_flight: int = MAX_BYTES_IN_FLIGHT,
    token: str = "",
    results: Results | None = None,
    say: Callable[[str], object] = lambda text: None,
    health: Callable[[], dict[str, Any]] = dict,
) -> Starlette:
    """Build the application.

    Args:
        catalog: the catalog to serve.
        hosts: allowed host names. Requests by other names are refused, which prevents DNS rebinding.
        max_bytes: most bytes of a request body.
        max_in_flight: most bytes of all request bodies that are being received.
        token: that requests must bring, as ``?token=`` once or in the header ``Authorization: Bearer``; "": none.
        results: results of analyses to show with the index.
        say: receives a line when the index has grown and is served anew.
        health: returns further entries of the answer of ``/healthz``.

    Returns:
        A Starlette application.
    """

    uploads, served = Uploads(max_bytes, max_in_flight), Served(catalog, say)
    analyses = results or Results(None)

    async def search(request: Request) -> Any:
        k, label = _number(request, "k", 24), request.query_params.get("label") or None
        where = request.query_params.get("where", "").strip()
        if request.method == "POST":
            check_origin(request)
            async with uploads.receive(request) as content:
                return await run_in_threadpool(served.catalog.neighbors_of_file, content, k, label, where)
        row = _number(request, "row")
        return await run_in_threadpool(served.catalog.neighbors_of_row, row, k, label, where)

    async def find(request: Request) -> Any:
        return await run_in_threadpool(served.catalog.find, request.query_params.get("text", ""), 20)

    async def describe(request: Request) -> Any:
        return await run_in_threadpool(served.catalog.describe, await _rows(request, uploads))

    async def table(request: Request) -> Response:
        text = await run_in_threadpool(served.catalog.table, await _rows(request, uploads))
        head = {"Content-Disposition": 'attachment; filename="selection.csv"'}
        return Response(text, media_type="text/csv", headers=head)

    async def image(request: Request) -> Response:
        kind, content = await run_in_threadpool(served.catalog.image, request.path_params["row"])
        # The rows of an index do not change while it is served; new ones may be added.
        return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})

    async def index(request: Request) -> Any:
        return served.catalog.about()

    async def map_(request: Request) -> Any:
        return Response(served.map_body, media_type="application/json")

    async def all_results(request: Request) -> Any:
        return await run_in_threadpool(analyses.entries)

    async def result(request: Request) -> Any:
        return await run_in_threadpool(analyses.describe, request.path_params["name"], served.catalog.index)

    async def results_page(request: Request) -> Response:
        return _page(await run_in_threadpool(analyses.list_html))

    async def result_page(request: Request) -> Response:
        name = request.path_params["name"]
        return _page(await run_in_threadpool(analyses.html, name, served.catalog.index))

    async def is_up(request: Request) -> Any:
        return {"status": "ok"} | health()

    async def numbers(request: Request) -> Response:
        return metrics.answer()

    async def description(request: Request) -> Any:
        return api_description()

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
        Route("/api/results", _answer(all_results)),
        Route("/api/results/{name}", _answer(result)),
        Route("/results", _answer(results_page)),
        Route("/results/{name}", _answer(result_page)),
        Route(HEALTH, _answer(is_up)),
        Route("/metrics", _answer(numbers)),
        Route("/openapi.json", _answer(description)),
    ]
    metrics = Metrics(lambda: len(served.catalog.index), frozenset(route.path for route in routes))
    middleware = [
        Middleware(MeasuredRequests, metrics=metrics),
        Middleware(Guard, token=token),
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts),
    ]

    @asynccontextmanager
    async def watching(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(served.watch())
        yield
        task.cancel()

    return Starlette(routes=routes, middleware=middleware, lifespan=watching)


def _page(text: str) -> Response:
    """Return a page that has its styles and scripts inside."""
    return Response(text, media_type="text/html", headers={"Content-Security-Policy": POLICY})


def api_description() -> dict[str, Any]:
    """Return the description of the API in the format of OpenAPI 3.1."""
    described = json.loads((files("aekit.serving") / "openapi.json").read_text("utf-8"))
    described["info"]["version"] = __version__
    return described


def _answer(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Answer user errors with one line of JSON."""

    async def answer(request: Request) -> Response:
        try:
            content = await handler(request)
            return content if isinstance(content, Response) else JSONResponse(content)
        except RefusedError as error:
            # The rest of the body is not read, so that the connection cannot be used again.
            return JSONResponse({"error": str(error)}, status_code=error.status, headers={"Connection": "close"})
        except AekitError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    return answer


def _number(request: Request, name: str, default: int | None = None) -> int:
    text = request.query_params.get(name)
    if text is None:
        if default is None:
            raise DataError(f"the request has no {name}: expected a whole number")
        return default
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{name} = {printable(repr(text))}: expected a whole number") from None


async def _rows(request: Request, uploads: Uploads) -> list[int]:
    check_origin(request)
    try:
        async with uploads.receive(request) as content:
            rows = json.loads(content)["rows"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError('expected {"rows": [0, 1, ...]}') from None
    if not isinstance(rows, list) or not all(type(row) is int for row in rows):
        raise DataError('expected {"rows": [0, 1, ...]}, whole numbers')
    if len(rows) > MAX_ROWS:
        raise DataError(f"{len(rows):,} rows: expected at most {MAX_ROWS:,}")
    return rows
