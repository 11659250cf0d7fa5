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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aekit.serving.catalog import Catalog
from aekit.serving.handlers import Handlers
from aekit.serving.metrics import MeasuredRequests, Metrics
from aekit.serving.protection import MAX_BYTES, MAX_BYTES_IN_FLIGHT, Guard, Uploads
from aekit.serving.reloading import Served
from aekit.serving.results import Results

METRICS = "/metrics"


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
    served = Served(catalog, say)

    async def send_metrics(request: Request) -> Response:
        return metrics.answer()

    handlers = Handlers(served, Uploads(max_bytes, max_in_flight), results or Results(None), health)
    routes = [*handlers.routes(), Route(METRICS, send_metrics)]
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
