"""Simulate embedding on many workers: processes that decode images, one device that embeds them, stragglers and failures.

    python benchmarks/pipeline.py                # the two tables of docs/scale.md
    python benchmarks/pipeline.py --rate 300     # those of processes that decode 300 images a second

A discrete-event simulation with SimPy. A worker decodes a batch, puts it into a queue of two batches for each worker, and waits
while the queue is full; the device takes batches from it. The time of a batch is lognormal, with a standard deviation of a
quarter of its mean; one batch in fifty is a straggler, which takes ten times as long. The mean over all batches is that of the
rate. A worker that fails loses the part of the embeddings that it had not finished, and starts again after a while.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simpy

BATCH, SPREAD, STRAGGLERS, SLOWDOWN = 64, 0.25, 0.02, 10.0
BATCHES = 4000
PART, RESTART = 8192, 30.0
"""Rows of a part of embeddings, and seconds until a failed worker embeds again."""


def batch_seconds(rate: float, rng: np.random.Generator) -> float:
    """Draw the seconds of a batch of a worker that decodes `rate` images per second on average."""
    sigma = math.sqrt(math.log(1 + SPREAD**2))
    mean = BATCH / rate / (1 + STRAGGLERS * (SLOWDOWN - 1))
    seconds = mean * float(rng.lognormal(-(sigma**2) / 2, sigma))
    return seconds * SLOWDOWN if rng.random() < STRAGGLERS else seconds


def utilization(workers: int, rate: float, device_rate: float, seed: int = 0) -> float:
    """Return the share of time in which the device computes.

    Args:
        workers: number of decoding processes.
        rate: images per second that each decodes.
        device_rate: images per second that the device embeds.
        seed: of the random times.
    """
    environment, rng, busy = simpy.Environment(), np.random.default_rng(seed), 0.0
    queue = simpy.Store(environment, capacity=2 * workers)

    def decode() -> Iterator[Any]:
        while True:
            yield environment.timeout(batch_seconds(rate, rng))
            yield queue.put(None)

    def embed() -> Iterator[Any]:
        nonlocal busy
        for _ in range(BATCHES):
            yield queue.get()
            yield environment.timeout(BATCH / device_rate)
            busy += BATCH / device_rate

    for _ in range(workers):
        environment.process(decode())
    environment.run(environment.process(embed()))
    return busy / environment.now


def cost_of_failures(workers: int, rate: float, hours_between: float, rows: int, seed: int = 0) -> float:
    """Return by how much failures lengthen a run, as a share of the time that it takes without any.

    Args:
        workers: number of processes, each of which embeds parts of `PART` rows.
        rate: rows per second of each.
        hours_between: mean hours between failures of one worker.
        rows: of the whole data set.
        seed: of the random times.
    """

    part_seconds = PART / rate * np.random.default_rng(seed).lognormal(0, 0.1, math.ceil(rows / PART))

    def run(fails: bool) -> float:
        environment, rng = simpy.Environment(), np.random.default_rng(seed + 1)
        parts = iter(part_seconds.tolist())

        def work() -> Iterator[Any]:
            failure = rng.exponential(hours_between * 3600) if fails else math.inf
            for seconds in parts:
                while failure < environment.now + seconds:  # the part begins anew
                    yield environment.timeout(max(0.0, failure - environment.now) + RESTART)
                    failure = environment.now + rng.exponential(hours_between * 3600)
                yield environment.timeout(seconds)

        environment.run(simpy.AllOf(environment, [environment.process(work()) for _ in range(workers)]))
        return environment.now

    return run(True) / run(False) - 1


def tables(decode_rate: float) -> str:
    """Return both tables, in Markdown, for workers that decode `decode_rate` images per second."""
    counts, devices = (4, 8, 16, 32, 64, 128), (1_000, 4_000, 16_000)
    lines = [
        "| decoding processes | " + " | ".join(f"device of {rate:,} images/s" for rate in devices) + " |",
        "|---:|" + "---:|" * len(devices),
    ]
    for count in counts:
        shares = (f"{utilization(count, decode_rate, rate):.0%}" for rate in devices)
        lines.append(f"| {count} | " + " | ".join(shares) + " |")
    lines += ["", "| hours between failures of a worker | 16 workers | 256 workers |", "|---:|---:|---:|"]
    for hours in (0.25, 1, 24):
        costs = (cost_of_failures(count, decode_rate, hours, count * 500_000) for count in (16, 256))
        lines.append(f"| {hours} | " + " | ".join(f"{cost:.1%}" for cost in costs) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measured = json.loads(Path(__file__).with_name("rates.json").read_text("utf-8"))["decode"]
    parser.add_argument("--rate", type=float, default=measured, help="images that a process decodes in a second")
    print(tables(parser.parse_args().rate))


if __name__ == "__main__":
    main()
