"""Measure how fast the command line answers, compared with an empty Python and with importing torch.

python benchmarks/startup.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time


def seconds(command: list[str], repeats: int) -> tuple[float, float, float]:
    """Return the minimum, median and maximum wall time of a command in seconds, after one run to warm the file cache."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return min(times[1:]), statistics.median(times[1:]), max(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    aekit = shutil.which("aekit")
    if aekit is None:
        sys.exit("aekit is not on the path: install it first")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import click, pluggy'": [sys.executable, "-c", "import click, pluggy"],
        "aekit --version": [aekit, "--version"],
        "aekit --help": [aekit, "--help"],
        "aekit plugins": [aekit, "plugins"],
        "aekit plugins --json": [aekit, "plugins", "--json"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        **{f"aekit {name} --help": [aekit, name, "--help"] for name in ("fit", "evaluate", "apply")},
    }
    print(f"{'command':36} {'min':>6} {'median':>6} {'max':>6}  seconds of {repeats}")
    for name, command in commands.items():
        low, median, high = seconds(command, repeats)
        print(f"{name:36} {low:6.3f} {median:6.3f} {high:6.3f}", flush=True)


if __name__ == "__main__":
    main()
