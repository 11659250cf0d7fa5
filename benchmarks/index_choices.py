"""Compare the index that aekit chooses with the best one chosen by hand, over embeddings of images.

    python benchmarks/index_choices.py [--counts 10000 100000 1000000] [--only aekit,faiss] [--folder choices]

The vectors are 64-dimensional codes of Fashion-MNIST and MNIST by a small network that is trained first; above 140,000 they are
those of the images moved by up to three pixels and mirrored. Queries are 1,000 of their test images, which are not in the index.
For each library and kind of index, the settings of the search are raised until the recall of the ten nearest neighbors is .95,
and .99. The rates are queries a second: the best of three rounds, each of five times 1,000 at once and of single ones. `ratio`
compares the rate of aekit's choice with the best rate of that column; `10,000 queries` is the time to build and to search for so
many at once.
AEKIT_DATA must hold the images. hnswlib, usearch and autofaiss take part where they are installed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import aekit

BATCHES = 5
K, QUERIES, SINGLE, ROUNDS = 10, 1000, 200, 3
TARGETS = (0.95, 0.99)
GRAPH_STEPS = [10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
"""Nodes of a graph to visit, from the number of neighbors on."""
STEPS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
GRAPH_LIMIT = 2_000_000
"""Vectors above which a graph takes hours to build on two cores."""
Search = Callable[[np.ndarray, int], np.ndarray]


class Candidate(NamedTuple):
    """An index: its name, the seconds that it took to build, and the searches to try, from the fastest on."""

    name: str
    seconds: float
    efforts: Iterator[tuple[str, Search]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--only", default=",".join(LIBRARIES), help="libraries, separated by commas")
    parser.add_argument("--folder", type=Path, help="where vectors are kept from run to run")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        vectors, queries = embeddings(folder, max(settings.counts))
        for count in settings.counts:
            compare(vectors[:count], queries, settings.only.split(","))


def compare(vectors: np.ndarray, queries: np.ndarray, libraries: list[str]) -> None:
    """Print the table of one number of vectors."""
    print(f"\n{len(vectors):,} x {vectors.shape[1]}, inner product of unit vectors, {K} nearest", flush=True)
    print(
        f"{'index':38} {'build s':>8} {'asked':>6} {'recall':>7} {'1000 at once':>13} {'one':>8} {'10,000 queries':>15}"
    )
    truth = exact(vectors, queries)
    rows: dict[float, list[tuple[str, float, float, float]]] = {target: [] for target in TARGETS}
    for library in libraries:
        for candidate in LIBRARIES[library](vectors):
            for target, (effort, recall, together, single) in measured(candidate, queries, truth).items():
                total = candidate.seconds + 10_000 / together
                rows[target].append((candidate.name, together, single, total))
                name = f"{candidate.name} {effort}".strip()
                figures = f"{candidate.seconds:8.1f} {target:6.2f} {recall:7.3f} {together:13,.0f} {single:8,.0f} {total:13.1f} s"
                print(f"{name:38} {figures}", flush=True)
    for target, entries in rows.items():
        chosen = next((entry for entry in entries if entry[0].startswith(f"aekit {target:g}")), None)
        if chosen is not None:
            best = [max(entry[column] for entry in entries) for column in (1, 2)] + [min(entry[3] for entry in entries)]
            ratios = (chosen[1] / best[0], chosen[2] / best[1], best[2] / chosen[3])
            texts = [f"{ratio:.2f}" for ratio in ratios]
            print(
                f"ratio at {target:g}: 1000 at once {texts[0]}, one at a time {texts[1]}, 10,000 queries {texts[2]}",
                flush=True,
            )


def measured(
    candidate: Candidate, queries: np.ndarray, truth: np.ndarray
) -> dict[float, tuple[str, float, float, float]]:
    """Return for each recall the first setting that reaches it, its recall, and its rates at once and one at a time."""
    results = {}
    pending = list(TARGETS)
    for effort, search in candidate.efforts:
        recall = recall_of(search(queries, K), truth)
        if reached := [target for target in pending if recall >= target]:
            figures = (effort, recall, *rates(search, queries))
            results |= dict.fromkeys(reached, figures)
            pending = [target for target in pending if target not in reached]
        if not pending:
            break
    return results


def rates(search: Search, queries: np.ndarray) -> tuple[float, float]:
    """Return queries per second, all at once and one at a time: the best of some rounds."""
    together, single = np.inf, np.inf
    for _ in range(ROUNDS):
        for _ in range(BATCHES):  # the first wakes the threads
            start = time.perf_counter()
            search(queries, K)
            together = min(together, time.perf_counter() - start)
        start = time.perf_counter()
        for number in range(SINGLE):
            search(queries[number : number + 1], K)
        single = min(single, time.perf_counter() - start)
    return len(queries) / together, SINGLE / single


def recall_of(nearest: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(*pair)) / K for pair in zip(nearest[:, :K], truth)]))


def exact(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the (Q, K) rows of the nearest vectors, by comparing all, a million at a time."""
    import faiss

    parts = []
    for start in range(0, len(vectors), 1_000_000):
        scores, rows = faiss.knn(
            queries, np.ascontiguousarray(vectors[start : start + 1_000_000]), K, metric=faiss.METRIC_INNER_PRODUCT
        )
        parts.append((scores, rows + start))
    scores, rows = (np.concatenate(columns, 1) for columns in zip(*parts))
    return np.take_along_axis(rows, np.argsort(-scores, axis=1)[:, :K], 1)


def embeddings(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (count, 64) and (QUERIES, 64) unit vectors of images, which are kept in a folder."""
    path, asked = folder / f"vectors-{count}.npy", folder / "queries.npy"
    if not path.exists() or not asked.exists():
        images, tests = (
            np.concatenate([idx(name, part) for name in ("FashionMNIST", "MNIST")]) for part in ("train", "t10k")
        )
        tests = tests[np.random.default_rng(0).permutation(len(tests))[:QUERIES]]
        encoder = aekit.fit(
            images[::4], dim=64, epochs=3, backbone="mlp", overrides={"encoder.mlp.hidden": [256]}, report=False
        )
        images = images[np.random.default_rng(1).permutation(len(images))]
        np.save(asked, unit(np.asarray(encoder.embed(tests, precision="fp32"))))
        vectors = np.lib.format.open_memmap(path, "w+", np.float32, (count, 64))
        start = 0
        for moved in variations(images):
            some = moved[: count - start]
            vectors[start : start + len(some)] = unit(np.asarray(encoder.embed(some, precision="fp32")))
            start += len(some)
            if start == count:
                break
        vectors.flush()
    return np.load(path, mmap_mode="r"), np.load(asked)


def variations(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images (N, 28, 28), then all of them moved and mirrored in one way after the other."""
    moves = sorted(product(range(-3, 4), repeat=2), key=lambda move: move[0] ** 2 + move[1] ** 2)
    for move in moves:
        moved = np.roll(images, move, (1, 2))
        yield moved
        yield moved[:, :, ::-1]


def idx(name: str, part: str) -> np.ndarray:
    """Return the (N, 28, 28) images of a part of a data set."""
    source = aekit.open_data(Path(os.environ["AEKIT_DATA"]) / DATA[name])
    rows = source.rows_of("train" if part == "train" else "test")
    return source.read(rows)[0].reshape(-1, 28, 28)


DATA = {"FashionMNIST": "fashion-mnist", "MNIST": "mnist"}


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def by_aekit(vectors: np.ndarray) -> Iterator[Candidate]:
    """What aekit chooses and tunes itself, with nothing set but the recall."""
    for target in TARGETS:
        start = time.perf_counter()
        index = aekit.build_index(vectors, metric="ip", options={"target_recall": target})
        seconds = time.perf_counter() - start
        effort = " ".join(f"{name}={value}" for name, value in index.engine.effort.items())
        search: Search = lambda queries, k, index=index: index.search(queries, k)[1]  # noqa: E731
        yield Candidate(f"aekit {target:g}: {index.engine.kind}", seconds, iter([(effort, search)]))


def by_faiss(vectors: np.ndarray) -> Iterator[Candidate]:
    """What a person tries by hand, with the fast matrix kernels that aekit has chosen for the process."""
    import faiss

    lists = max(64, 2 ** round(np.log2(4 * len(vectors) ** 0.5)))
    kinds = ["Flat"] if len(vectors) <= GRAPH_LIMIT else []
    kinds += [
        f"IVF{lists},Flat",
        f"IVF{lists // 2},SQfp16",
        f"IVF{lists},SQfp16",
        f"IVF{lists},SQ8",
        f"IVF{lists},PQ32x4fs,Refine(SQfp16)",
    ]
    kinds += ["HNSW32"] if len(vectors) <= GRAPH_LIMIT else []
    for kind in kinds:
        start = time.perf_counter()
        index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        if "HNSW" in kind:
            index.hnsw.efConstruction = 200
        if not index.is_trained:
            index.train(np.ascontiguousarray(vectors[:: max(1, len(vectors) // (64 * lists))]))
        for place in range(0, len(vectors), 1_000_000):
            index.add(np.ascontiguousarray(vectors[place : place + 1_000_000]))
        yield Candidate(f"faiss {kind}", time.perf_counter() - start, efforts_of_faiss(index, kind))


def efforts_of_faiss(index: Any, kind: str) -> Iterator[tuple[str, Search]]:
    import faiss

    search: Search = lambda queries, k: index.search(queries, k)[1]  # noqa: E731
    name = "nprobe" if "IVF" in kind else "efSearch" if "HNSW" in kind else ""
    if not name:
        yield "", search
        return
    if "Refine" in kind:
        faiss.ParameterSpace().set_index_parameter(index, "k_factor_rf", 4)
    for step in STEPS if name == "nprobe" else GRAPH_STEPS:
        faiss.ParameterSpace().set_index_parameter(index, name, step)
        yield f"{name}={step}", search


def by_hnswlib(vectors: np.ndarray) -> Iterator[Candidate]:
    import hnswlib

    for links in (16, 32) if len(vectors) <= GRAPH_LIMIT else ():
        start = time.perf_counter()
        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(len(vectors), ef_construction=200, M=links)
        index.add_items(vectors)
        seconds = time.perf_counter() - start

        def efforts(index: Any = index) -> Iterator[tuple[str, Search]]:
            for step in GRAPH_STEPS:
                index.set_ef(step)
                yield f"ef={step}", lambda queries, k: index.knn_query(queries, k)[0]

        yield Candidate(f"hnswlib M={links}", seconds, efforts())


def by_usearch(vectors: np.ndarray) -> Iterator[Candidate]:
    from usearch.index import Index

    for kind in ("f32", "f16") if len(vectors) <= GRAPH_LIMIT else ():
        start = time.perf_counter()
        index = Index(ndim=vectors.shape[1], metric="ip", dtype=kind, connectivity=16, expansion_add=200)
        index.add(np.arange(len(vectors)), np.asarray(vectors))
        seconds = time.perf_counter() - start

        def efforts(index: Any = index) -> Iterator[tuple[str, Search]]:
            for step in GRAPH_STEPS:
                index.expansion_search = step
                yield f"expansion={step}", lambda queries, k: index.search(queries, k).keys.reshape(len(queries), k)

        yield Candidate(f"usearch {kind}", seconds, efforts())


def by_autofaiss(vectors: np.ndarray) -> Iterator[Candidate]:
    """What autofaiss chooses for 10 ms a query; its search is tuned further to the recall, which it does not do itself."""
    import autofaiss

    start = time.perf_counter()
    index, facts = autofaiss.build_index(
        np.asarray(vectors), save_on_disk=False, max_index_memory_usage="8G", current_memory_available="12G", verbose=40
    )
    kind = facts["index_key"]
    yield Candidate(f"autofaiss {kind}", time.perf_counter() - start, efforts_of_faiss(index, kind))


LIBRARIES: dict[str, Callable[[np.ndarray], Iterator[Candidate]]] = {
    "aekit": by_aekit,
    "faiss": by_faiss,
    **{
        name: function
        for name, function in (("hnswlib", by_hnswlib), ("usearch", by_usearch), ("autofaiss", by_autofaiss))
        if find_spec(name)
    },
}


if __name__ == "__main__":
    main()
