"""Serve with several processes, which take connections from one socket, and start those again that end."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aekit.errors import AekitError, first_line, printable
from aekit.io.atomic import write_json
from aekit.io.child_processes import Child, end_children, start_child
from aekit.io.threads import usable_cores
from aekit.serving import reloading
from aekit.serving.catalog import Catalog
from aekit.serving.protection import MAX_BYTES, MAX_BYTES_IN_FLIGHT
from aekit.serving.reloading import Served
from aekit.serving.server import GRACE_SECONDS, MAX_CONNECTIONS, access, announce

WORKER = "aekit.serving.worker"
"""Module that a worker runs."""
LONGEST_MESSAGE = 2**16
"""Most bytes of what a worker says: that it is ready, or an error."""
FAILED_STARTS = 3
"""Workers that may end in a row before they are ready."""


@dataclass
class _Worker:
    child: Child
    ready: bool = False


def run_workers(
    catalog: Catalog,
    listening: socket.socket,
    host: str,
    count: int,
    say: Callable[[str], object],
    results: Path | None = None,
) -> None:
    """Start workers, announce the address once all are ready, and serve until interrupted.

    The map is drawn here alone. Limits on connections and uploads are shared out among the workers.

    Raises:
        AekitError: workers do not start.
    """
    with TemporaryDirectory(prefix="aekit-serve-") as folder:
        supervisor = _Supervisor(catalog, listening, host, count, say, Path(folder), results)
        try:
            supervisor.run()
        finally:
            supervisor.stop()


class _Supervisor:
    def __init__(
        self,
        catalog: Catalog,
        listening: socket.socket,
        host: str,
        count: int,
        say: Callable[[str], object],
        folder: Path,
        results: Path | None,
    ) -> None:
        self._count, self._say, self._folder, self._listening = count, say, folder, listening
        self._served, self._access = Served(catalog, say), access(listening, host)
        self._workers: list[_Worker] = []
        self._failed_starts, self._announced = 0, False
        (folder / "metrics").mkdir()
        catalog.save_map(folder / "map.json")
        self._setup = json.dumps(
            {
                "socket": listening.fileno(),
                "index": os.path.abspath(catalog.index.folder or ""),
                "folder": str(folder),
                "results": str(results.resolve()) if results else "",
                "hosts": self._access.hosts,
                "token": self._access.token,
                "max_connections": -(-MAX_CONNECTIONS // count),
                "max_in_flight": max(MAX_BYTES, MAX_BYTES_IN_FLIGHT // count),
            }
        ).encode()

    def run(self) -> None:
        """Start workers, and replace those that end, forever."""
        while True:
            while len(self._workers) < self._count:
                self._start()
            by_connection: dict[Any, _Worker] = {worker.child.connection: worker for worker in self._workers}
            for connection in wait(list(by_connection), timeout=reloading.CHECK_SECONDS):
                self._receive(by_connection[connection])
            if self._served.refresh_now():
                self._served.catalog.save_map(self._folder / "map.json")

    def _start(self) -> None:
        threads, descriptors = max(1, usable_cores() // self._count), [self._listening.fileno()]
        child = start_child(WORKER, threads, logged=False, descriptors=descriptors)
        self._workers.append(_Worker(child))
        child.send_bytes(self._setup)

    def _receive(self, worker: _Worker) -> None:
        try:
            message = worker.child.receive(LONGEST_MESSAGE)
        except (EOFError, ConnectionError):
            self._remove(worker, worker.child.end())
        except OSError as error:
            worker.child.end()
            self._remove(worker, f"it sent an invalid message: {first_line(error)}")
        else:
            if message == b"ready":
                worker.ready, self._failed_starts = True, 0
            else:  # the index cannot be opened, perhaps because it is being replaced just now
                worker.child.end()
                self._remove(worker, printable(message.decode("utf-8", "replace")))
        ready = sum(other.ready for other in self._workers)
        write_json(self._folder / "health.json", {"workers": ready})
        if ready == self._count and not self._announced:
            self._announced = True
            announce(self._served.catalog, self._access, self._say)

    def _remove(self, worker: _Worker, reason: str) -> None:
        self._workers.remove(worker)
        self._failed_starts += not worker.ready
        if self._failed_starts >= FAILED_STARTS + self._count:
            raise AekitError(f"worker processes do not start: {reason}")
        self._say(f"a worker process ended and is started again: {reason}")

    def stop(self) -> None:
        """Let the workers answer the requests in progress, and end those that take too long."""
        for worker in self._workers:
            os.kill(worker.child.process.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE_SECONDS + 1
        while time.monotonic() < until and any(worker.child.process.poll() is None for worker in self._workers):
            time.sleep(0.02)
        end_children([worker.child for worker in self._workers])
