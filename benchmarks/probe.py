"""The whole search of a linear probe, every strength in every fold: one batched fit a fold against scikit-learn, in one run.

    python benchmarks/probe.py                     # clouds: 60,000 x 128, 10 classes, 45 strengths, 5 folds
    python benchmarks/probe.py --data fashion      # the principal components of Fashion-MNIST's training images
    python benchmarks/probe.py --samples 6000 --every 4

All see the same folds, standardized by the training part of each, and have the same threads. aekit stops where a step would
lower the loss by less than 1e-6, scikit-learn by its own default, both after 1000 iterations at most. scikit-learn is asked in
two ways: a LogisticRegression for each strength and fold, as a grid search does it, and each strength from the one before, as
LogisticRegressionCV does it, which then hardly moves where regularization is weak. Both take long: they are timed on one fold,
the first on every so many strengths of it, and what that takes is scaled to the whole search.
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
    parser.add_argument("--classes", type=int, default=10, help="of the clouds")
    parser.add_argument("--strengths", type=int, default=45, help="values of C from 1e-6 to 1e5")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--every", type=int, default=4, help="scikit-learn: time every so many of the strengths")
    asked = parser.parse_args()
    x, y = (fashion if asked.data == "fashion" else clouds)(asked.samples, asked.width, asked.classes)
    strengths = np.geomspace(1e-6, 1e5, asked.strengths)
    numbers = assign_folds(y, len(y), asked.folds, seed=0)
    search = f"{asked.strengths} strengths, {asked.folds} folds"
    print(
        f"{asked.data}: {len(x)} x {x.shape[1]}, {len(np.unique(y))} classes, {search}, {torch.get_num_threads()} threads"
    )
    fit_logistic(x[:1000], y[:1000], [1.0])  # what is started once is not part of the time

    accuracy, ours, steps = np.zeros((asked.folds, asked.strengths)), 0.0, 0
    for fold in range(asked.folds):
        own, held = numbers != fold, numbers == fold
        start = time.perf_counter()
        path = fit_logistic(x[own], y[own], strengths, max_iterations=ITERATIONS, tolerance=SEARCH_TOLERANCE)
        accuracy[fold] = (path.predict(x[held]) == y[held]).mean(axis=1)
        ours += time.perf_counter() - start
        steps += int(path.iterations.sum())
        print(f"aekit, fold {fold}: {ours:.1f} s so far, {steps} steps", flush=True)

    own, held = numbers != 0, numbers == 0
    mean, deviation = x[own].mean(axis=0), x[own].std(axis=0)
    train, test = (x[own] - mean) / deviation, (x[held] - mean) / deviation
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(
        f"\nfold 0\n{'C':>9} {'aekit':>8} {'alone':>8} {'steps':>6} {'seconds':>8} {'in turn':>8} {'steps':>6} {'seconds':>8}"
    )
    alone, timed, in_turn, largest = 0.0, 0, 0.0, 0.0
    warm = LogisticRegression(max_iter=ITERATIONS, warm_start=True)  # what LogisticRegressionCV does within a fold
    for number, strength in enumerate(strengths):
        line = f"{strength:9.2g} {accuracy[0, number]:8.4f} "
        if number % asked.every == 0:
            cold = LogisticRegression(C=strength, max_iter=ITERATIONS)
            seconds = _timed(cold, train, y[own])
            alone, timed = alone + seconds, timed + 1
            reached = cold.score(test, y[held])
            line += f"{reached:8.4f} {cold.n_iter_[0]:6d} {seconds:8.2f} "
            largest = max(largest, abs(reached - accuracy[0, number]))
        else:
            line += " " * 25
        warm.C = strength
        seconds = _timed(warm, train, y[own])
        in_turn += seconds
        print(f"{line}{warm.score(test, y[held]):8.4f} {warm.n_iter_[0]:6d} {seconds:8.2f}", flush=True)
    best = accuracy.mean(axis=0)
    alone, in_turn = alone * asked.strengths / timed * asked.folds, in_turn * asked.folds
    print(f"\nbest: C = {strengths[best.argmax()]:.2g}, accuracy {best.max():.4f} over the folds")
    print(f"accuracy beside scikit-learn's at equal strength: {largest:.4f} apart at most")
    print(f"aekit {ours:.1f} s")
    scaled = f"scaled from {timed} strengths of 1 fold to {asked.strengths} of {asked.folds}"
    print(f"scikit-learn, one by one: {alone:.1f} s, {scaled}: ratio {alone / ours:.1f}")
    print(f"scikit-learn, in turn: {in_turn:.1f} s, scaled from 1 fold to {asked.folds}: ratio {in_turn / ours:.1f}")


def _timed(model: LogisticRegression, x: np.ndarray, y: np.ndarray) -> float:
    start = time.perf_counter()
    model.fit(x, y)
    return time.perf_counter() - start


def clouds(samples: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 and (N,): columns are mixed, with deviations falling as 1 / rank, as embeddings' are."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, classes, samples)
    centers = generator.standard_normal((classes, width))
    mixing = generator.standard_normal((width, width)) / np.arange(1, width + 1)[:, None]
    x = (0.35 * centers[y] + generator.standard_normal((samples, width))) @ mixing
    return x.astype(np.float32), y


def fashion(samples: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 principal components and (N,) of Fashion-MNIST, which AEKIT_DATA must hold."""
    from aekit import open_data

    source = open_data("torchvision:FashionMNIST")
    rows = source.rows_of("train")[:samples]
    raw = source.read(rows)[0].reshape(len(rows), -1).astype(np.float32) / 255
    centerd = raw - raw.mean(axis=0)
    _, axes = np.linalg.eigh(centerd.T @ centerd)
    assert source.labels is not None
    return centerd @ axes[:, ::-1][:, :width], np.asarray(source.labels)[rows]


if __name__ == "__main__":
    main()
