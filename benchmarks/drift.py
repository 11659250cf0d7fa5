"""Plant drift in half of the images of a data set, and count how often `aekit.measure_drift` finds it, and false alarms.

    python benchmarks/drift.py                     # principal components of images, 40 seeds
    python benchmarks/drift.py --embeddings FOLDER

Every seed draws two disjoint sets of samples. Without a shift their difference is chance, and alarms are false: alpha, 5%, is
what is promised. Shifts: noise added to a fraction of the new samples, a class that is half as frequent, all new samples moved.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from label_errors import components, embedded

import aekit

SETS = ("sklearn:digits", "torchvision:FashionMNIST")
SHIFTS = ("none", "noise in 5%", "noise in 20%", "class halved", "class missing", "moved by 0.1", "moved by 0.3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--samples", type=int, default=400, help="samples of each side")
    parser.add_argument("--permutations", type=int, default=200)
    parser.add_argument("--embeddings", nargs="*", default=[], metavar="FOLDER")
    arguments = parser.parse_args()
    print(f"{'data':26} {'shift':16} {'alarms':>7} {'energy distance':>16} {'auroc':>6}")
    for name in arguments.embeddings or SETS:
        vectors, labels = embedded(name) if arguments.embeddings else components(name, 4000)
        for shift in SHIFTS:
            results = [trial(vectors, labels, shift, seed, arguments) for seed in range(arguments.seeds)]
            alarms = np.mean([drift.has_drifted for drift in results])
            distance = np.mean([drift.test.statistic for drift in results])
            auroc = np.mean([drift.auroc for drift in results])
            print(f"{name:26} {shift:16} {alarms:7.2f} {distance:16.4f} {auroc:6.3f}", flush=True)


def trial(vectors: np.ndarray, labels: np.ndarray, shift: str, seed: int, arguments: argparse.Namespace) -> Any:
    """Draw two sets of samples, shift one, and test."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(vectors))
    count = min(arguments.samples, len(vectors) // 2)
    known, new = order[:count], order[count : 2 * count]
    moved = vectors[new].copy()
    deviation = vectors.std(0)
    if shift.startswith("noise"):
        noisy = rng.random(count) < (0.05 if "5%" in shift else 0.2)
        moved[noisy] += rng.normal(size=moved[noisy].shape) * deviation
    elif shift.startswith("class"):
        one = labels[new] == labels[new][0]
        moved = moved[~one | (rng.random(count) < (0.5 if "halved" in shift else 0))]
    elif shift.startswith("moved"):
        moved += float(shift.split()[-1]) * deviation * np.sign(rng.normal(size=moved.shape[1]))
    return aekit.measure_drift(vectors[known], moved, permutations=arguments.permutations, seed=seed, progress=False)


if __name__ == "__main__":
    main()
