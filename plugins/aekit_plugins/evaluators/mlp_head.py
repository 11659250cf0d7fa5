"""MLP head: classify frozen embeddings with a small nonlinear network."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from aekit.plugin import Field, Metric, Result, Split, bootstrap, majority_class_accuracy


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    hidden: Annotated[int, Field(ge=1, description="units of the hidden layer")] = 256,
    weight_decay: Annotated[float, Field(ge=0, description="L2 penalty on the weights")] = 1e-4,
    lr: Annotated[float, Field(gt=0, description="learning rate of Adam")] = 1e-3,
    epochs: Annotated[int, Field(ge=1, description="maximum number of passes over the training split")] = 100,
    patience: Annotated[int, Field(ge=1, description="stop after this many epochs without improvement")] = 10,
    seed: Annotated[int, Field(ge=0, description="seed of the weights, the order and the bootstrap")] = 0,
) -> Result:
    """Fit scikit-learn's MLPClassifier with one hidden ReLU layer to standardized embeddings.

    The number of epochs is chosen on the validation split, by accuracy and then by cross-entropy; the test metrics are those
    of a network trained again on train and validation, for as many epochs.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    settings = {"hidden_layer_sizes": (hidden,), "alpha": weight_decay, "learning_rate_init": lr, "random_state": seed}
    table: list[dict[str, Any]] = []
    training = _Training(embeddings, labels, split.train, settings)
    while len(table) < epochs and len(table) - 1 - _best(table) < patience:
        training.epoch()
        correct, entropy = training.evaluate(split.validation)
        values = {"validation accuracy": float(correct.mean()), "validation cross-entropy": entropy}
        table.append({"epoch": len(table) + 1, **values})
    best = _best(table) + 1
    final = _Training(embeddings, labels, np.concatenate([split.train, split.validation]), settings)
    for _ in range(best):
        final.epoch()
    scores, _ = final.evaluate(split.test)
    metrics: dict[str, Metric] = {"accuracy": bootstrap(scores, seed=seed, groups=split.test_groups)}
    return Result(
        metrics,
        {"epochs": best, "epochs_tried": len(table), "hidden": hidden},
        table,
        scores=scores,
        chance=majority_class_accuracy(labels, split),
    )


def _best(table: list[dict[str, Any]]) -> int:
    """Return the row with the highest accuracy, then the lowest cross-entropy; -1 for an empty table."""
    keys = [(row["validation accuracy"], -row["validation cross-entropy"]) for row in table]
    return keys.index(max(keys)) if keys else -1


class _Training:
    """Training of a network on the samples at `rows`, epoch by epoch."""

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray, rows: np.ndarray, settings: dict[str, Any]) -> None:
        from sklearn.neural_network import MLPClassifier
        from sklearn.preprocessing import StandardScaler

        self.embeddings, self.labels, self.scaler = embeddings, labels, StandardScaler()
        self.x, self.y = self.scaler.fit_transform(embeddings[rows]), labels[rows]
        self.classes = np.unique(self.y)
        # Smaller batches for few samples, so that an epoch still has several steps.
        size = min(200, len(rows), max(16, len(rows) // 10))
        self.network = MLPClassifier(**settings, batch_size=size)

    def epoch(self) -> None:
        """Train for one epoch."""
        self.network.partial_fit(self.x, self.y, classes=self.classes)

    def evaluate(self, rows: np.ndarray) -> tuple[np.ndarray, float]:
        """Return (N,) 1 for each correct prediction and 0 otherwise, and the mean cross-entropy."""
        probabilities = self.network.predict_proba(self.scaler.transform(self.embeddings[rows]))
        correct = (self.classes[probabilities.argmax(axis=1)] == self.labels[rows]).astype(np.float64)
        likelihoods = probabilities[self.labels[rows][:, None] == self.classes]
        return correct, float(-np.log(np.maximum(likelihoods, 1e-12)).mean()) if len(likelihoods) else 0.0
