"""Measure false alarms of `aekit.find_anomalies` with a threshold, on normal samples that neither encoder nor detector saw.

    python benchmarks/thresholds.py                 # three ADBench tables in AEKIT_DATA, 10 seeds

Half of the normal samples train the encoder. A quarter sets the threshold (calibration), or nothing does but a third of the
training samples (training). The last quarter and all anomalies are scored. False alarms should be at most the stated rate on
average.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import aekit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=Path(os.environ.get("AEKIT_DATA", ".")) / "anomaly")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.05, 0.1])
    arguments = parser.parse_args()
    print(f"{'table':22} {'threshold by':12} {'stated':>7} {'false alarms':>16} {'detected':>16}")
    for path in sorted(arguments.tables.glob("*.npz")):
        results: dict[tuple[str, float], list[tuple[float, float]]] = {}
        for seed in range(arguments.seeds):
            for key, measured in trial(path, seed, arguments).items():
                results.setdefault(key, []).append(measured)
        for (source, rate), measured in sorted(results.items()):
            means, deviations = np.mean(measured, 0), np.std(measured, 0, ddof=1)
            cells = [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in zip(means, deviations)]
            print(f"{path.stem:22} {source:12} {rate:7.2f} {cells[0]:>16} {cells[1]:>16}", flush=True)


def trial(path: Path, seed: int, arguments: argparse.Namespace) -> dict[tuple[str, float], tuple[float, float]]:
    """Train, set thresholds in both ways, and return the rates of false alarms and of detected anomalies."""
    with np.load(path) as table:
        x, y = table["X"].astype(np.float32), table["y"].astype(int)
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
    train, held_out, test = np.split(normal, [len(normal) // 2, 3 * len(normal) // 4])
    encoder = aekit.fit(x[train], epochs=arguments.epochs, seed=seed, progress=False)
    rows = np.concatenate([test, np.flatnonzero(y == 1)])
    measured = {}
    for source in ("calibration", "training"):
        alarms = None
        for rate in arguments.rates:
            found = aekit.find_anomalies(
                encoder,
                x[rows],
                reference=x[train],
                calibration=x[held_out] if source == "calibration" else None,
                threshold=rate,
                baselines=False,
                seed=seed,
                progress=False,
            )
            alarms = found.alarms
            assert alarms is not None
            flagged = np.zeros(len(rows), bool)
            flagged[[int(name) for name in found.ids]] = alarms.flags
            measured[source, rate] = (flagged[: len(test)].mean(), flagged[len(test) :].mean())
    return measured


if __name__ == "__main__":
    main()
