"""Compare exact search by aekit's index with plain FAISS, and measure the speed and recall of each kind of index.

    python benchmarks/search.py [--quick] [--count 1000000] [--dim 128]

Both sides search the same clustered vectors, each in a separate process, because OpenBLAS chooses its kernels when it is loaded.
OPENBLAS_CORETYPE is removed from their environment, as it would preset them. The sides alternate, and the best of all rounds
counts, so that a busy moment of the machine affects both or neither.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = (1, 16, 256, 1024)
ROUNDS = 3
K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200_000, help="number of vectors")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--quick", action="store_true", help="20000 vectors, one round")
    parser.add_argument("--side", choices=("aekit", "faiss", "kinds"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.side:
        print(json.dumps(SIDES[settings.side](np.load(settings.data, allow_pickle=False), settings.quick)))
        return
    if settings.quick:
        settings.count = 20_000
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "vectors.npy"
        np.save(data, clustered(settings.count, settings.dim))
        compare(data, settings)


def compare(data: Path, settings: argparse.Namespace) -> None:
    """Print both tables."""
    results: dict[str, list[dict[str, Any]]] = {"faiss": [], "aekit": []}
    for _ in range(1 if settings.quick else ROUNDS):
        for side, rounds in results.items():
            rounds.append(run(side, data, settings))
    print(f"exact search of {settings.count} x {settings.dim}, inner product, {K} nearest: queries per second")
    print(f"{'batch':>6} {'plain faiss':>12} {'aekit':>12} {'ratio':>7}")
    for batch in map(str, BATCHES):
        plain, ours = (max(result["rates"][batch] for result in results[side]) for side in ("faiss", "aekit"))
        print(f"{batch:>6} {plain:12.0f} {ours:12.0f} {ours / plain:7.2f}")
    assert results["faiss"][0]["rows"] == results["aekit"][0]["rows"], "the two sides return different neighbors"

    print(f"\nkinds of index over the same vectors, recall@{K} measured on vectors that were not used for tuning")
    print(f"{'kind':24} {'build s':>8} {'recall':>7} {'batch 1 /s':>12} {'batch 1024 /s':>15}  settings")
    for row in run("kinds", data, settings)["kinds"]:
        rates = row["rates"]
        print(
            f"{row['kind']:24} {row['seconds']:8.1f} {row['recall']:7.3f} {rates['1']:12.0f} {rates['1024']:15.0f}"
            f"  {row['settings']}"
        )


def clustered(count: int, dim: int) -> np.ndarray:
    """Draw (N, D) unit vectors around `count` / 500 centers, as trained encoders form clusters and random vectors do not."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((max(2, count // 500), dim), dtype=np.float32)
    vectors = centers[rng.integers(0, len(centers), count)]
    for start in range(0, count, 100_000):
        block = vectors[start : start + 100_000]
        block += 0.7 * rng.standard_normal(block.shape, dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def run(side: str, data: Path, settings: argparse.Namespace) -> dict[str, Any]:
    """Run one side in a separate process."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    command = [sys.executable, __file__, "--side", side, "--data", str(data), *(["--quick"] if settings.quick else [])]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def plain_faiss(vectors: np.ndarray, quick: bool) -> dict[str, Any]:
    """Search as in the FAISS tutorial."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return {"rates": rates(index.search, vectors, quick), "rows": sample(index.search, vectors)}


def by_aekit(vectors: np.ndarray, quick: bool) -> dict[str, Any]:
    """Search with `VectorIndex.search`."""
    import aekit

    index = aekit.build_index(vectors, metric="ip", options={"kind": "Flat"})
    return {"rates": rates(index.search, vectors, quick), "rows": sample(index.search, vectors)}


def kinds(vectors: np.ndarray, quick: bool) -> dict[str, Any]:
    """Measure the automatic choice and other kinds of index."""
    import aekit

    lists = "IVF256" if quick else "IVF1024" if len(vectors) < 500_000 else "IVF4096"
    rows = []
    for kind in ("auto", "Flat", f"{lists},Flat", f"{lists},SQfp16", f"{lists},SQ8", "HNSW32"):
        start = time.perf_counter()
        index = aekit.build_index(vectors, metric="ip", options={"kind": kind})
        seconds = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            chosen = index.engine.save(Path(folder) / "index")
        name = f"auto: {chosen['kind']}" if kind == "auto" else kind
        effort = ", ".join(f"{key} {value}" for key, value in chosen.items() if key != "kind")
        row = {"kind": name, "seconds": seconds, "recall": index.manifest["recall"], "settings": effort}
        rows.append(row | {"rates": rates(index.search, vectors, quick)})
    return {"kinds": rows}


SIDES = {"faiss": plain_faiss, "aekit": by_aekit, "kinds": kinds}


def rates(search: Any, vectors: np.ndarray, quick: bool) -> dict[int, float]:
    """Return batch size -> queries per second, the best of a few rounds."""
    queries = queries_near(vectors)
    fastest = {}
    for batch in BATCHES:
        best = np.inf
        search(queries[:batch], K)
        for _ in range(1 if quick else 5):
            start = time.perf_counter()
            search(queries[:batch], K)
            best = min(best, time.perf_counter() - start)
        fastest[batch] = batch / best
    return fastest


def sample(search: Any, vectors: np.ndarray) -> list[list[int]]:
    """Return the neighbors of a few queries, which are the same on both sides."""
    return [sorted(row) for row in search(queries_near(vectors)[:8], K)[1].tolist()]


def queries_near(vectors: np.ndarray) -> np.ndarray:
    """Draw (1024, D) queries near the vectors but not among them."""
    rng = np.random.default_rng(1)
    near = vectors[rng.integers(0, len(vectors), max(BATCHES))]
    near = near + 0.03 * rng.standard_normal(near.shape, dtype=np.float32)
    return near / np.linalg.norm(near, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
