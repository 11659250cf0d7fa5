"""Answer the requests of the page and of the API, one method per path."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aekit.errors import AekitError, DataError, printable
from aekit.serving.protection import HEALTH, RefusedError, Uploads, check_origin
from aekit.serving.reloading import Served
from aekit.serving.results import POLICY, Results
from aekit.version import __version__

MAX_ROWS = 100_000
"""Most rows of a selection."""
FOUND = 24
"""Neighbors of a search that names no number."""
FOUND_BY_ID = 20
"""Samples of a search in ids."""

_ASSETS = {
    "/": ("aekit.serving", "page.html", "text/html"),
    "/serve.css": ("aekit.serving", "serve.css", "text/css"),
    "/serve.js": ("aekit.serving", "serve.js", "text/javascript"),
    "/page.css": ("aekit.visualization", "page.css", "text/css"),
    "/page.js": ("aekit.visualization", "page.js", "text/javascript"),
    "/map.js": ("aekit.visualization", "map.js", "text/javascript"),
}
_DOWNLOAD = {"Content-Disposition": 'attachment; filename="selection.csv"'}
# The rows of an index do not change while it is served; new ones may be added.
_CACHED = {"Cache-Control": "private, max-age=3600"}


class Handlers:
    """Handlers of requests. Each returns plain JSON or a response; what takes time runs in a thread.

    Args:
        served: the index to search.
        uploads: receives the bodies of requests.
        results: results of analyses to show with the index.
        health: returns further entries of the answer of ``/healthz``.
    """

    def __init__(
        self, served: Served, uploads: Uploads, results: Results, health: Callable[[], dict[str, Any]] = dict
    ) -> None:
        self._served, self._uploads, self._results, self._health = served, uploads, results, health

    def routes(self) -> list[Route]:
        """Return the paths that are answered here."""
        assets = [Route(path, _answer(_asset(*asset))) for path, asset in _ASSETS.items()]
        return assets + [
            Route("/api/index", _answer(self.index)),
            Route("/api/map", _answer(self.map)),
            Route("/api/image/{row:int}", _answer(self.image)),
            Route("/api/find", _answer(self.find)),
            Route("/api/search", _answer(self.search), methods=["GET", "POST"]),
            Route("/api/describe", _answer(self.describe), methods=["POST"]),
            Route("/api/csv", _answer(self.table), methods=["POST"]),
            Route("/api/results", _answer(self.results)),
            Route("/api/results/{name}", _answer(self.result)),
            Route("/results", _answer(self.results_page)),
            Route("/results/{name}", _answer(self.result_page)),
            Route(HEALTH, _answer(self.health)),
            Route("/openapi.json", _answer(self.openapi)),
        ]

    async def index(self, request: Request) -> Any:
        return self._served.catalog.about()

    async def map(self, request: Request) -> Any:
        return Response(self._served.map_body, media_type="application/json")

    async def image(self, request: Request) -> Any:
        kind, content = await run_in_threadpool(self._served.catalog.image, request.path_params["row"])
        return Response(content, media_type=kind, headers=_CACHED)

    async def find(self, request: Request) -> Any:
        text = request.query_params.get("text", "")
        return await run_in_threadpool(self._served.catalog.find, text, FOUND_BY_ID)

    async def search(self, request: Request) -> Any:
        k, label = _number(request, "k", FOUND), request.query_params.get("label") or None
        where = request.query_params.get("where", "").strip()
        if request.method == "POST":
            check_origin(request)
            async with self._uploads.receive(request) as content:
                return await run_in_threadpool(self._served.catalog.neighbors_of_file, content, k, label, where)
        row = _number(request, "row")
        return await run_in_threadpool(self._served.catalog.neighbors_of_row, row, k, label, where)

    async def describe(self, request: Request) -> Any:
        return await run_in_threadpool(self._served.catalog.describe, await self._rows(request))

    async def table(self, request: Request) -> Any:
        text = await run_in_threadpool(self._served.catalog.table, await self._rows(request))
        return Response(text, media_type="text/csv", headers=_DOWNLOAD)

    async def results(self, request: Request) -> Any:
        return await run_in_threadpool(self._results.entries)

    async def result(self, request: Request) -> Any:
        name, index = request.path_params["name"], self._served.catalog.index
        return await run_in_threadpool(self._results.describe, name, index)

    async def results_page(self, request: Request) -> Any:
        return _page(await run_in_threadpool(self._results.list_html))

    async def result_page(self, request: Request) -> Any:
        name, index = request.path_params["name"], self._served.catalog.index
        return _page(await run_in_threadpool(self._results.html, name, index))

    async def health(self, request: Request) -> Any:
        return {"status": "ok"} | self._health()

    async def openapi(self, request: Request) -> Any:
        """Return the description of the API in the format of OpenAPI 3.1."""
        described = json.loads((files("aekit.serving") / "openapi.json").read_text("utf-8"))
        described["info"]["version"] = __version__
        return described

    async def _rows(self, request: Request) -> list[int]:
        """Return the rows that the body of a request names.

        Raises:
            DataError: the body has another form, or names too many.
        """
        check_origin(request)
        try:
            async with self._uploads.receive(request) as content:
                rows = json.loads(content)["rows"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError('expected {"rows": [0, 1, ...]}') from None
        if not isinstance(rows, list) or not all(type(row) is int for row in rows):
            raise DataError('expected {"rows": [0, 1, ...]}, whole numbers')
        if len(rows) > MAX_ROWS:
            raise DataError(f"{len(rows):,} rows: expected at most {MAX_ROWS:,}")
        return rows


def _asset(package: str, name: str, kind: str) -> Callable[..., Any]:
    """Return a handler that sends a file of a package."""
    content = (files(package) / name).read_bytes()

    async def send(request: Request) -> Response:
        return Response(content, media_type=kind)

    return send


def _page(text: str) -> Response:
    """Return a page that has its styles and scripts inside."""
    return Response(text, media_type="text/html", headers={"Content-Security-Policy": POLICY})


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
