"""Anomaly detection: tell samples of other classes from those of a normal class, the only one that is fitted."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from aekit.plugin import (
    ANOMALY_NAMES,
    OUTLIER_SCORES,
    DataError,
    Field,
    Metric,
    Result,
    Split,
    closest_name,
    mean_detection_metrics,
    outlier_scores,
)


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    normal: Annotated[
        list[str] | None,
        Field(description="classes that together are normal; by default each in turn against the others"),
    ] = None,
    max_samples: Annotated[int, Field(ge=10, description="maximum number of normal training samples")] = 3000,
    max_classes: Annotated[int, Field(ge=1, description="maximum number of classes taken as normal")] = 20,
    seed: Annotated[int, Field(ge=0, description="seed of the drawn samples, the forest and the bootstrap")] = 0,
) -> Result:
    """Take each class in turn as normal: fit outlier scores to its training samples, and count other classes as anomalies.

    The scores are the distance to the nearest normal samples, the Mahalanobis distance and an isolation forest. The one with
    the highest AUROC on the validation split gives the metrics, which are means over the classes.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.

    Raises:
        DataError: no training sample of a class in `normal`, or no class has three training samples.
    """
    normal_classes, notes = _normal_classes(labels, split, normal, max_classes)
    evaluated = np.concatenate([split.validation, split.test])
    count = len(split.validation)
    scores: dict[str, list[np.ndarray]] = {name: [] for name in OUTLIER_SCORES}
    sampled = False
    for number, names in enumerate(normal_classes):
        rows = split.train[np.isin(labels[split.train], names)]
        if len(rows) > max_samples:
            rows = np.sort(np.random.default_rng([seed, number]).choice(rows, max_samples, replace=False))
            sampled = True
        for name, values in outlier_scores(embeddings[rows], embeddings[evaluated], seed).items():
            scores[name].append(values)
    anomalous = np.stack([~np.isin(labels[evaluated], names) for names in normal_classes])
    validation = {n: _auroc(np.stack(values)[:, :count], anomalous[:, :count]) for n, values in scores.items()}
    best = max(validation, key=lambda name: validation[name])
    means, per_class = mean_detection_metrics(
        np.stack(scores[best])[:, count:], anomalous[:, count:], seed=seed, groups=split.test_groups
    )
    metrics: dict[str, Metric] = dict(means)
    for name, all_values in scores.items():
        metrics[f"auroc_{name}"] = Metric(_auroc(np.stack(all_values)[:, count:], anomalous[:, count:]))
    table: list[dict[str, Any]] = [
        {"normal": ", ".join(map(str, names)), **dict(zip(ANOMALY_NAMES, row.tolist()))}
        for names, row in zip(normal_classes, per_class)
        if np.isfinite(row).all()
    ]
    if sampled:
        notes.append(f"fitted on at most {max_samples:,} training samples per class")
    return Result(metrics, {"score": best}, table, chance=0.5, notes=notes)


def _normal_classes(
    labels: np.ndarray, split: Split, normal: list[str] | None, max_classes: int
) -> tuple[list[np.ndarray], list[str]]:
    """Return the sets of classes to take as normal, one after the other, and notes."""
    known, counts = np.unique(labels[split.train], return_counts=True)
    if normal:
        texts = known.astype(str)
        if missing := [name for name in normal if name not in texts]:
            raise DataError(
                f"anomaly.normal: no training samples of class {missing[0]!r}{closest_name(missing[0], texts)}"
            )
        return [known[np.isin(texts, normal)]], []
    usable = known[counts >= 3]
    if len(usable) < 1:
        raise DataError("anomaly: no class has three training samples, the minimum for fitting scores")
    frequent = known[np.argsort(-counts, kind="stable")][:max_classes]
    frequent = usable[np.isin(usable, frequent)]
    skipped = len(frequent) < len(known)
    notes = [f"{len(frequent)} of {len(known)} classes in turn taken as normal"] if skipped else []
    return [np.array([name]) for name in frequent], notes


def _auroc(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """Return the mean AUROC over the rows of (K, N); 0.5 if it is defined for none."""
    try:
        means, _ = mean_detection_metrics(scores, anomalous, resamples=1)
    except ValueError:
        return 0.5
    return means["auroc"].value
