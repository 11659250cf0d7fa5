"""Anomalies: whether samples of other classes lie far from those of a normal class, which alone is learned from."""

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
        Field(description="classes that are normal together; by default each in turn against the rest"),
    ] = None,
    most: Annotated[int, Field(ge=10, description="normal training samples above which some are used")] = 3000,
    classes: Annotated[int, Field(ge=1, description="of more classes only the most frequent are normal in turn")] = 20,
    seed: Annotated[int, Field(ge=0, description="of those samples, the forest and the bootstrap")] = 0,
) -> Result:
    """Each class in turn is what is normal: its training samples alone are seen, and all other classes are anomalies.

    Scores are the distance to the nearest normal samples, the Mahalanobis distance and an isolation forest; that of the highest
    AUROC on the validation split gives the figures, which are means over the classes.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes.
        split: positions into both.
    """
    questions, notes = _questions(labels, split, normal, classes)
    judged = np.concatenate([split.validation, split.test])
    held = len(split.validation)
    scores: dict[str, list[np.ndarray]] = {name: [] for name in OUTLIER_SCORES}
    cut = False
    for number, names in enumerate(questions):
        own = split.train[np.isin(labels[split.train], names)]
        if len(own) > most:
            own, cut = np.sort(np.random.default_rng([seed, number]).choice(own, most, replace=False)), True
        for name, found in outlier_scores(embeddings[own], embeddings[judged], seed).items():
            scores[name].append(found)
    anomalous = np.stack([~np.isin(labels[judged], names) for names in questions])
    tried = {n: _auroc(np.stack(values)[:, :held], anomalous[:, :held]) for n, values in scores.items()}
    chosen = max(tried, key=lambda name: tried[name])
    figures, single = mean_detection_metrics(
        np.stack(scores[chosen])[:, held:], anomalous[:, held:], seed=seed, groups=split.test_groups
    )
    metrics: dict[str, Metric] = dict(figures)
    for name, values in scores.items():
        metrics[f"auroc_{name}"] = Metric(_auroc(np.stack(values)[:, held:], anomalous[:, held:]))
    table: list[dict[str, Any]] = [
        {"normal": ", ".join(map(str, names)), **dict(zip(ANOMALY_NAMES, row.tolist()))}
        for names, row in zip(questions, single)
        if np.isfinite(row).all()
    ]
    if cut:
        notes.append(f"at most {most:,} normal training samples of a class")
    return Result(metrics, {"score": chosen}, table, chance=0.5, notes=notes)


def _questions(
    labels: np.ndarray, split: Split, normal: list[str] | None, most: int
) -> tuple[list[np.ndarray], list[str]]:
    """The classes that are normal, question by question."""
    known, counts = np.unique(labels[split.train], return_counts=True)
    if normal:
        texts = known.astype(str)
        if missing := [name for name in normal if name not in texts]:
            raise DataError(
                f"anomaly.normal: no training sample of class {missing[0]!r}{closest_name(missing[0], texts)}"
            )
        return [known[np.isin(texts, normal)]], []
    usable = known[counts >= 3]
    if len(usable) < 1:
        raise DataError("anomaly: no class has three training samples to learn what is normal from")
    kept = known[np.argsort(-counts, kind="stable")][:most]
    kept = usable[np.isin(usable, kept)]
    notes = [f"{len(kept)} of {len(known)} classes are normal in turn"] if len(kept) < len(known) else []
    return [np.array([name]) for name in kept], notes


def _auroc(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """Mean over the questions (K, N); 0.5 where none can be answered."""
    try:
        found, _ = mean_detection_metrics(scores, anomalous, resamples=1)
    except ValueError:
        return 0.5
    return found["auroc"].value
