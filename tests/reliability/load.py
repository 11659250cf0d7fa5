"""Search a server over 200 connections at once, and hold requests and uploads open.

``python tests/reliability/load.py FOLDER [SECONDS [WORKERS]]`` starts ``aekit serve`` on the loopback interface and prints what
it measured:

- 200 connections search for some seconds, one request after another; every answer is compared with that of the index;
- 20 connections send images;
- 400 requests stop in the middle of their head: others are answered meanwhile, and the server closes them;
- 40 uploads of 19 MB are held open before their last byte: those above the limit are refused, and memory stays bounded.

Afterwards the server has the open files and about the memory that it had before.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, record
from PIL import Image

import aekit
from aekit.serving.protection import MAX_BYTES, MAX_BYTES_IN_FLIGHT
from aekit.serving.server import HEADER_SECONDS

CONNECTIONS, K = 200, 12
MB = 2**20
Request = Callable[[int], bytes]
Check = Callable[[int, Any], bool]


@dataclass
class Measured:
    """Requests that were sent, and how they were answered.

    Attributes:
        requests: number of requests.
        wrong: number that were refused, lost, or answered with something else than the index says.
        rate: answers per second.
        median, p99: milliseconds until the answer.
    """

    requests: int
    wrong: int
    rate: float
    median: float
    p99: float


class Server:
    """A running ``aekit serve``."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def memory(self) -> int:
        """Return the memory in MB that its processes have for themselves alone, but for shared pages."""
        texts = [Path(f"/proc/{process}/smaps_rollup").read_text() for process in self.processes()]
        return sum(int(re.findall(r"Pss:\s+(\d+)", text)[0]) for text in texts) >> 10

    def open_files(self) -> int:
        return sum(len(list(Path(f"/proc/{process}/fd").iterdir())) for process in self.processes())

    def processes(self) -> list[int]:
        """Return the ids of the main process and its workers."""
        main = self.process.pid
        return [main, *map(int, Path(f"/proc/{main}/task/{main}/children").read_text().split())]

    def head(self, path: str, length: int | None = None) -> bytes:
        """Return the head of a request; with a length, of one that sends a body."""
        method, body = ("GET", "") if length is None else ("POST", f"Content-Length: {length}\r\n")
        return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{body}\r\n".encode()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def answers(self) -> float:
        """Return the seconds until a request is answered.

        Raises:
            AssertionError: it is not answered with 200.
        """
        begun = time.monotonic()
        with self.connect() as connection:
            connection.sendall(self.head("/api/search?row=1&k=5"))
            assert connection.recv(15).startswith(b"HTTP/1.1 200")
        return time.monotonic() - begun


def prepare(folder: Path) -> None:
    """Write an index of 1,797 small images."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    np.savez(folder / "digits.npz", x=(digits.images * 15).astype(np.uint8), y=digits.target)
    encoder = aekit.fit(folder / "digits.npz", dim=16, epochs=1, backbone="mlp", out=folder / "run", report=False)
    aekit.build_index(encoder.embed(str(folder / "digits.npz"), out=folder / "embeddings"), folder / "index")


@contextmanager
def served(folder: Path, workers: int = 1) -> Iterator[Server]:
    """Serve the index in a process of its own, and so many workers."""
    command = [
        sys.executable,
        "-c",
        "from aekit.cli import main; main()",
        "serve",
        str(folder / "index"),
        "--port",
        "0",
        "--workers",
        str(workers),
    ]
    process = subprocess.Popen(
        [*command, "--method", "pca"], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if address := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise RuntimeError("".join(lines))
        yield Server(process, int(address[1]))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


async def _client(server: Server, request: Request, check: Check, until: float, number: int, times: list[float]) -> int:
    """Send requests over one connection until a time; return how many were answered wrongly."""
    wrong = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    while time.monotonic() < until:
        number = number * 48271 % 2147483647
        begun = time.monotonic()
        writer.write(request(number))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.findall(rb"content-length: (\d+)", head.lower())[0])
        content = await reader.readexactly(length)
        times.append(time.monotonic() - begun)
        wrong += not head.startswith(b"HTTP/1.1 200") or not check(number, json.loads(content))
    writer.close()
    return wrong


def measure(server: Server, connections: int, seconds: float, request: Request, check: Check) -> Measured:
    """Send requests over several connections, each one after another."""
    times: list[float] = []

    async def together() -> list[int | BaseException]:
        until = time.monotonic() + seconds
        clients = [_client(server, request, check, until, number + 1, times) for number in range(connections)]
        return await asyncio.gather(*clients, return_exceptions=True)

    begun = time.monotonic()
    wrong = sum(1 if isinstance(one, BaseException) else one for one in asyncio.run(together()))
    low, high = (round(float(np.quantile(times, share)) * 1000, 1) for share in (0.5, 0.99))
    return Measured(len(times), wrong, round(len(times) / (time.monotonic() - begun), 1), low, high)


def searches(server: Server, folder: Path, seconds: float) -> tuple[Measured, Measured]:
    """Search for samples of the index, and for images that are sent."""
    index = aekit.open_index(folder / "index")
    known = [index.engine.search(index.engine.vectors(np.asarray([row])), K + 1)[0][0] for row in range(len(index))]
    images = np.load(folder / "digits.npz")["x"]

    def sent(number: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(images[number % len(images)]).save(buffer, "PNG")
        return server.head(f"/api/search?k={K}", buffer.tell()) + buffer.getvalue()

    def neighbors(number: int, hits: Any) -> bool:
        # The sample is its own nearest, and not among its neighbors; of equal scores any may come first.
        scores = [hit["score"] for hit in hits]
        return len(hits) == K and np.allclose(scores, known[number % len(index)][1:], atol=1e-4)

    rows = measure(
        server, CONNECTIONS, seconds, lambda n: server.head(f"/api/search?row={n % len(index)}&k={K}"), neighbors
    )
    files = measure(
        server, 20, seconds / 4, sent, lambda number, hits: abs(hits[0]["score"] - known[number % len(index)][0]) < 1e-3
    )
    return rows, files


def half_requests(server: Server, count: int = 400) -> dict[str, Any]:
    """Send heads that do not end; return whether others were answered, and how many were still open after the limit."""
    connections = [server.connect() for _ in range(count)]
    for connection in connections:
        connection.sendall(server.head("/api/index")[:-2] + b"X-More: ")
    answered = server.answers()
    time.sleep(HEADER_SECONDS + 2)
    still_open = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            still_open += connection.recv(1) != b""
        except BlockingIOError:
            still_open += 1
        except OSError:
            pass
        connection.close()
    return {"requests": count, "answered_after": round(answered, 3), "still_open": still_open}


def held_uploads(server: Server, count: int = 40) -> dict[str, Any]:
    """Hold uploads open before their last byte; return how many were refused, and the memory that the others took."""
    size, before, connections = MAX_BYTES - MB, server.memory(), []
    for _ in range(count):
        connection = server.connect()
        connections.append(connection)
        try:
            connection.sendall(server.head("/api/search", size) + bytes(size - 1))
        except OSError:
            continue  # refused before its end
    time.sleep(1)
    taken, answered, refused = server.memory() - before, server.answers(), 0
    for connection in connections:
        connection.setblocking(False)
        try:
            refused += b" 503 " in connection.recv(40)
        except BlockingIOError:
            pass
        except OSError:
            refused += 1
        connection.close()
    return {"uploads": count, "refused": refused, "memory_mb": taken, "answered_after": round(answered, 3)}


def load(folder: Path, seconds: float, workers: int = 1) -> dict[str, Any]:
    """Run all of it; return what was measured, and what is wrong about it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "index").exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepare(folder)
    with served(folder, workers) as server:
        measure(
            server, 20, 1, lambda _: server.head("/api/search?row=1&k=5"), lambda *_: True
        )  # it caches what it reads
        before, files_before = server.memory(), server.open_files()
        rows, files = searches(server, folder, seconds)
        grown = server.memory() - before
        half, held = half_requests(server), held_uploads(server)
        time.sleep(1)
        left = {"memory_mb": server.memory() - before, "open_files": server.open_files() - files_before}
    checks = {
        "searches are answered wrongly": rows.wrong,
        "images are answered wrongly": files.wrong,
        "memory grows with searches": grown > 100,
        "half requests stay open": half["still_open"],
        "held uploads take more memory than the limit": held["memory_mb"] > MAX_BYTES_IN_FLIGHT / MB + 120,
        "no held upload is refused": not held["refused"],
        "files stay open": left["open_files"] > 5,
    }
    wrong = [what for what, is_wrong in checks.items() if is_wrong]
    measured = {"searches": asdict(rows), "images": asdict(files), "memory_mb": grown}
    return measured | {"half_requests": half, "held_uploads": held, "afterwards": left, "wrong": wrong}


def main() -> None:
    """Print what was measured, and keep the figures."""
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    workers = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    result = load(Path(sys.argv[1]), seconds, workers)
    print(json.dumps(result, indent=2))
    rows = []
    for name, connections in (("searches", CONNECTIONS), ("images", 20)):
        told = result[name]
        note = f"{told['rate']:.0f} answers/s, median {told['median']:.0f} ms, p99 {told['p99']:.0f} ms"
        rows.append(Figure(f"serve, {name}", f"{connections} connections", told["requests"], told["wrong"], note))
    half, held = result["half_requests"], result["held_uploads"]
    note = f"all closed within {HEADER_SECONDS + 2:.0f} s; others answered after {half['answered_after']} s"
    rows.append(Figure("serve, half requests", "held open", half["requests"], half["still_open"], note))
    note = f"{held['refused']} refused; the others take {held['memory_mb']} MB; others answered after {held['answered_after']} s"
    late = [line for line in result["wrong"] if "upload" in line or "memory" in line or "files" in line]
    rows.append(Figure("serve, uploads of 19 MB", "held open", held["uploads"], len(late), note))
    record("load" if workers == 1 else "load-on-workers", rows)


if __name__ == "__main__":
    main()
