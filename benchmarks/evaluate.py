"""What every evaluator costs on 70,000 embeddings of Fashion-MNIST: seconds and peak memory, each in a process of its own.

    python benchmarks/evaluate.py                  # its 64 principal components, train and test
    python benchmarks/evaluate.py --dim 784        # as wide as the raw control
    python benchmarks/evaluate.py --embeddings FOLDER --only knn --only probe

Principal components stand in for an encoder's embeddings: what an evaluator does depends on how many and how wide they are. With
--embeddings those of a folder are judged. Memory is the peak of the process, of which the first line is what starting it takes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=64, help="principal components")
    parser.add_argument("--samples", type=int, default=70_000, help="fewer: only to see that it works")
    parser.add_argument("--embeddings", help="folder that aekit embed wrote")
    parser.add_argument("--only", action="append", help="evaluator, health or leaks; repeatable")
    parser.add_argument("--judge", help=argparse.SUPPRESS)
    parser.add_argument("--held", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.judge:
        print(json.dumps(judged(asked.judge, asked.held)))
        return
    from aekit.registry.discovery import registry

    names = asked.only or [*(plugin.name for plugin in registry().by_kind("evaluator")), "health", "leaks"]
    vectors, labels, splits = stored(asked.embeddings) if asked.embeddings else components(asked.samples, asked.dim)
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "embeddings.npz"
        np.savez(held, vectors=vectors, labels=labels.astype(str), splits=splits)
        command = [sys.executable, __file__, "--held", str(held), "--judge"]
        print(
            f"{len(vectors):,} embeddings of {vectors.shape[1]} numbers, {(splits == 'test').sum():,} of them to test"
        )
        print(f"{'':18} {'seconds':>8} {'CPU':>8} {'MiB':>6}", flush=True)
        total = 0.0
        for name in ["nothing", *names]:
            done = subprocess.run([*command, name], capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr}")
            found = json.loads(done.stdout)
            total += found["seconds"]
            costs = f"{found['seconds']:8.1f} {found['cpu']:8.1f} {found['mib']:6.0f}"
            print(f"{name:18} {costs}  {found['said']}", flush=True)
    print(f"all of it: {total:.1f} s, {len(names)} of them one after the other")


def judged(name: str, path: Path) -> dict[str, Any]:
    """What one of them costs, and what it says; reading and importing are not counted."""
    from aekit.evaluation.checks.embedding_health import embedding_health
    from aekit.evaluation.checks.leakage import find_leakage
    from aekit.evaluation.splits import make_split
    from aekit.registry.discovery import registry

    with np.load(path, allow_pickle=False) as held:
        vectors, labels, splits = held["vectors"], held["labels"], held["splits"]
    split = make_split(labels, splits)
    plugin = (
        registry().get("evaluator", name, required_by="this") if name not in ("nothing", "health", "leaks") else None
    )
    function = plugin.load() if plugin else None
    start, before = time.perf_counter(), time.process_time()
    said = ""
    if function:
        result = function(vectors, labels, split)
        metric, figure = next(iter(result.metrics.items()))
        said = "; ".join([f"{metric} {figure}", *result.notes])
    elif name != "nothing":
        found = embedding_health(vectors) if name == "health" else find_leakage(vectors, split, labels=labels)
        said = "; ".join([*found.warnings, *found.notes])
    seconds, cpu = time.perf_counter() - start, time.process_time() - before
    return {"seconds": seconds, "cpu": cpu, "mib": peak(), "said": said}


def peak() -> float:
    """MiB that this process held at most."""
    status = Path(
        "/proc/self/status"
    )  # where it is, as what getrusage tells includes the process that started this one
    if status.exists():
        return float(next(line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line)) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def components(samples: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, D) float32, (N,) labels and (N,) splits of Fashion-MNIST, which AEKIT_DATA must hold."""
    from aekit import open_data

    source = open_data("torchvision:FashionMNIST")
    assert source.labels is not None and source.splits is not None
    rows = np.linspace(0, len(source) - 1, min(samples, len(source))).astype(int)
    raw = source.read(rows)[0].reshape(len(rows), -1).astype(np.float32) / 255
    splits = np.asarray(source.splits)[rows]
    centerd = raw - raw[splits == "train"].mean(axis=0)
    _, axes = np.linalg.eigh(centerd.T @ centerd)
    return centerd @ axes[:, ::-1][:, :dim], np.asarray(source.labels)[rows], splits


def stored(folder: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of a folder of embeddings."""
    from aekit import Embeddings

    embeddings = Embeddings.open(folder)
    if embeddings.labels is None or embeddings.splits is None:
        sys.exit(f"{folder}: expected embeddings of data that has labels and splits")
    return embeddings.vectors, embeddings.labels, embeddings.splits


if __name__ == "__main__":
    main()
