"""Answers beside the classes they should have been: which are confused, and what answering without looking would reach."""

from __future__ import annotations

from typing import Any

import numpy as np

from aekit.evaluation.results import Split


def majority_class_accuracy(labels: np.ndarray, split: Split) -> float:
    """Accuracy on the test part of always answering the class that is commonest in the others.

    Args:
        labels: (N,) classes.
        split: positions into them.
    """
    classes, counts = np.unique(labels[np.concatenate([split.train, split.validation])], return_counts=True)
    return float((labels[split.test] == classes[counts.argmax()]).mean())


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) classes and (N,) answers -> the classes (C,) and counts (C, C): rows are true, columns are answers."""
    classes, codes = np.unique(np.concatenate([y_true, y_pred]), return_inverse=True)
    pairs = codes[: len(y_true)] * len(classes) + codes[len(y_true) :]
    return classes, np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), len(classes))


def per_class_metrics(classes: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
    """A row for each class, with its recall and precision, from what `confusion` gives."""
    samples, answers, right = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    return [
        {
            "class": str(name),
            "samples": int(samples[i]),
            "recall": float(right[i] / max(1, samples[i])),
            "precision": float(right[i] / max(1, answers[i])),
        }
        for i, name in enumerate(classes)
    ]
