"""Propagate the labels of 100 to 3,000 digits to all 70,000 digits of MNIST, along the codes of runs and of baselines.

    for seed in 0 1 2; do aekit fit recipes/propagation/mnist.toml -o vae-$seed --seed $seed; done
    python recipes/propagation/digits.py vae-0 vae-1 vae-2

Labels are drawn from the training split, the same number of each class. The test split has none, and its digits take part in
the propagation, as they do in a transductive support vector machine. Errors are in % of the 10,000 test digits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

import aekit
from aekit.evaluation.propagation import neighbor_graph, propagate
from aekit.plugin import Source, sample_per_class

COUNTS = (100, 600, 1000, 3000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    source = aekit.open_data("torchvision:MNIST")
    labels, splits = np.asarray(source.labels).astype(int), np.asarray(source.splits).astype(str)
    train, test = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "test")
    print(f"| code | {' | '.join(f'{count:,} labels' for count in COUNTS)} |\n|---|{'---|' * len(COUNTS)}")
    for name, vectors in _codes(source, arguments.runs, train):
        graph, cells = neighbor_graph(vectors), []
        for count in COUNTS:
            errors = []
            for seed in range(arguments.draws):
                rows = sample_per_class(train, labels, count // 10, seed=seed)
                sources = np.zeros((len(labels), 10))
                sources[rows, labels[rows]] = 1
                predicted = propagate(graph, sources)[test].argmax(axis=1)
                errors.append(100 * (predicted != labels[test]).mean())
            cells.append(f"{np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _codes(source: Source, runs: list[Path], train: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the vectors (N, D) of all digits: by each run, by random weights, by PCA, and pixels."""
    encoders = [aekit.load(run) for run in runs]
    for run, encoder in zip(runs, encoders):
        yield run.name, encoder.embed(source, progress=False).vectors
    yield "random weights", encoders[0].with_random_weights(0).embed(source, progress=False).vectors
    pixels = source.read(np.arange(len(source)))[0].reshape(len(source), -1).astype(np.float32) / 255
    dim = encoders[0].dim
    yield f"pca-{dim}", PCA(dim, random_state=0).fit(pixels[train]).transform(pixels).astype(np.float32)
    yield "raw", pixels


if __name__ == "__main__":
    main()
