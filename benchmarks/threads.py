"""Measure where a second thread of training pays: time and processor time of a step with one thread and with all.

    python benchmarks/threads.py [--repeats 3]

The threshold of ``aekit/training/threads.py`` is chosen by this table. Processor time shows what threads that wait cost others.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext

import numpy as np
import torch
from fit import CPU, build

from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.io.threads import usable_cores
from aekit.training import loop
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.settings import Settings
from aekit.training.threads import encoding_flops

STEPS = 50
NETWORKS = {
    "mlp, 5 columns": ("mlp", (5,), 128),
    "mlp, 20 columns": ("mlp", (20,), 128),
    "mlp, 100 columns": ("mlp", (100,), 128),
    "conv, 8 x 8": ("conv", (1, 8, 8), 128),
    "mlp, 28 x 28": ("mlp", (1, 28, 28), 32),
    "mlp, 500 columns": ("mlp", (500,), 128),
    "mlp, 28 x 28, more": ("mlp", (1, 28, 28), 128),
    "conv, 28 x 28": ("conv", (1, 28, 28), 128),
}
"""Backbone, shape of a sample and batch size, by title."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    cores = usable_cores()
    print(
        f"torch {torch.__version__}, 1 and {cores} threads, medians of {repeats} times {STEPS} steps after a warm-up\n"
    )
    columns = f"  {'MFLOP':>6}  {'ms, 1 thread':>12} {cores:6}  {'CPU ms, 1':>9} {cores:6}"
    print(f"{'network':18} {'batch':>5} precision{columns}")
    loop.threads_for = lambda encoder, batch_size: nullcontext()  # type: ignore[assignment, return-value]
    rng = np.random.default_rng(0)
    for title, (backbone, shape, size) in NETWORKS.items():
        values = rng.integers(0, 256, (STEPS * size, *shape), dtype=np.uint8)
        data = values if len(shape) > 1 else values.astype(np.float32)
        samples = load_samples(ArraySource(data), np.arange(len(data)), CPU)
        for precision in ("fp32", "bf16"):
            settings = Settings(epochs=1, batch_size=size, precision=precision, schedule="constant", warmup=0)
            objective = build(backbone, samples, settings)
            wall: dict[int, list[float]] = {1: [], cores: []}
            used: dict[int, list[float]] = {1: [], cores: []}
            for turn in range(repeats + 1):
                for threads in wall:
                    torch.set_num_threads(threads)
                    start, used_before = time.perf_counter(), time.process_time()
                    for _ in loop.train(State.start(objective, settings), Batches(samples, size, 0), settings):
                        pass
                    if turn:
                        wall[threads].append(1e3 * (time.perf_counter() - start) / STEPS)
                        used[threads].append(1e3 * (time.process_time() - used_before) / STEPS)
            one, many = (statistics.median(wall[threads]) for threads in (1, cores))
            cpu_one, cpu_many = (statistics.median(used[threads]) for threads in (1, cores))
            print(
                f"{title:18} {size:5} {precision:9}  {encoding_flops(objective.encoder, size) / 1e6:6.1f}"
                f"  {one:12.2f} {many:6.2f}  {cpu_one:9.2f} {cpu_many:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
