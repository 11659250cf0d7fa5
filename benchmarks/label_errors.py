"""Plant wrong labels, and measure how many of them are found: precision and recall of `aekit.find_label_errors`.

    python benchmarks/label_errors.py                                  # 5% noise, 5 seeds, principal components of images
    python benchmarks/label_errors.py --noise 0.01 0.15 --seeds 3
    python benchmarks/label_errors.py --embeddings FOLDER              # embeddings with labels, from aekit embed

Each planted label is drawn from the other classes: with equal probability (uniform), or the class whose mean is nearest
(similar), as people confuse classes that look alike. The labels of the data count as right, though some of them are wrong, so
that the true precision is higher. Precision at n is that of as many samples as were planted, which needs no threshold. The
calibration error is the mean distance between scores and the fraction of wrong labels in seven bins. Where cleanlab is installed,
its `find_label_issues` gets the same held-out probabilities.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np

import aekit

SETS = ("sklearn:digits", "torchvision:MNIST", "torchvision:FashionMNIST")
BINS = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.05])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--data", nargs="+", default=SETS, metavar="SOURCE:NAME")
    parser.add_argument("--embeddings", nargs="*", default=[], metavar="FOLDER")
    arguments = parser.parse_args()
    heads = ("data", "noise", "precision", "recall", "at n", "calibration", "expected", "cleanlab prec.", "recall")
    print(f"{heads[0]:26} {heads[1]:>13} " + " ".join(f"{head:>14}" for head in heads[2:]))
    for name in arguments.embeddings or arguments.data:
        vectors, labels = embedded(name) if arguments.embeddings else components(name, arguments.samples)
        for noise, kind in product(arguments.noise, ("uniform", "similar")):
            values = np.array([trial(vectors, labels, noise, kind, seed) for seed in range(arguments.seeds)])
            cells = [f"{mean:.3f} ± {std:.3f}" for mean, std in zip(values.mean(0), values.std(0, ddof=1))]
            print(f"{name:26} {noise:5.2f} {kind} " + " ".join(f"{cell:>14}" for cell in cells), flush=True)


def trial(vectors: np.ndarray, labels: np.ndarray, noise: float, kind: str, seed: int) -> list[float]:
    """Plant wrong labels; return precision, recall, precision at n, calibration error, the expected number of wrong labels as a
    fraction of the planted ones, and precision and recall of cleanlab."""
    rng = np.random.default_rng(seed)
    names, codes = np.unique(labels, return_inverse=True)
    wrong = rng.random(len(codes)) < noise
    others = (codes + rng.integers(1, len(names), len(codes))) % len(names)
    if kind == "similar":
        means = np.stack([vectors[codes == number].mean(0) for number in range(len(names))])
        distances = np.linalg.norm(means[:, None] - means, axis=2) + np.diag(np.full(len(names), np.inf))
        others = distances.argmin(1)[codes]
    planted = np.where(wrong, others, codes)
    errors = aekit.find_label_errors(vectors, names[planted], seed=seed, progress=False)
    order = np.array([int(name) for name in errors.ids])
    is_wrong, scores = wrong[order], errors.scores
    probably = scores > 0.5
    bins = np.digitize(scores, BINS)
    gaps = [abs(float((scores - is_wrong)[bins == number].mean())) * (bins == number).mean() for number in set(bins)]
    return [
        is_wrong[probably].mean(),
        is_wrong[probably].sum() / wrong.sum(),
        is_wrong[: wrong.sum()].mean(),
        float(np.sum(gaps)),
        scores.sum() / wrong.sum(),
        *by_cleanlab(vectors, planted, wrong, seed),
    ]


def by_cleanlab(vectors: np.ndarray, codes: np.ndarray, wrong: np.ndarray, seed: int) -> tuple[float, float]:
    """Return precision and recall of cleanlab with the same held-out probabilities; NaN where it is not installed."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return np.nan, np.nan
    from aekit.analysis.label_noise import held_out_probabilities
    from aekit.evaluation.model_selection import assign_folds
    from aekit.progress import SILENT

    folds = assign_folds(codes, len(codes), 5, seed)
    probabilities = held_out_probabilities(vectors, codes, folds, int(codes.max()) + 1, SILENT)
    issues = find_label_issues(codes, probabilities, n_jobs=1)
    return wrong[issues].mean(), wrong[issues].sum() / wrong.sum()


def embedded(folder: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, D) embeddings and their (N,) labels."""
    embeddings = aekit.Embeddings.open(folder)
    assert embeddings.labels is not None, f"{folder}: no labels"
    return embeddings.vectors, embeddings.labels


def components(name: str, samples: int, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return the principal components (N, D) and the labels (N,) of a sample of the images."""
    source = aekit.open_data(name)
    rows = np.sort(np.random.default_rng(0).permutation(len(source))[:samples])
    raw = source.read(rows)[0].reshape(len(rows), -1).astype(np.float64)
    centered = raw - raw.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    assert source.labels is not None
    return (centered @ axes[:, ::-1][:, :width]).astype(np.float32), np.asarray(source.labels)[rows]


if __name__ == "__main__":
    main()
