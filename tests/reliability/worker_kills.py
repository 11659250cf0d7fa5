"""Kill worker processes while they embed, and the main process too, and compare with what a single process writes.

``python tests/reliability/worker_kills.py FOLDER [COUNT]`` kills COUNT workers at random times over several runs of
``aekit embed --engine processes``; each run but the last is itself killed at its end, so that the next one goes on.
It prints a line of JSON, and keeps the figures if COUNT is at least 20.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from figures import Figure, record

import aekit
from aekit.encoder import parquet_store
from aekit.encoder.engines import _processes
from aekit.progress import Progress, Task

SAMPLES, BATCH, WORKERS = 60_000, 16, 2
KILLS_A_RUN = 5
"""Workers that are killed in a run."""
PAUSE = 1.5
"""Most seconds between two kills, while workers are ready."""


class Killing(Progress):
    """Kills workers at random times; then, if asked for, this process."""

    def __init__(self, count: int, seed: int, pools: list[Any], kill_main: bool) -> None:
        self.count, self.random, self.pools, self.kill_main = count, random.Random(seed), pools, kill_main
        self.next = 0.0
        self.killed, self.started_again = 0, 0

    def say(self, text: str) -> None:
        self.started_again += "is started again" in text

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        outer = self

        class Kills(Task):
            def advance(self, units: int = 1, note: str = "") -> None:
                outer.perhaps_kill()

        yield Kills()

    def perhaps_kill(self) -> None:
        """Kill a worker that is at work, if it is time to."""
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + self.random.random() * PAUSE
        if self.killed == self.count:
            if self.kill_main:
                os.write(1, f"{self.killed}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return
        ready = [worker for pool in self.pools for worker in pool.workers if worker.ready and worker.units]
        if ready:
            self.random.choice(ready).child.process.kill()
            self.killed += 1


def embed_in_child(place: Path, kills: int, seed: int, kill_main: bool) -> tuple[int, int]:
    """Embed in a forked process whose workers are killed; return its exit code, and how many were killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        pools: list[Any] = []

        class Recorded(_processes.ProcessPool):
            def __init__(self, *arguments: Any) -> None:
                pools.append(self)
                super().__init__(*arguments)

        _processes.ProcessPool = Recorded  # type: ignore[misc]
        parquet_store.PART_BYTES = 2**16
        killing = Killing(kills, seed, pools, kill_main)
        options: dict[str, Any] = {"batch_size": BATCH, "engine": "processes", "workers": WORKERS}
        code = 1
        try:
            aekit.embed(place / "run", place / "data.npy", out=place / "several", progress=killing, **options)
            os.write(1, f"{killing.killed}\n".encode())
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return os.waitstatus_to_exitcode(status), int(pipe.read() or 0)


def rows(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Return the ids and hashes of all rows in the order of their parts, and their vectors."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))]
    ids = [name for table in tables for name in table["id"].to_pylist()]
    hashes = [stamp for table in tables for stamp in table["hash"].to_pylist()]
    return ids, hashes, aekit.Embeddings.open(folder).vectors


def trial(place: Path, kills: int, seed: int) -> tuple[int, str]:
    """Embed, killing workers and main processes; return the number of workers that were killed, and what is wrong or ""."""
    shutil.rmtree(place / "several", ignore_errors=True)
    killed = 0
    while killed < kills:
        wanted = min(KILLS_A_RUN, kills - killed)
        code, ended = embed_in_child(place, wanted, seed + killed, kill_main=killed + wanted < kills)
        killed += ended
        if code not in (0, -signal.SIGKILL) or (code and ended < wanted):
            return killed, f"exits with {code} after {killed} kills"
        if code == 0 and killed < kills:  # it came to its end before
            shutil.rmtree(place / "several")
    ids, hashes, vectors = rows(place / "several")
    expected_ids, expected_hashes, expected = rows(place / "single")
    if ids != expected_ids or hashes != expected_hashes:
        return killed, f"{len(ids)} rows, {len(set(ids))} different; expected {len(expected_ids)}, in their order"
    difference = float(np.abs(vectors - expected).max())
    names = {path.name for path in (place / "several").iterdir() if not path.name.startswith("part-")}
    if names != {"encoder", "manifest.json", "skipped.csv"}:
        return killed, f"left {sorted(names)}"
    return killed, "" if difference < 1e-5 else f"vectors differ by {difference:.2g}"


def main() -> None:
    """Run the trial, print a line of JSON, and keep the figures."""
    place, kills = Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    place.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).integers(0, 256, (SAMPLES, 1, 16, 16), dtype=np.uint8)
    np.save(place / "data.npy", samples)
    fast = {"train.epochs": 1, "train.precision": "fp32"}
    if not (place / "run").exists():
        aekit.fit(samples[:300], dim=16, out=place / "run", overrides=fast)
    shutil.rmtree(place / "single", ignore_errors=True)
    start = time.perf_counter()
    aekit.embed(place / "run", place / "data.npy", out=place / "single", batch_size=BATCH)
    single, start = time.perf_counter() - start, time.perf_counter()
    killed, wrong = trial(place, kills, seed=kills)
    seconds = {"single": round(single, 1), "killed": round(time.perf_counter() - start, 1)}
    print(json.dumps({"killed": killed, "wrong": [wrong] if wrong else [], "seconds": seconds}))
    if kills >= 20:
        note = f"{SAMPLES:,} samples, {WORKERS} workers; the main process was killed after every {KILLS_A_RUN}"
        record(
            "kills-of-workers", [Figure("embed --engine processes", "workers killed", killed, int(bool(wrong)), note)]
        )


if __name__ == "__main__":
    main()
