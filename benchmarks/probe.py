"""Compare the search of a linear probe over all strengths and folds with scikit-learn: one batched fit per fold.

    python benchmarks/probe.py                     # clouds: 60,000 x 128, 10 classes, 45 strengths, 5 folds
    python benchmarks/probe.py --data fashion      # the principal components of Fashion-MNIST's training images
    python benchmarks/probe.py --samples 6000 --every 4

All use the same folds, standardized by their training part, and the same threads. aekit stops where a step would lower the loss
by less than 1e-6, scikit-learn by its default, both after at most 1000 iterations. scikit-learn runs in two ways: a separate
LogisticRegression for each strength and fold, as in a grid search, and warm starts from the previous strength, as in
LogisticRegressionCV, which then hardly changes where regularization is weak. Both are timed on one fold, the first on every n-th
strength, and scaled to the whole search.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from aekit.evaluation.linear.probe import SEARCH_TOLERANCE, fit_logistic
from aekit.evaluation.model_selection import assign_folds

ITERATIONS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["clouds", "fashion"], default="clouds")
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--classes", type=int, default=10, help="number of classes of the clouds")
    parser.add_argument("--strengths", type=int, default=45, help="values of C from 1e-6 to 1e5")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--every", type=int, default=4, help="time scikit-learn on every n-th strength")
    arguments = parser.parse_args()
    x, y = (fashion if arguments.data == "fashion" else clouds)(arguments.samples, arguments.width, arguments.classes)
    strengths = np.geomspace(1e-6, 1e5, arguments.strengths)
    numbers = assign_folds(y, len(y), arguments.folds, seed=0)
    search = f"{arguments.strengths} strengths, {arguments.folds} folds"
    print(
        f"{arguments.data}: {len(x)} x {x.shape[1]}, {len(np.unique(y))} classes, {search}, {torch.get_num_threads()} threads"
    )
    fit_logistic(x[:1000], y[:1000], [1.0])  # one-time initialization is not part of the time

    accuracy, ours, steps = np.zeros((arguments.folds, arguments.strengths)), 0.0, 0
    for fold in range(arguments.folds):
        train, test = numbers != fold, numbers == fold
        start = time.perf_counter()
        path = fit_logistic(x[train], y[train], strengths, max_iterations=ITERATIONS, tolerance=SEARCH_TOLERANCE)
        accuracy[fold] = (path.predict(x[test]) == y[test]).mean(axis=1)
        ours += time.perf_counter() - start
        steps += int(path.iterations.sum())
        print(f"aekit, fold {fold}: {ours:.1f} s so far, {steps} steps", flush=True)

    train, test = numbers != 0, numbers == 0
    mean, deviation = x[train].mean(axis=0), x[train].std(axis=0)
    x_train, x_test = (x[train] - mean) / deviation, (x[test] - mean) / deviation
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(
        f"\nfold 0\n{'C':>9} {'aekit':>8} {'separate':>8} {'steps':>6} {'seconds':>8} {'warm':>8} {'steps':>6} {'seconds':>8}"
    )
    separate, timed, warm_starts, largest = 0.0, 0, 0.0, 0.0
    warm = LogisticRegression(max_iter=ITERATIONS, warm_start=True)  # what LogisticRegressionCV does within a fold
    for number, strength in enumerate(strengths):
        line = f"{strength:9.2g} {accuracy[0, number]:8.4f} "
        if number % arguments.every == 0:
            cold = LogisticRegression(C=strength, max_iter=ITERATIONS)
            seconds = _fit_seconds(cold, x_train, y[train])
            separate, timed = separate + seconds, timed + 1
            score = cold.score(x_test, y[test])
            line += f"{score:8.4f} {cold.n_iter_[0]:6d} {seconds:8.2f} "
            largest = max(largest, abs(score - accuracy[0, number]))
        else:
            line += " " * 25
        warm.C = strength
        seconds = _fit_seconds(warm, x_train, y[train])
        warm_starts += seconds
        print(f"{line}{warm.score(x_test, y[test]):8.4f} {warm.n_iter_[0]:6d} {seconds:8.2f}", flush=True)
    best = accuracy.mean(axis=0)
    separate *= arguments.strengths / timed * arguments.folds
    warm_starts *= arguments.folds
    print(f"\nbest: C = {strengths[best.argmax()]:.2g}, accuracy {best.max():.4f} over the folds")
    print(f"largest difference from scikit-learn's accuracy at equal strength: {largest:.4f}")
    print(f"aekit {ours:.1f} s")
    scaled = f"scaled from {timed} strengths of 1 fold to {arguments.strengths} of {arguments.folds}"
    print(f"scikit-learn, separate fits: {separate:.1f} s, {scaled}: ratio {separate / ours:.1f}")
    scaled = f"scaled from 1 fold to {arguments.folds}"
    print(f"scikit-learn, warm starts: {warm_starts:.1f} s, {scaled}: ratio {warm_starts / ours:.1f}")


def _fit_seconds(model: LogisticRegression, x: np.ndarray, y: np.ndarray) -> float:
    start = time.perf_counter()
    model.fit(x, y)
    return time.perf_counter() - start


def clouds(samples: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw (N, D) float32 features and (N,) classes, with deviations that fall as 1 / rank, like those of embeddings."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, classes, samples)
    centers = generator.standard_normal((classes, width))
    mixing = generator.standard_normal((width, width)) / np.arange(1, width + 1)[:, None]
    x = (0.35 * centers[y] + generator.standard_normal((samples, width))) @ mixing
    return x.astype(np.float32), y


def fashion(samples: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, D) principal components and (N,) classes of Fashion-MNIST, which AEKIT_DATA must contain."""
    from aekit import open_data

    source = open_data("torchvision:FashionMNIST")
    rows = source.rows_of("train")[:samples]
    raw = source.read(rows)[0].reshape(len(rows), -1).astype(np.float32) / 255
    centered = raw - raw.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    assert source.labels is not None
    return centered @ axes[:, ::-1][:, :width], np.asarray(source.labels)[rows]


if __name__ == "__main__":
    main()
