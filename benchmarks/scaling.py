"""Measure how time and memory grow with the number of samples, from training to maps.

    python benchmarks/scaling.py [--largest 1000000] [--index-largest 10000000] [--only embed,index] [--folder scaling]

The samples are grayscale images of 28 x 28 bytes in a memory-mapped file, of ten classes, made from eight factors. Each stage
runs in a process of its own, on what the stage before it wrote. Beside the seconds of its processors, which other work on the
machine disturbs little, and its peak of resident memory, to which mapped files count, stands the exponent of n since the size
above: 1 is linear, n log n is about 1.1, 0 does not depend on n. The last column is wall time.
Lines at the end name the stages that grow faster than n log n, and from which size on. Sizes above --largest index bare vectors.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

SIDE, DIM, CLASSES, FACTORS = 28, 32, 10, 8
CHUNK = 10_000
SMALLEST = 1_000
FIXED_SECONDS = 0.5
"""Less than this says nothing about growth."""


def write_samples(folder: Path, count: int) -> None:
    """Write ``x.npy`` (count, 28, 28) uint8 and ``y.npy`` (count,), a chunk at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(folder / "x.npy", "w+", np.uint8, (count, SIDE, SIDE))
    labels = np.lib.format.open_memmap(folder / "y.npy", "w+", np.int64, (count,))
    fixed = np.random.default_rng(0)
    patterns, centers = fixed.standard_normal((FACTORS, SIDE * SIDE)), fixed.standard_normal((CLASSES, FACTORS))
    for start in range(0, count, CHUNK):
        rng = np.random.default_rng([1, start])
        size = min(CHUNK, count - start)
        classes = rng.integers(CLASSES, size=size)
        factors = centers[classes] + rng.standard_normal((size, FACTORS))
        images[start : start + size] = (127.5 * (1 + np.tanh(factors @ patterns / 3))).reshape(size, SIDE, SIDE)
        labels[start : start + size] = classes
    images.flush()
    labels.flush()


def write_vectors(folder: Path, count: int) -> None:
    """Write ``vectors.npy`` (count, 32) float32 in clusters, a chunk at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (count, DIM))
    centers = np.random.default_rng(0).standard_normal((1000, DIM))
    for start in range(0, count, CHUNK):
        rng = np.random.default_rng([2, start])
        size = min(CHUNK, count - start)
        vectors[start : start + size] = centers[rng.integers(1000, size=size)] + rng.standard_normal((size, DIM)) / 2
    vectors.flush()


def fit(folder: Path) -> None:
    import aekit

    settings = {"train.device": "cpu"}
    aekit.fit(
        folder / "data", dim=DIM, epochs=1, backbone="mlp", variants="plain", out=folder / "run", report=False, overrides=settings
    )  # fmt: skip


def embed(folder: Path) -> None:
    import aekit

    aekit.embed(folder / "run", folder / "data", out=folder / "embeddings")


def index(folder: Path) -> None:
    import aekit

    embedded = folder / "embeddings"
    aekit.build_index(embedded if embedded.exists() else folder / "vectors.npy", folder / "index")


def search(folder: Path) -> None:
    import aekit

    opened = aekit.open_index(folder / "index")
    queries = np.random.default_rng(3).standard_normal((1000, DIM)).astype(np.float32)
    opened.search(queries, k=10)
    for query in queries[:100]:
        opened.search(query[None], k=10)


def evaluate(folder: Path) -> None:
    import aekit

    aekit.evaluate(folder / "embeddings", evaluators="quick", progress=False)


def report(folder: Path) -> None:
    import aekit

    aekit.make_report(folder / "run")


def draw_map(folder: Path) -> None:
    import aekit

    aekit.draw_map(folder / "embeddings", html=folder / "map.html", out=folder / "map.png")


STAGES: dict[str, Callable[[Path], None]] = {
    "fit": fit,
    "embed": embed,
    "index": index,
    "search": search,
    "evaluate": evaluate,
    "report": report,
    "map": draw_map,
}
"""In the order in which each needs what those before it wrote."""


def run_stage(stage: str, folder: Path) -> None:
    """Run a stage in this process, and print as JSON the seconds of its processors, of this machine's clock, both without
    imports, and its peak of memory in MiB."""
    import torch

    import aekit

    aekit.fit, aekit.embed, aekit.build_index, aekit.evaluate, aekit.make_report, aekit.draw_map  # noqa: B018
    torch.zeros(8, 8) @ torch.zeros(8, 8)
    started, used = time.perf_counter(), processor_seconds()
    STAGES[stage](folder)
    wall, seconds = time.perf_counter() - started, processor_seconds() - used
    print(json.dumps({"seconds": seconds, "mebibytes": peak_memory() / 2**20, "wall": wall}))


def processor_seconds() -> float:
    """Return the seconds that processors have worked for this process and for those it has started and waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def peak_memory() -> int:
    """Return the peak of this process's resident memory in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # rusage also counts the peak of the parent, from before this program was started
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) * 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(stage: str, folder: Path) -> tuple[float, float, float] | str:
    """Run a stage in a process of its own; return processor seconds, MiB and wall seconds, or the last line of its error."""
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    return result["seconds"], result["mebibytes"], result["wall"]


def sizes(largest: int) -> list[int]:
    """Return powers of ten from 1000, and the largest size."""
    powers = [10**power for power in range(3, 12) if 10**power < largest]
    return [*powers, largest]


def exponent(before: tuple[int, float], after: tuple[int, float]) -> float:
    """Return p where the cost grew as n^p from (n, cost) to (n, cost)."""
    return math.log(max(after[1], 1e-9) / max(before[1], 1e-9)) / math.log(after[0] / before[0])


def n_log_n(before: int, after: int) -> float:
    """Return the exponent of n log n between two sizes."""
    return exponent((before, before * math.log(before)), (after, after * math.log(after)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=100_000, help="most samples")
    parser.add_argument(
        "--index-largest", type=int, default=0, help="most vectors for index and search; default: largest"
    )
    parser.add_argument("--only", default="", help="stages to print, separated by commas; those they need run too")
    parser.add_argument("--folder", type=Path, help="keep the files here; default: a temporary folder")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.stage:
        run_stage(settings.stage, settings.folder)
        return
    only = settings.only.split(",") if settings.only else list(STAGES)
    if unknown := set(only) - set(STAGES):
        sys.exit(f"--only {','.join(sorted(unknown))}: no such stage; expected {', '.join(STAGES)}")
    last = max(list(STAGES).index(name) for name in only)
    with tempfile.TemporaryDirectory() as temporary:
        root = settings.folder or Path(temporary)
        seconds: dict[str, list[tuple[int, float]]] = {name: [] for name in STAGES}
        memory: dict[str, list[tuple[int, float]]] = {name: [] for name in STAGES}
        print(f"{'n':>10} {'stage':9} {'CPU s':>9} {'~ n^':>6} {'MiB':>8} {'~ n^':>6} {'wall s':>9}")
        for count in [*sizes(settings.largest), *sizes(settings.index_largest)]:
            if count <= max((n for n, _ in seconds["index"]), default=0):
                continue
            folder, stages = root / str(count), list(STAGES)[: last + 1]
            if count > settings.largest:
                write_vectors(folder, count)
                stages = ["index", "search"]
            else:
                write_samples(folder / "data", count)
            for stage in stages:
                measured = measure(stage, folder)
                if isinstance(measured, str):
                    print(f"{count:10,} {stage:9} failed: {measured}", flush=True)
                    break
                growth = []
                for series, value in zip((seconds[stage], memory[stage]), measured):
                    growth.append(f"{exponent(series[-1], (count, value)):6.2f}" if series else " " * 6)
                    series.append((count, value))
                if stage in only:
                    row = f"{measured[0]:9.2f} {growth[0]} {measured[1]:8.0f} {growth[1]} {measured[2]:9.2f}"
                    print(f"{count:10,} {stage:9} {row}", flush=True)
    for name, series in ((name, seconds[name]) for name in only):
        steep = [
            (a[0], exponent(a, b))
            for a, b in pairwise(series)
            if b[1] > FIXED_SECONDS and exponent(a, b) > n_log_n(a[0], b[0]) + 0.1
        ]
        if steep:
            bends = ", ".join(f"n^{power:.2f} from {n:,}" for n, power in steep)
            print(f"{name} grows faster than n log n: {bends}")


if __name__ == "__main__":
    main()
