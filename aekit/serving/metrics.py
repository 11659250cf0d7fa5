"""Count requests and measure their time, for Prometheus."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper limits of the classes of the times of requests."""
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder of the metrics of several processes, read when prometheus_client is imported."""
_PATTERNS = {
    "/api/image/ROW": re.compile(r"/api/image/\d+"),
    "/api/results/NAME": re.compile(r"/api/results/[^/]+"),
    "/results/NAME": re.compile(r"/results/[^/]+"),
}
"""Name by which paths with a part of their own are counted -> their pattern."""


class Metrics:
    """Metrics of a server, which may have several processes: those of all are then in one folder.

    Args:
        count: returns the number of vectors that are served.
        known: paths that are counted by name; all others are counted together, as anyone can make them up.
    """

    def __init__(self, count: Callable[[], int], known: frozenset[str]) -> None:
        self._registry, self._known = CollectorRegistry(), known
        self._requests = Counter(
            "aekit_requests", "Answered requests.", ["path", "method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "aekit_request_seconds", "Time to answer a request.", ["path"], buckets=SECONDS, registry=self._registry
        )
        self._count = count
        self._vectors = Gauge(
            "aekit_index_vectors", "Vectors in the index.", registry=self._registry, multiprocess_mode="mostrecent"
        )

    def answer(self) -> Response:
        """Return all metrics in the text format of Prometheus."""
        self._vectors.set(self._count())
        registry = self._registry
        if folder := os.environ.get(FOLDER):
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    def add(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = path if path in self._known else "other"
        name = next((name for name, pattern in _PATTERNS.items() if pattern.fullmatch(path)), known)
        verb = method if method in ("GET", "HEAD", "POST") else "other"
        self._requests.labels(name, verb, str(status)).inc()
        self._seconds.labels(name).observe(seconds)


class MeasuredRequests:
    """Middleware that adds every request to the metrics."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            self.metrics.add(scope["path"], scope["method"], status, time.perf_counter() - start)
