"""Metrics of predicted classes: confusion, recall and precision, and the accuracy of the majority class."""

from __future__ import annotations

from typing import Any

import numpy as np

from aekit.evaluation.results import Split


def majority_class_accuracy(labels: np.ndarray, split: Split) -> float:
    """Return the test accuracy of always predicting the most frequent class of the training and validation parts.

    Args:
        labels: (N,) classes.
        split: positions in `labels`.
    """
    classes, counts = np.unique(labels[np.concatenate([split.train, split.validation])], return_counts=True)
    return float((labels[split.test] == classes[counts.argmax()]).mean())


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes (C,) and the counts (C, C) of true classes (rows) and predictions (columns)."""
    classes, codes = np.unique(np.concatenate([y_true, y_pred]), return_inverse=True)
    pairs = codes[: len(y_true)] * len(classes) + codes[len(y_true) :]
    return classes, np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), len(classes))


def per_class_metrics(classes: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for each class with its recall and precision, from what `confusion_matrix` returns."""
    samples, predicted, correct = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    return [
        {
            "class": str(name),
            "samples": int(samples[i]),
            "recall": float(correct[i] / max(1, samples[i])),
            "precision": float(correct[i] / max(1, predicted[i])),
        }
        for i, name in enumerate(classes)
    ]
