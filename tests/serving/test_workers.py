"""Several processes serve one index: their numbers are counted together, and one that ends is started again."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command

import aekit
from aekit.errors import AekitError, RecipeError
from aekit.index.vector_index import open_index

pytest.importorskip("uvicorn", reason="serving needs the extra 'serve'")

from aekit.serving import workers
from aekit.serving.catalog import Catalog
from aekit.serving.server import access, bind_socket

ROWS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


def build(folder: Path, count: int) -> Path:
    vectors = aekit.Embeddings.from_array(ROWS[:count], ids=[f"s{row}" for row in range(count)])
    vectors.digest = vectors.manifest["digest"] = "0" * 64
    aekit.build_index(vectors, folder)
    return folder


class Served:
    """A running ``aekit serve``."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.lines = process, list[str]()
        self.port = int(re.findall(r":(\d+)", url)[0])
        self.token = url.partition("token=")[2]
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def ask(self, path: str, token: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        token = self.token if token is None else token
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        answer = response.status, response.read().decode()
        connection.close()
        return answer

    def fetch(self, path: str) -> Any:
        status, text = self.ask(path)
        assert status == 200, text
        return json.loads(text)

    def children(self) -> list[int]:
        process = self.process.pid
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@contextmanager
def served(index: Path, *options: str, **environment: str) -> Iterator[Served]:
    line = [sys.executable, "-u", "-m", "aekit", "serve", str(index), "--port", "0", "--method", "pca", "-q", *options]
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment
    )
    assert process.stdout is not None
    server = None
    try:
        for said in process.stdout:
            if address := re.search(r"http://\S+", said):
                server = Served(process, address[0])
                yield server
                break
        else:
            raise AssertionError("it has ended")
    finally:
        process.kill()
        process.wait()
        if server is not None:
            server.listener.join()
        process.stdout.close()


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_two_workers_serve_one_index(tmp_path: Path) -> None:
    index = build(tmp_path / "index", 40)
    token, results = "a-token-of-the-user", str(tmp_path / "results")
    aekit.curate(ROWS, 3, out=tmp_path / "results" / "next")
    options = ("--workers", "2", "--host", "0.0.0.0", "--results", results)
    with served(index, *options, AEKIT_TOKEN=token) as server:
        assert server.token == token and server.ask("/api/index", token="another")[0] == 401
        assert server.ask("/healthz", token="") == (200, '{"status":"ok","workers":2}')
        expected = server.fetch("/api/search?row=7&k=5")
        assert [hit["row"] for hit in expected] == open_index(index).search_ids(["s7"], 6)[1][0].tolist()[:5]
        for path in ("/results/next", "/api/results/next"):
            assert server.ask(path, token="another")[0] == 401
        assert all(server.ask("/results/next")[0] == 200 for _ in range(6)), "every worker shows the results"
        answers = [server.fetch("/api/search?row=7&k=5") for _ in range(30)]
        assert answers == [expected] * 30
        counted = 'aekit_requests_total{method="GET",path="/api/search",status="200"}'
        wait_until(lambda: f"{counted} 31.0" in server.ask("/metrics")[1])  # a worker counts after it has answered
        assert "aekit_index_vectors 40.0" in server.ask("/metrics")[1]

        victim = server.children()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: any("is started again" in line for line in server.lines))
        assert server.fetch("/api/search?row=7&k=5") == expected, "the other one answers meanwhile"
        wait_until(lambda: server.fetch("/healthz").get("workers") == 2)
        # The numbers of a worker that has ended remain.
        wait_until(lambda: f"{counted} 32.0" in server.ask("/metrics")[1])

        build(index, 60)
        wait_until(lambda: all(server.fetch("/api/index")["count"] == 60 for _ in range(20)))
        assert server.fetch("/api/map")["rows"] == list(range(60)), "the map is drawn anew"
        assert [line for line in server.lines if "grown" in line] == ["the index has grown: 60 samples\n"]

        children = server.children()
        assert len(children) == 2 and victim not in children
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=20) == 130
        assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert not any("Traceback" in line for line in server.lines), server.lines


@pytest.mark.slow
def test_workers_end_with_a_main_process_that_is_killed(tmp_path: Path) -> None:
    with served(build(tmp_path / "index", 40), "--workers", "2") as server:
        children = server.children()
        server.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def test_workers_that_do_not_start_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog(open_index(build(tmp_path / "index", 40)), method="pca")
    with bind_socket("127.0.0.1", 0) as listening:
        monkeypatch.setattr(workers, "WORKER", "platform")  # a module that prints a line and ends
        said: list[str] = []
        with pytest.raises(AekitError, match=r"^worker processes do not start: it exited with code 0$"):
            workers.run_workers(catalog, listening, "127.0.0.1", 1, said.append)
        assert said == ["a worker process ended and is started again: it exited with code 0"] * 3


def test_a_token_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    with bind_socket("127.0.0.1", 0) as listening:
        assert access(listening, "127.0.0.1").token == ""
        tokens = {access(listening, "0.0.0.0").token for _ in range(3)}
        assert len(tokens) == 3 and min(map(len, tokens)) >= 24
        for short in ("abc", "a b" * 9, "é" * 20, "a&b=" * 9):
            monkeypatch.setenv("AEKIT_TOKEN", short)
            with pytest.raises(RecipeError, match="AEKIT_TOKEN: expected at least 16 letters") as caught:
                access(listening, "0.0.0.0")
            assert short not in str(caught.value)
        monkeypatch.setenv("AEKIT_TOKEN", "t" * 16)
        assert access(listening, "::").url.endswith("/?token=" + "t" * 16)


def test_the_number_of_workers_is_checked(tmp_path: Path, command: Command) -> None:
    assert "0 is not in the range x>=1" in command("serve", tmp_path, "--workers", 0).error
