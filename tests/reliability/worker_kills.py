"""Kill worker processes while they embed, and the main process too, and compare with what a single process writes.

``python tests/reliability/worker_kills.py FOLDER [COUNT] [ENGINE]`` kills COUNT workers at random times over several runs of
``aekit embed --engine ENGINE``; each run but the last is itself killed at its end, so that the next one goes on.
It prints a line of JSON for each engine, and keeps the figures of both if COUNT is at least 20.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from figures import Figure, record

sys.path.append(str(Path(__file__).parents[1] / "encoder"))
from ray_run import actors

import aekit
from aekit.encoder import parquet_store
from aekit.encoder.engines import _processes
from aekit.progress import Progress, Task

SAMPLES, BATCH, WORKERS = 60_000, 16, 2
EXACT: dict[str, Any] = {"batch_size": BATCH, "precision": "fp32"}
"""What makes vectors equal: by itself each run measures which precision is faster."""
ENGINES = ("processes", "ray")
KILLS_A_RUN = 5
"""Workers that are killed in a run."""
PAUSE = 1.5
"""Most seconds between two kills, while workers are ready."""


class Killing(Progress):
    """Kills workers at random times; then, if asked for, this process."""

    def __init__(self, count: int, seed: int, at_work: Callable[[], list[int]], kill_main: bool) -> None:
        self.count, self.random, self.at_work, self.kill_main = count, random.Random(seed), at_work, kill_main
        self.next, self.killed = 0.0, 0

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
        if workers := self.at_work():
            os.kill(self.random.choice(workers), signal.SIGKILL)
            self.killed += 1


def record_pools() -> Callable[[], list[int]]:
    """Record the pools of processes that are started; return what returns the processes that are at work."""
    pools: list[Any] = []

    class Recorded(_processes.ProcessPool):
        def __init__(self, *arguments: Any) -> None:
            pools.append(self)
            super().__init__(*arguments)

    _processes.ProcessPool = Recorded  # type: ignore[misc]
    return lambda: [
        worker.child.process.pid for pool in pools for worker in pool.workers if worker.ready and worker.units
    ]


def embed_in_child(place: Path, engine: str, kills: int, seed: int, kill_main: bool) -> tuple[int, int]:
    """Embed in a forked process whose workers are killed; return its exit code, and how many were killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        parquet_store.PART_BYTES = 2**16
        killing = Killing(kills, seed, record_pools() if engine == "processes" else actors, kill_main)
        options: dict[str, Any] = {**EXACT, "engine": engine, "workers": WORKERS}
        code = 1
        try:
            aekit.embed(place / "run", place / "data.npy", out=place / engine, progress=killing, **options)
            os.write(1, f"{killing.killed}\n".encode())
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return os.waitstatus_to_exitcode(status), int(pipe.readline() or 0)


def rows(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Return the ids and hashes of all rows in the order of their parts, and their vectors."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))]
    ids = [name for table in tables for name in table["id"].to_pylist()]
    hashes = [stamp for table in tables for stamp in table["hash"].to_pylist()]
    return ids, hashes, aekit.Embeddings.open(folder).vectors


def trial(place: Path, engine: str, kills: int, seed: int) -> tuple[int, str]:
    """Embed, killing workers and main processes; return the number of workers that were killed, and what is wrong or ""."""
    shutil.rmtree(place / engine, ignore_errors=True)
    killed = 0
    while killed < kills:
        wanted = min(KILLS_A_RUN, kills - killed)
        code, ended = embed_in_child(place, engine, wanted, seed + killed, kill_main=killed + wanted < kills)
        killed += ended
        if code not in (0, -signal.SIGKILL) or (code and ended < wanted):
            return killed, f"exits with {code} after {killed} kills"
        if code == 0 and killed < kills:  # it came to its end before
            shutil.rmtree(place / engine)
    ids, hashes, vectors = rows(place / engine)
    expected_ids, expected_hashes, expected = rows(place / "single")
    if ids != expected_ids or hashes != expected_hashes:
        return killed, f"{len(ids)} rows, {len(set(ids))} different; expected {len(expected_ids)}, in their order"
    difference = float(np.abs(vectors - expected).max())
    names = {path.name for path in (place / engine).iterdir() if not path.name.startswith("part-")}
    if names != {"encoder", "manifest.json", "skipped.csv"}:
        return killed, f"left {sorted(names)}"
    return killed, "" if difference < 1e-5 else f"vectors differ by {difference:.2g}"


def main() -> None:
    """Run the trials, print a line of JSON for each, and keep the figures."""
    place, kills = Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    place.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).integers(0, 256, (SAMPLES, 1, 16, 16), dtype=np.uint8)
    np.save(place / "data.npy", samples)
    fast = {"train.epochs": 1, "train.precision": "fp32"}
    if not (place / "run").exists():
        aekit.fit(samples[:300], dim=16, out=place / "run", overrides=fast)
    shutil.rmtree(place / "single", ignore_errors=True)
    start = time.perf_counter()
    aekit.embed(place / "run", place / "data.npy", out=place / "single", **EXACT)
    single, figures = time.perf_counter() - start, []
    for engine in sys.argv[3:] or ENGINES:
        start = time.perf_counter()
        killed, wrong = trial(place, engine, kills, seed=kills)
        seconds = {"single": round(single, 1), "killed": round(time.perf_counter() - start, 1)}
        found = {"engine": engine, "killed": killed, "wrong": [wrong] if wrong else [], "seconds": seconds}
        print(json.dumps(found), flush=True)
        note = f"{SAMPLES:,} samples, {WORKERS} workers; the main process was killed after every {KILLS_A_RUN}"
        figures.append(Figure(f"embed --engine {engine}", "workers killed", killed, int(bool(wrong)), note))
    if kills >= 20 and len(figures) == len(ENGINES):
        record("kills-of-workers", figures)


if __name__ == "__main__":
    main()
