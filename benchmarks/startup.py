"""Measure how fast the command line answers, compared with an empty Python and with importing torch, and how long a fit takes.

    python benchmarks/startup.py [--repeats 9]

The fit trains on the first 120 photographs of Caltech-101 in $AEKIT_DATA at 64 pixels for 3 epochs. What it takes beside the
training is to be at most 2 s and a fifth of the training.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PHOTOGRAPHS = 120
MOST_BESIDE, MOST_OF_TRAINING = 2.0, 0.2


def seconds(command: list[str], repeats: int) -> tuple[float, float, float]:
    """Return the minimum, median and maximum wall time of a command in seconds, after one run to warm the file cache."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return min(times[1:]), statistics.median(times[1:]), max(times[1:])


def fit_photographs(aekit: list[str], repeats: int) -> None:
    """Print the seconds of whole commands, those that they say the training took, and the rest."""
    files = sorted((Path(os.environ["AEKIT_DATA"]) / "caltech10").rglob("*.jpg"))[:PHOTOGRAPHS]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "photographs"
        data.mkdir()
        for number, file in enumerate(files):
            shutil.copy(file, data / f"{number:03}.jpg")
        for number in range(repeats + 1):
            run = str(Path(folder) / f"run-{number}")
            settings = ["--epochs", "3", "--set", "data.images.size=64"]
            started = time.perf_counter()
            done = subprocess.run(
                [*aekit, "fit", str(data), "-o", run, *settings], check=True, capture_output=True, text=True
            )
            whole = time.perf_counter() - started
            training = float(re.findall(r"^fit: .*?([\d.]+) s,", done.stdout + done.stderr, re.MULTILINE)[-1])
            rows.append((whole, training, whole - training))
    print(f"\naekit fit, {len(files)} photographs of 64, 3 epochs: seconds of {repeats}")
    for name, times in zip(("whole", "training", "rest"), zip(*rows[1:])):
        print(f"{name:36} {min(times):6.2f} {statistics.median(times):6.2f} {max(times):6.2f}")
    allowed = MOST_BESIDE + MOST_OF_TRAINING * statistics.median(training for _, training, _ in rows[1:])
    print(f"{'rest, at most':36} {'':6} {allowed:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    script = shutil.which("aekit")
    aekit = [script] if script else [sys.executable, "-m", "aekit"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import click, pluggy'": [sys.executable, "-c", "import click, pluggy"],
        "aekit --version": [*aekit, "--version"],
        "aekit --help": [*aekit, "--help"],
        "aekit plugins": [*aekit, "plugins"],
        "aekit plugins --json": [*aekit, "plugins", "--json"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        **{f"aekit {name} --help": [*aekit, name, "--help"] for name in ("fit", "evaluate", "apply")},
    }
    print(f"{'command':36} {'min':>6} {'median':>6} {'max':>6}  seconds of {repeats}")
    for name, command in commands.items():
        low, median, high = seconds(command, repeats)
        print(f"{name:36} {low:6.3f} {median:6.3f} {high:6.3f}", flush=True)
    if "AEKIT_DATA" in os.environ:
        fit_photographs(aekit, min(5, repeats))


if __name__ == "__main__":
    main()
