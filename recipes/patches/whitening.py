"""Compare powers of whitening, with and without a common length, on three quarters of the training part of each set.

    python recipes/patches/whitening.py -o study                 # the sets that study.py writes into the same folder
    python recipes/patches/whitening.py -o study --sets digits emoji

At most 3,000 training images of a set are drawn; three quarters of them are fitted, and the others are measured. Distances are
Euclidean, but for retrieval, which is by cosine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sets import PHOTOGRAPHS, SETS, write_set
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score
from torch import Tensor
from torch.nn.functional import normalize, one_hot

import aekit
from aekit.nn.feature_scaling import PartialWhitening

MOST = 3000
POWERS = (0.65, 0.5, 0.35, 0.0)
RIDGE = 0.1
"""Penalty of the linear classifier, as a fraction of the variance of a feature."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="Folder of the data.")
    names = [*SETS, PHOTOGRAPHS]
    parser.add_argument("--sets", nargs="+", choices=names, default=names)
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    rows: dict[str, list[dict[str, float]]] = {}
    for name in arguments.sets:
        for candidate, values in measure(write_set(name, arguments.out)).items():
            rows.setdefault(candidate, []).append(values)
    columns = list(rows["raw"][0])
    print("| features | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for candidate, by_set in rows.items():
        means = [np.mean([values[column] for values in by_set]) for column in columns]
        print(f"| {candidate} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


def measure(data: str) -> dict[str, dict[str, float]]:
    """Return the metrics of each candidate on one set."""
    source, generator = aekit.open_data(data), np.random.default_rng(0)
    training = np.arange(len(source)) if source.splits is None else np.flatnonzero(source.splits == "train")
    rows = generator.permutation(training)[:MOST]
    images, classes = (
        source.read(rows)[0],
        np.unique(np.asarray(source.labels)[rows].astype(str), return_inverse=True)[1],
    )
    count = 3 * len(rows) // 4
    everything = {"encoder.patch-dictionary.components": 0, "encoder.normalize": False}
    encoder = aekit.fit(images[:count], backbone="patch-dictionary", overrides=everything, progress=False)
    features = torch.from_numpy(np.array(encoder.embed(images, progress=False)))
    labels = torch.from_numpy(classes)
    candidates = {"raw": torch.from_numpy(images.reshape(len(images), -1).astype(np.float32))}
    for power in POWERS:
        whitening = PartialWhitening(features.shape[1], min(512, features.shape[1]), power)
        whitening.fit(features[:count])
        candidates[f"power {power:g}"] = whitening(features)
        candidates[f"power {power:g}, length 1"] = normalize(whitening(features), dim=1)
    return {name: metrics(x[:count], x[count:], labels[:count], labels[count:]) for name, x in candidates.items()}


def metrics(x: Tensor, x_test: Tensor, y: Tensor, y_test: Tensor) -> dict[str, float]:
    """Return the metrics of embeddings (N, D) and (M, D) with classes (N,) and (M,)."""
    classes, distances = int(y.max()) + 1, torch.cdist(x_test, x)
    nearest = one_hot(y[distances.topk(10, largest=False).indices], classes).sum(1)
    ranked = y[(normalize(x_test, dim=1) @ normalize(x, dim=1).T).argsort(1, descending=True)] == y_test[:, None]
    precision = ranked.cumsum(1) / torch.arange(1, len(x) + 1)
    clusters = KMeans(classes, n_init=2, random_state=0).fit(x.numpy()).predict(x_test.numpy())
    return {
        "linear": _accuracy(_linear(x, x_test, one_hot(y, classes).float()), y_test),
        "10 neighbors": _accuracy(nearest, y_test),
        "mAP": float(((precision * ranked).sum(1) / ranked.sum(1).clamp(min=1)).mean()),
        "first 10": float(ranked[:, :10].float().mean()),
        "5 labels per class": _with_few_labels(x, x_test, y, y_test),
        "k-means, NMI": float(normalized_mutual_info_score(y_test, clusters)),
        "one class against the others, AUROC": float(
            np.mean(
                [
                    roc_auc_score(y_test != one, distances[:, y == one].topk(5, largest=False).values.mean(1))
                    for one in range(classes)
                    if (y == one).sum() >= 10 and (y_test == one).sum() >= 3
                ]
            )
        ),
    }


def _accuracy(scores: Tensor, y: Tensor) -> float:
    return float((scores.argmax(1) == y).float().mean())


def _linear(x: Tensor, x_test: Tensor, targets: Tensor) -> Tensor:
    """Return the scores (M, C) of ridge regression on standardized embeddings."""
    deviation, mean = torch.std_mean(x, 0)
    scaled, scaled_test = ((each - mean) / (deviation + 1e-6) for each in (x, x_test))
    u, values, vh = torch.linalg.svd(scaled, full_matrices=False)
    weights = values / (values.square() + RIDGE * len(x))
    return (scaled_test @ vh.T * weights) @ (u.T @ (targets - targets.mean(0))) + targets.mean(0)


def _with_few_labels(x: Tensor, x_test: Tensor, y: Tensor, y_test: Tensor, draws: int = 5) -> float:
    """Return the accuracy of the nearest mean of five samples of each class, averaged over draws."""
    generator, accuracies = torch.Generator().manual_seed(0), list[float]()
    classes = torch.unique(y)
    for _ in range(draws):
        of_class = [torch.nonzero(y == one)[:, 0] for one in classes]
        drawn = [rows[torch.randperm(len(rows), generator=generator)[:5]] for rows in of_class]
        means = torch.stack([x[rows].mean(0) for rows in drawn])
        accuracies.append(float((classes[torch.cdist(x_test, means).argmin(1)] == y_test).float().mean()))
    return float(np.mean(accuracies))


if __name__ == "__main__":
    main()
