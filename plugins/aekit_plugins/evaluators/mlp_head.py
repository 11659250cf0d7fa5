"""A small network on frozen embeddings: what is there for a head that need not be linear."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from aekit.plugin import Field, Metric, Result, Split, bootstrap, majority_class_accuracy


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    hidden: Annotated[int, Field(ge=1, description="units of the one hidden layer")] = 256,
    decay: Annotated[float, Field(ge=0, description="weight of the squared weights in the loss")] = 1e-4,
    lr: Annotated[float, Field(gt=0, description="learning rate of Adam")] = 1e-3,
    epochs: Annotated[int, Field(ge=1, description="passes over the training part, at most")] = 100,
    patience: Annotated[int, Field(ge=1, description="epochs without a better one after which it stops")] = 10,
    seed: Annotated[int, Field(ge=0, description="of weights, order and the bootstrap")] = 0,
) -> Result:
    """scikit-learn's MLPClassifier with one hidden layer of rectified units, on standardized embeddings.

    The number of epochs is chosen on the validation split, by accuracy and then cross-entropy; the figure is of the network
    trained again, for as many epochs, on train and validation.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    settings = {"hidden_layer_sizes": (hidden,), "alpha": decay, "learning_rate_init": lr, "random_state": seed}
    table: list[dict[str, Any]] = []
    training = _Training(embeddings, labels, split.train, settings)
    while len(table) < epochs and len(table) - 1 - _best(table) < patience:
        training.epoch()
        right, entropy = training.judged(split.validation)
        figures = {"validation accuracy": float(right.mean()), "validation cross-entropy": entropy}
        table.append({"epoch": len(table) + 1, **figures})
    best = _best(table) + 1
    again = _Training(embeddings, labels, np.concatenate([split.train, split.validation]), settings)
    for _ in range(best):
        again.epoch()
    scores, _ = again.judged(split.test)
    metrics: dict[str, Metric] = {"accuracy": bootstrap(scores, seed=seed, groups=split.test_groups)}
    return Result(
        metrics,
        {"epochs": best, "tried": len(table), "hidden": hidden},
        table,
        scores=scores,
        chance=majority_class_accuracy(labels, split),
    )


def _best(table: list[dict[str, Any]]) -> int:
    """The row of the highest accuracy, then of the lowest cross-entropy; -1 where there is none yet."""
    keys = [(row["validation accuracy"], -row["validation cross-entropy"]) for row in table]
    return keys.index(max(keys)) if keys else -1


class _Training:
    """A network that is trained epoch by epoch on the samples at `rows`."""

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray, rows: np.ndarray, settings: dict[str, Any]) -> None:
        from sklearn.neural_network import MLPClassifier
        from sklearn.preprocessing import StandardScaler

        self.embeddings, self.labels, self.scaler = embeddings, labels, StandardScaler()
        self.x, self.y = self.scaler.fit_transform(embeddings[rows]), labels[rows]
        self.classes = np.unique(self.y)
        # With few samples smaller batches, so that an epoch is still some steps.
        size = min(200, len(rows), max(16, len(rows) // 10))
        self.network = MLPClassifier(**settings, batch_size=size)

    def epoch(self) -> None:
        self.network.partial_fit(self.x, self.y, classes=self.classes)

    def judged(self, rows: np.ndarray) -> tuple[np.ndarray, float]:
        """(N,) 1 where the class was found, and the mean cross-entropy of the N samples."""
        odds = self.network.predict_proba(self.scaler.transform(self.embeddings[rows]))
        right = (self.classes[odds.argmax(axis=1)] == self.labels[rows]).astype(np.float64)
        given = odds[self.labels[rows][:, None] == self.classes]
        return right, float(-np.log(np.maximum(given, 1e-12)).mean()) if len(given) else 0.0
