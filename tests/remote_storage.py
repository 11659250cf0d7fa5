"""A real S3 server on loopback, with a proxy in front of it that injects faults."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "bucket"


@dataclass
class Storage:
    """The server as its clients see it.

    Attributes:
        endpoint: URL of the proxy.
        requests: (method, path) of all requests so far.
        fault: decides by method and path what happens to a request: "", "500", "slow", "cut" or "forbidden".
    """

    endpoint: str
    upstream: tuple[str, int]
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[str, str], str] = lambda method, path: ""

    def count(self, method: str, ending: str = "") -> int:
        """Count the requests for objects whose key ends so."""
        return sum(kind == method and path.partition("?")[0].endswith(ending) for kind, path in self.requests)

    def fail(self, times: int, kind: str, method: str, ending: str) -> None:
        """Fail the next requests for an object."""
        left = [times]
        lock = threading.Lock()

        def fault(asked: str, path: str) -> str:
            with lock:
                if asked == method and path.partition("?")[0].endswith(ending) and left[0]:
                    left[0] -= 1
                    return kind
            return ""

        self.fault = fault


@contextmanager
def serve_storage() -> Iterator[Storage]:
    """Run moto's S3 server and the proxy."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    storage = Storage("", server.get_host_and_port())

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            storage.requests.append((self.command, self.path))
            kind = storage.fault(self.command, self.path)
            if kind in ("500", "forbidden"):
                self.send_response(500 if kind == "500" else 403)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if kind == "slow":
                time.sleep(0.5)
            connection = http.client.HTTPConnection(*storage.upstream, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if kind == "cut" else content)
            if kind == "cut":
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = relay

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    storage.endpoint = f"http://127.0.0.1:{proxy.server_address[1]}"
    try:
        yield storage
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        server.stop()
