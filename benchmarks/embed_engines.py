"""Compare the engines of `aekit embed` over the same data, in one run.

    python benchmarks/embed_engines.py [--rows 100000] [--images 2000] [--workers 2] [--repeats 3] [--engines single processes]

Rows of 784 bytes by a small dense encoder, and images of 96 x 96 in PNG files by a small convolutional one. `start` are the
seconds until the first vectors, with decoding of the first batches; `rate` are samples per second from then on, with writing;
`cpu` are the processor seconds of all processes, start and end included, which other load on the machine affects least.
The engines alternate; figures are medians. Ray's actors are no children of this process, so that their seconds are missing.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import aekit
from aekit.progress import Progress, Task


class Clock(Progress):
    """Notes when the first samples are done, and how many they are."""

    def __init__(self) -> None:
        self.begun, self.first, self.at_first, self.done = time.perf_counter(), 0.0, 0, 0
        self.used = processor_seconds()

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        outer = self

        class Counts(Task):
            def advance(self, units: int = 1, note: str = "") -> None:
                outer.done += units
                if not outer.first:
                    outer.first, outer.at_first = time.perf_counter(), outer.done

        yield Counts()

    def figures(self) -> tuple[float, float, float]:
        """Return the seconds until the first samples, the samples per second afterwards, and the processor seconds."""
        rate = (self.done - self.at_first) / (time.perf_counter() - self.first)
        return self.first - self.begun, rate, processor_seconds() - self.used


def processor_seconds() -> float:
    """Return the processor seconds of this process and of those that it has started and that have ended."""
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in usage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=["single", "processes"], choices=["single", "processes", "ray"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rng = np.random.default_rng(0)
        rows = rng.integers(0, 256, (arguments.rows, 784), dtype=np.uint8)
        np.save(place / "rows.npy", rows)
        images = place / "images"
        images.mkdir()
        for number in range(arguments.images):
            coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            coarse.resize((96, 96), Image.Resampling.BICUBIC).save(images / f"{number:06d}.png")
        fast: dict[str, Any] = {"train.epochs": 1, "train.precision": "fp32"}
        encoders = {
            "rows": aekit.fit(rows[:500], dim=128, backbone="mlp", overrides=fast, out=place / "dense", report=False),
            "images": aekit.fit(images, dim=128, overrides=fast, out=place / "conv", report=False),
        }
        data = {"rows": place / "rows.npy", "images": images}
        print(f"{'data':8} {'engine':12} {'start s':>8} {'rate':>9} {'cpu s':>7}")
        for name, encoder in encoders.items():
            figures: dict[str, list[tuple[float, float, float]]] = {engine: [] for engine in arguments.engines}
            for number in range(arguments.repeats):
                for engine, measured in figures.items():
                    clock, out = Clock(), place / f"{name}-{engine}-{number}"
                    workers = None if engine == "single" else arguments.workers
                    options: dict[str, Any] = {"engine": engine, "workers": workers, "precision": "fp32"}
                    aekit.embed(encoder, data[name], out=out, progress=clock, **options)
                    measured.append(clock.figures())
            for engine, measured in figures.items():
                start, rate, used = (statistics.median(values) for values in zip(*measured))
                print(f"{name:8} {engine:12} {start:8.1f} {rate:9,.0f} {used:7.1f}", flush=True)


if __name__ == "__main__":
    main()
