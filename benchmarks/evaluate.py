"""Measure the time and the peak memory of every evaluator on 70,000 embeddings of Fashion-MNIST, each in a separate process.

    python benchmarks/evaluate.py                  # 64 principal components, train and test
    python benchmarks/evaluate.py --dim 784        # as wide as the raw samples
    python benchmarks/evaluate.py --embeddings FOLDER --only knn --only probe

Principal components replace an encoder's embeddings, as the cost depends on their number and width only. --embeddings evaluates
those of a folder instead. Memory is the peak of the process; the first line is that of an empty process.
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
    parser.add_argument("--samples", type=int, default=70_000, help="number of samples")
    parser.add_argument("--embeddings", help="folder that aekit embed wrote")
    parser.add_argument("--only", action="append", help="evaluator, health or leakage; repeatable")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.data)))
        return
    from aekit.registry.discovery import registry

    names = arguments.only or [*(plugin.name for plugin in registry().by_kind("evaluator")), "health", "leakage"]
    vectors, labels, splits = (
        read_embeddings(arguments.embeddings) if arguments.embeddings else components(arguments.samples, arguments.dim)
    )
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "embeddings.npz"
        np.savez(data, vectors=vectors, labels=labels.astype(str), splits=splits)
        command = [sys.executable, __file__, "--data", str(data), "--measure"]
        print(
            f"{len(vectors):,} embeddings of {vectors.shape[1]} dimensions, {(splits == 'test').sum():,} of them test samples"
        )
        print(f"{'':18} {'seconds':>8} {'CPU':>8} {'MiB':>6}", flush=True)
        total = 0.0
        for name in ["nothing", *names]:
            done = subprocess.run([*command, name], capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr}")
            measured = json.loads(done.stdout)
            total += measured["seconds"]
            costs = f"{measured['seconds']:8.1f} {measured['cpu']:8.1f} {measured['mib']:6.0f}"
            print(f"{name:18} {costs}  {measured['result']}", flush=True)
    print(f"total: {total:.1f} s for {len(names)} in sequence")


def measure(name: str, path: Path) -> dict[str, Any]:
    """Measure one evaluator or check; reading and importing are not counted."""
    from aekit.evaluation.checks.embedding_health import embedding_health
    from aekit.evaluation.checks.leakage import find_leakage
    from aekit.evaluation.splits import make_split
    from aekit.registry.discovery import registry

    with np.load(path, allow_pickle=False) as stored:
        vectors, labels, splits = stored["vectors"], stored["labels"], stored["splits"]
    split = make_split(labels, splits)
    plugin = (
        registry().get("evaluator", name, required_by="the benchmark")
        if name not in ("nothing", "health", "leakage")
        else None
    )
    function = plugin.load() if plugin else None
    start, before = time.perf_counter(), time.process_time()
    summary = ""
    if function:
        result = function(vectors, labels, split)
        metric, value = next(iter(result.metrics.items()))
        summary = "; ".join([f"{metric} {value}", *result.notes])
    elif name != "nothing":
        check = embedding_health(vectors) if name == "health" else find_leakage(vectors, split, labels=labels)
        summary = "; ".join([*check.warnings, *check.notes])
    seconds, cpu = time.perf_counter() - start, time.process_time() - before
    return {"seconds": seconds, "cpu": cpu, "mib": peak(), "result": summary}


def peak() -> float:
    """Return the peak memory of this process in MiB."""
    status = Path("/proc/self/status")  # preferred, as getrusage includes the parent process
    if status.exists():
        return float(next(line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line)) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def components(samples: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (N, D) principal components, (N,) labels and (N,) splits of Fashion-MNIST, which AEKIT_DATA must contain."""
    from aekit import open_data

    source = open_data("torchvision:FashionMNIST")
    assert source.labels is not None and source.splits is not None
    rows = np.linspace(0, len(source) - 1, min(samples, len(source))).astype(int)
    raw = source.read(rows)[0].reshape(len(rows), -1).astype(np.float32) / 255
    splits = np.asarray(source.splits)[rows]
    centered = raw - raw[splits == "train"].mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    return centered @ axes[:, ::-1][:, :dim], np.asarray(source.labels)[rows], splits


def read_embeddings(folder: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the vectors, labels and splits of a folder of embeddings."""
    from aekit import Embeddings

    embeddings = Embeddings.open(folder)
    if embeddings.labels is None or embeddings.splits is None:
        sys.exit(f"{folder}: no labels or no splits; expected embeddings of data with both")
    return embeddings.vectors, embeddings.labels, embeddings.splits


if __name__ == "__main__":
    main()
