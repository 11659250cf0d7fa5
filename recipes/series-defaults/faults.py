"""Compare the anomaly scores of the default encoder of series with those of a trained autoencoder, on planted faults.

    export PYTHONPATH=benchmarks
    python recipes/series-defaults/faults.py --out faults.csv         # resumes
    python recipes/series-defaults/faults.py --out faults.csv --summary

Encoders are trained on three fifths of the series of a set, without labels. Half of the others get one fault each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from kept_rows import Rows, add_options, add_row, has_row, read_rows
from study import CANDIDATES, CHOOSING, CONFIRMING, FORMER, UNTRAINED, settings_of

import aekit
from aekit.data.source import ArraySource

Fault = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _from(series: np.ndarray, generator: np.random.Generator) -> slice:
    """Return a stretch of a quarter of the steps."""
    steps = series.shape[-1]
    start = int(generator.integers(0, steps - steps // 4))
    return slice(start, start + steps // 4)


def _changed(series: np.ndarray, place: slice, values: Any) -> np.ndarray:
    changed = series.copy()
    changed[..., place] = values
    return changed


def _spike(series: np.ndarray, unit: float, generator: np.random.Generator) -> np.ndarray:
    step = int(generator.integers(series.shape[-1]))
    return _changed(series, slice(step, step + 1), series[..., step : step + 1] + 4 * unit)


def _flat(series: np.ndarray, unit: float, generator: np.random.Generator) -> np.ndarray:
    place = _from(series, generator)
    return _changed(series, place, series[..., place.start : place.start + 1])


def _noise(series: np.ndarray, unit: float, generator: np.random.Generator) -> np.ndarray:
    place = _from(series, generator)
    noise = generator.normal(0, unit / 2, series[..., place].shape)
    return _changed(series, place, series[..., place] + noise)


FAULTS: dict[str, Fault] = {
    "level": lambda series, unit, generator: series + 2 * unit,
    "gain": lambda series, unit, generator: series * 2,
    "spike": _spike,
    "flat": _flat,
    "noise": _noise,
    "reversed": lambda series, unit, generator: series[..., ::-1],
}
"""Name -> fault of one channel (T,), whose standard deviation over the set is `unit`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=[UNTRAINED, FORMER])
    parser.add_argument("--sets", nargs="+", choices=[*CHOOSING, *CONFIRMING], default=list(CHOOSING))
    parser.add_argument("--seeds", type=int, default=1)
    add_options(parser)
    arguments = parser.parse_args()
    rows = read_rows(arguments.out)
    if not arguments.summary:
        for seed in range(arguments.seeds):
            for name in arguments.sets:
                measure(name, seed, arguments, rows)
    summarize(rows)


def measure(name: str, seed: int, arguments: argparse.Namespace, rows: Rows) -> None:
    """Train the candidates on one set, score the other series, and add a row for each fault."""
    x = (CHOOSING | CONFIRMING)[name]().x.astype(np.float32)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(x))[:500]
    trained, others = x[order[: 3 * len(order) // 5]], x[order[3 * len(order) // 5 :]]
    for candidate in arguments.candidates:
        key = {"set": name, "seed": str(seed), "candidate": candidate}
        if has_row(rows, key | {"fault": list(FAULTS)[-1]}):
            continue
        with tempfile.TemporaryDirectory() as place:
            run = Path(place) / "run"
            start = time.process_time()
            aekit.fit(
                ArraySource(trained, kind="series"),
                seed=seed,
                device="cpu",
                out=run,
                report=False,
                progress=False,
                **settings_of(candidate, trained),
            )
            seconds = f"{time.process_time() - start:.1f}"
            for fault in FAULTS:
                faulty, labels = plant(others, fault, np.random.default_rng(seed + 1))
                found = aekit.find_anomalies(
                    run,
                    ArraySource(faulty, labels=labels, kind="series"),
                    reference=ArraySource(trained, kind="series"),
                    progress=False,
                )
                metrics = {score: f"{by_name['auroc'].value:.4f}" for score, by_name in found.metrics.items()}
                for score, value in metrics.items():
                    row = key | {"fault": fault, "score": score, "auroc": value, "cpu_seconds": seconds}
                    add_row(row, rows, arguments.out)


def plant(x: np.ndarray, fault: str, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return series (N, C, T) of which each second one has a fault in one channel, and whether it has (N,)."""
    faulty, labels = x.copy(), np.arange(len(x)) % 2
    deviation = x.std((0, 2))
    for row in np.flatnonzero(labels):
        channel = int(generator.integers(x.shape[1]))
        faulty[row, channel] = FAULTS[fault](x[row, channel], float(deviation[channel]), generator)
    return faulty, labels


def summarize(rows: Rows) -> None:
    """Print the mean AUROC over sets and seeds of each score, by fault."""
    print(f"| encoder | score | sets | {' | '.join(FAULTS)} | mean |\n|{'---|' * (4 + len(FAULTS))}")
    for candidate, score in dict.fromkeys((row["candidate"], row["score"]) for row in rows):
        own = [row for row in rows if (row["candidate"], row["score"]) == (candidate, score)]
        values = [np.mean([float(row["auroc"]) for row in own if row["fault"] == fault]) for fault in FAULTS]
        cells = [f"{value:.3f}" for value in [*values, np.mean(values)]]
        print(f"| {candidate} | {score} | {len({row['set'] for row in own})} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
