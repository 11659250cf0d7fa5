"""Compare the scores of `aekit.find_anomalies` with those of pyod on tables with known anomalies.

    pip install pyod
    python recipes/anomaly/tables.py TABLES -o trials --seeds 3    # resumes; a trial is a table, a protocol and a seed
    python recipes/anomaly/tables.py TABLES -o narrow --fit '{"variants": ["plain"]}' --without-pyod

TABLES holds .npz files with ``X`` and ``y``, 1 for an anomaly, as ADBench has them. Two protocols: ``all`` fits on all samples
and scores them; ``half`` fits on half of the normal samples and scores the rest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

import aekit

PROTOCOLS = ("all", "half")
BASELINES = ("isolation forest", "kNN", "ECOD", "pyod AutoEncoder")
CANDIDATES = [
    dict(zip(("reconstruction", "code", "raw-neighbors-5", "raw-neighbors-50", "raw-tails"), weights))
    for weights in itertools.product((0, 1), (0, 1), (0, 1, 2, 5), (0, 1, 2, 5), (0, 1, 2))
    if any(weights)
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, help="Folder of the trials.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=2000, help="Larger tables are subsampled by the seed.")
    parser.add_argument("--fit", type=json.loads, default={}, help="Arguments of aekit.fit, as JSON.")
    parser.add_argument("--without-pyod", action="store_true", help="Leave out the detectors of pyod.")
    parser.add_argument("--only-print", action="store_true", help="Print the trials that there are.")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    paths = sorted(arguments.tables.glob("*.npz"), key=lambda path: path.stat().st_size)
    for seed, path, protocol in itertools.product(range(arguments.seeds), paths, PROTOCOLS):
        trial = arguments.out / f"{path.stem}.{protocol}.{seed}.npz"
        if not arguments.only_print and not trial.exists():
            scores = measure(path, protocol, seed, arguments.max_rows, arguments.fit, not arguments.without_pyod)
            with tempfile.NamedTemporaryFile(dir=arguments.out, suffix=".part", delete=False) as file:
                np.savez(file, **scores)  # type: ignore[arg-type]
            Path(file.name).rename(trial)
    report(arguments.out)


def measure(
    path: Path, protocol: str, seed: int, max_rows: int, fit: Mapping[str, Any], with_pyod: bool
) -> dict[str, np.ndarray]:
    """Return name -> scores, the surprisal of each score of the detector, and ``anomalous``."""
    with np.load(path) as table:
        x, y = table["X"].astype(np.float32), table["y"].astype(int)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(x))[:max_rows]
    x, y = x[rows], y[rows]
    normal = rng.permutation(np.flatnonzero(y == 0))
    trained = np.arange(len(x)) if protocol == "all" else normal[: len(normal) // 2]
    tested = trained if protocol == "all" else np.setdiff1d(np.arange(len(x)), trained)
    with tempfile.TemporaryDirectory() as folder:
        aekit.fit(x[trained], out=f"{folder}/run", seed=seed, progress=False, **fit)
        autoencoder = aekit.load_autoencoder(f"{folder}/run")
    found = aekit.find_anomalies(autoencoder, x[tested], reference=x[trained], seed=seed, progress=False)
    order = np.argsort([int(name) for name in found.ids])
    scores = {name: values[order] for name, values in found.scores.items()}
    surprisals = {
        f"surprisal {name}": found.detector.surprisal(name, scores[name]) for name in found.detector.names[:-1]
    }
    others = pyod_scores(x[trained], x[tested], protocol, seed) if with_pyod else {}
    return scores | surprisals | others | {"anomalous": y[tested]}


def pyod_scores(trained: np.ndarray, tested: np.ndarray, protocol: str, seed: int) -> dict[str, np.ndarray]:
    """Return the scores of pyod's detectors with default settings, of standardized columns."""
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.ecod import ECOD
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN

    mean, deviation = trained.mean(0), trained.std(0)
    trained, tested = ((x - mean) / np.where(deviation > 0, deviation, 1) for x in (trained, tested))
    models = (IForest(random_state=seed), KNN(), ECOD(), AutoEncoder(random_state=seed, verbose=0))
    scores = {}
    for name, model in zip(BASELINES, models):
        model.fit(trained)
        scores[name] = model.decision_scores_ if protocol == "all" else model.decision_function(tested)
    return scores


def report(folder: Path) -> None:
    """Print the mean AUROC of each table, and that of weights chosen on all other tables."""
    for protocol in PROTOCOLS:
        trials: dict[str, list[dict[str, np.ndarray]]] = {}
        for path in sorted(folder.glob(f"*.{protocol}.*.npz")):
            with np.load(path) as scores:
                trials.setdefault(path.name.split(".")[0], []).append(dict(scores))
        baselines = [
            name for name in BASELINES if all(name in trial for several in trials.values() for trial in several)
        ]
        named = {table: _auroc(several, "combined", *baselines) for table, several in trials.items()}
        former = {table: _weighted(several, {"reconstruction": 1, "code": 1}) for table, several in trials.items()}
        print(
            f"\n| {protocol} | seeds | combined | before | {' | '.join(baselines)} |\n|{'---|' * (4 + len(baselines))}"
        )
        for table, (ours, *others) in named.items():
            spread = len(ours) > 1
            cells = [
                f"{v.mean():.3f}" + (f" ± {v.std(ddof=1):.3f}" if spread else "")
                for v in (ours, former[table], *others)
            ]
            print(f"| {table} | {len(ours)} | {' | '.join(cells)} |")
        means = [np.mean([values[n].mean() for values in named.values()]) for n in range(1 + len(baselines))]
        before = np.mean([values.mean() for values in former.values()])
        cells = [f"{value:.4f}" for value in (means[0], before, *means[1:])]
        print(f"| mean of {len(named)} tables | | {' | '.join(cells)} |")
        below = [t for t, v in named.items() if v[0].mean() < 0.5]
        print(f"\nbelow chance: {', '.join(below) or 'none'}; best baseline there: ", end="")
        print(", ".join(f"{max(v.mean() for v in named[t][1:]):.3f}" for t in below if baselines) or "-")
        values = np.array([[_weighted(several, w).mean() for several in trials.values()] for w in CANDIDATES])
        others_mean = (values.sum(1, keepdims=True) - values) / max(1, values.shape[1] - 1)
        chosen = others_mean.argmax(0)
        print(f"weights chosen on the other tables: {values[chosen, np.arange(values.shape[1])].mean():.4f}")
        for number, count in sorted(zip(*np.unique(chosen, return_counts=True)), key=lambda pair: -pair[1])[:3]:
            weights = {name: weight for name, weight in CANDIDATES[number].items() if weight}
            print(f"- {count} of {len(trials)} times {weights}, which has {values[number].mean():.4f} on all tables")


def _auroc(trials: list[dict[str, np.ndarray]], *names: str) -> list[np.ndarray]:
    return [np.array([roc_auc_score(trial["anomalous"], trial[name]) for trial in trials]) for name in names]


def _weighted(trials: list[dict[str, np.ndarray]], weights: Mapping[str, float]) -> np.ndarray:
    """Return the AUROC (T,) of a weighted sum of surprisals in each trial."""
    sums = [sum(w * trial[f"surprisal {name}"] for name, w in weights.items() if w) for trial in trials]
    return np.array([roc_auc_score(trial["anomalous"], total) for trial, total in zip(trials, sums)])


if __name__ == "__main__":
    main()
