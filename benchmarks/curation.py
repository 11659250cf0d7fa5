"""Label the samples that `aekit.curate` selects, and measure a linear probe on them against as many random samples.

    python benchmarks/curation.py                           # principal components of images, 3 seeds
    python benchmarks/curation.py --embeddings FOLDER

`uncertain` starts from a fifth of the labels, at least 10, selected as representative. Half of the samples are for testing only.
Accuracy is the mean and standard deviation over the seeds, which draw the halves.
"""

from __future__ import annotations

import argparse

import numpy as np
from label_errors import components, embedded

import aekit
from aekit.evaluation.linear.probe import fit_logistic

SETS = ("sklearn:digits", "torchvision:MNIST", "torchvision:FashionMNIST")
STRATEGIES = ("random", "typical", "coverage", "uncertain", "representative")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--counts", type=int, nargs="+", default=[20, 50, 200])
    parser.add_argument("--embeddings", nargs="*", default=[], metavar="FOLDER")
    arguments = parser.parse_args()
    print(f"{'data':26} {'labels':>6} " + " ".join(f"{name:>15}" for name in STRATEGIES))
    for name in arguments.embeddings or SETS:
        vectors, labels = embedded(name) if arguments.embeddings else components(name, arguments.samples)
        for count in arguments.counts:
            cells = []
            for strategy in STRATEGIES:
                values = [accuracy(vectors, labels, count, strategy, seed) for seed in range(arguments.seeds)]
                cells.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}")
            print(f"{name:26} {count:6d} " + " ".join(f"{cell:>15}" for cell in cells), flush=True)


def accuracy(vectors: np.ndarray, labels: np.ndarray, count: int, strategy: str, seed: int) -> float:
    """Return the accuracy of a probe on the labels of selected samples, on the half that was not for selection."""
    order = np.random.default_rng(seed).permutation(len(vectors))
    pool, test = order[: len(order) // 2], order[len(order) // 2 :]
    if strategy == "random":
        chosen = np.arange(count)
    elif strategy == "uncertain":
        chosen = selected(vectors[pool], max(10, count // 5), "representative", None, seed)
        known = np.full(len(pool), "", object)
        known[chosen] = labels[pool][chosen].astype(str)
        chosen = np.concatenate([chosen, selected(vectors[pool], count - len(chosen), strategy, known, seed)])
    else:
        chosen = selected(vectors[pool], count, strategy, None, seed)
    path = fit_logistic(vectors[pool][chosen], labels[pool][chosen].astype(str), [1.0])
    return float((path.predict(vectors[test])[0] == labels[test].astype(str)).mean())


def selected(vectors: np.ndarray, count: int, strategy: str, labels: np.ndarray | None, seed: int) -> np.ndarray:
    """Return the rows that are selected."""
    return aekit.curate(vectors, count, strategy=strategy, labels=labels, seed=seed, progress=False).selected


if __name__ == "__main__":
    main()
