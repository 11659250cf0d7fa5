"""Measure the time and the peak memory of every evaluator on 70,000 embeddings of Fashion-MNIST, each in a separate process.

    python benchmarks/evaluate.py                  # 64 principal components, train and test
    python benchmarks/evaluate.py --commands       # whole evaluations with baselines, as commands; see COMMANDS
    python benchmarks/evaluate.py --dim 784        # as wide as the raw samples
    python benchmarks/evaluate.py --embeddings FOLDER --only knn --only probe

Principal components replace an encoder's embeddings, as the cost depends on their number and width only. --embeddings evaluates
those of a folder instead. Memory is the peak of the process; the first line is that of an empty process.

--commands times `aekit evaluate` as a user runs it, first with an empty cache and then with what that one kept, on embeddings of
encoders that were trained for an epoch; and a search over C on 10,000 raw images of 3072 numbers, crops of photographs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FOLDERS = {
    "photographs 800 x 1280": "caltech10",
    "digits 9,298 x 32": "digits.npz",
    "Fashion-MNIST 70,000 x 64": "torchvision:FashionMNIST",
}
"""Embeddings that whole evaluations are timed on -> their data; the digits are as many of MNIST, at 16 x 16, as USPS has."""
COMMANDS = [
    ("photographs 800 x 1280", []),
    ("digits 9,298 x 32", []),
    ("digits 9,298 x 32", ["--evaluator", "quick"]),
    ("Fashion-MNIST 70,000 x 64", []),
]
"""Embeddings and the options of `aekit evaluate`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=64, help="principal components")
    parser.add_argument("--samples", type=int, default=70_000, help="number of samples")
    parser.add_argument("--embeddings", help="folder that aekit embed wrote")
    parser.add_argument("--only", action="append", help="evaluator, health or leakage; repeatable")
    parser.add_argument("--commands", action="store_true", help="time whole commands")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.data)))
        return
    if arguments.commands:
        time_commands()
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


def time_commands() -> None:
    """Print the seconds, the peak memory and the evaluated samples of each command, and of the search over C."""
    print(f"{'':45} {'seconds':>8} {'CPU':>8} {'MiB':>6}  samples evaluated")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for title in FOLDERS:
            _prepare(title, place)
        for title, options in COMMANDS:
            embeddings = place / f"{title}-z"
            for cache in ("empty", "kept"):
                environment = os.environ | {"AEKIT_CACHE": str(place / f"cache {title} {len(options)}")}
                costs = _costs([*AEKIT, "evaluate", str(embeddings), "-q", *options], environment)
                counts = json.loads((embeddings / "results.json").read_text())["counts"]
                samples = f"{sum(counts[part] for part in ('train', 'validation', 'test')):,} of {counts['samples']:,}"
                print(f"{' '.join([title, *options])}, cache {cache}".ljust(45), f"{costs}  {samples}", flush=True)
        np.savez(place / "crops.npz", **dict(zip(("vectors", "labels", "splits"), crops(10_000))))
        search = [sys.executable, __file__, "--data", str(place / "crops.npz"), "--measure", "probe"]
        print(
            "search over C, 10,000 x 3072 raw pixels".ljust(45), f"{_costs(search, dict(os.environ))}  10,000 of 10,000"
        )


AEKIT = [sys.executable, "-m", "aekit"]


def _prepare(title: str, place: Path) -> None:
    """Train an encoder for an epoch, or take the pretrained network for photographs, and embed its data."""
    data, run = FOLDERS[title], str(place / title)
    root = Path(os.environ["AEKIT_DATA"])
    if data == "digits.npz":
        write_digits(place / data)
        data = str(place / data)
    fit = [data, "--backbone", "mlp", "--epochs", "1", "--dim", title.split()[-1]]
    if data == "caltech10":
        data = str(root / data / "index.csv")
        weights = root / "weights" / "efficientnet_lite0_in1k.safetensors"
        recipe = str(Path(__file__).parent.parent / "recipes" / "caltech10-transfer" / "recipe.toml")
        fit = [recipe, "--set", f"data.source={data}", "--set", f"encoder.weights={weights}"]
        fit += ["--set", "evaluate.evaluators=[]"]
    for command in (["fit", *fit, "-o", run, "--no-report", "-q"], ["embed", run, data, "-o", f"{run}-z", "-q"]):
        subprocess.run([*AEKIT, *command], check=True)


def write_digits(path: Path) -> None:
    """Write 9,298 digits of MNIST at 16 x 16 with their labels: as many as USPS has, as large."""
    from torch.nn.functional import adaptive_avg_pool2d

    from aekit import open_data
    from aekit.data.samples import to_tensor

    source = open_data("torchvision:MNIST")
    assert source.labels is not None
    rows = np.sort(np.random.default_rng(0).choice(len(source), 9298, replace=False))
    images = to_tensor(source.read(rows)[0]).reshape(-1, 1, 28, 28).float()
    small = adaptive_avg_pool2d(images, (16, 16)).round().byte().numpy()
    np.savez(path, x=small[:, 0], y=np.asarray(source.labels)[rows])


def crops(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (N, 3072) crops of the photographs of caltech10 at 32 x 32, (N,) classes and (N,) splits by photograph."""
    from PIL import Image

    files = sorted((Path(os.environ["AEKIT_DATA"]) / "caltech10").glob("*/*.jpg"))
    images = [np.asarray(Image.open(file).convert("RGB").resize((48, 48))) for file in files]
    generator = np.random.default_rng(0)
    numbers = np.arange(count) % len(files)
    corners = generator.integers(0, 17, (count, 2))
    rows = [images[n][top : top + 32, left : left + 32].ravel() for n, (top, left) in zip(numbers, corners)]
    parts = generator.choice(["train", "validation", "test"], len(files), p=[0.6, 0.2, 0.2])
    labels = np.array([file.parent.name for file in files])
    return np.stack(rows).astype(np.float32) / 255, labels[numbers], parts[numbers]


def _costs(command: list[str], environment: dict[str, str]) -> str:
    """Run a command, and return its seconds, CPU seconds and peak memory in MiB as columns."""
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process,
    ):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            output.seek(0)
            sys.exit(f"{' '.join(command)}: {output.read().decode(errors='replace')}")
    seconds = time.perf_counter() - start
    return f"{seconds:8.1f} {usage.ru_utime + usage.ru_stime:8.1f} {usage.ru_maxrss / 1024:6.0f}"


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
