"""Ten linear probes: one batched fit against scikit-learn's LogisticRegression, one strength after another, in one run.

    python benchmarks/probe.py --samples 60000 --width 128

Both see the same standardised features of overlapping Gaussian clouds with correlated columns; a fifth is held out. Each
is given the same number of iterations, and the same threads.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from aekit.evaluation import fit_logistic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--strengths", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="scikit-learn's, on the gradient")
    asked = parser.parse_args()
    x, y = clouds(asked.samples, asked.width, asked.classes)
    held = len(x) // 5
    mean, deviation = x[held:].mean(axis=0), x[held:].std(axis=0)
    x = (x - mean) / deviation
    strengths = np.geomspace(1e-4, 1e3, asked.strengths)
    print(f"{len(x) - held} x {asked.width}, {asked.classes} classes, {torch.get_num_threads()} threads", flush=True)
    fit_logistic(x[:1000], y[:1000], [1.0])  # what is started once is not part of the time

    start = time.perf_counter()
    path = fit_logistic(x[held:], y[held:], strengths, max_iterations=asked.iterations)
    ours = time.perf_counter() - start
    accuracy = (path.predict(x[:held]) == y[:held]).mean(axis=1)

    theirs = 0.0
    print(f"{'C':>10} {'aekit':>8} {'steps':>6} {'sklearn':>8} {'steps':>6} {'seconds':>8}")
    for number, strength in enumerate(strengths):
        model = LogisticRegression(C=strength, max_iter=asked.iterations, tol=asked.tolerance)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x[held:], y[held:])
        seconds = time.perf_counter() - start
        theirs += seconds
        print(
            f"{strength:10.2g} {accuracy[number]:8.4f} {path.iterations[number]:6d} {model.score(x[:held], y[:held]):8.4f} "
            f"{model.n_iter_[0]:6d} {seconds:8.2f}",
            flush=True,
        )
    print(f"aekit, all at once: {ours:.2f} s; scikit-learn, one by one: {theirs:.2f} s; ratio {theirs / ours:.2f}")


def clouds(samples: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 and (N,): columns are mixed, with deviations falling as 1 / rank, as embeddings' are."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, classes, samples)
    centres = generator.standard_normal((classes, width))
    mixing = generator.standard_normal((width, width)) / np.arange(1, width + 1)[:, None]
    x = (0.35 * centres[y] + generator.standard_normal((samples, width))) @ mixing
    return x.astype(np.float32), y


if __name__ == "__main__":
    main()
