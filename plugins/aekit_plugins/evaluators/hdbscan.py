"""HDBSCAN: dense clusters of any shape and number, and noise (Campello, Moulavi and Sander, 2013)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np

from aekit.plugin import Field, Metric, Result, Split, evaluate_clusters, fit_hdbscan


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    split: Split,
    *,
    max_samples: Annotated[int, Field(ge=10, description="maximum number of samples for the densities")] = 5000,
    seed: Annotated[int, Field(ge=0, description="seed of the bootstrap and of the silhouette's samples")] = 0,
) -> Result:
    """Find clusters in train and validation, and assign test samples to the cluster of their nearest neighbor, or to none.

    HDBSCAN finds the number of clusters itself. With labels: accuracy under the best one-to-one matching of clusters and
    classes (Hungarian), NMI and ARI, with samples in no cluster counted as wrong. Always: the fraction of samples in a
    cluster, and their silhouette.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes, or None.
        split: positions into both.
    """
    training = np.sort(np.concatenate([split.train, split.validation]))
    assigned = fit_hdbscan(embeddings[training], embeddings[split.test], max_samples)
    result = evaluate_clusters(assigned, embeddings, labels, split.test, split, seed)
    fraction, count = float((assigned >= 0).mean()), len(np.unique(assigned[assigned >= 0]))
    sampled = len(training) > max_samples
    notes = [] if count else ["no dense clusters found: every sample counts as wrong, whatever the embedding"]
    notes += [f"densities estimated from {max_samples:,} of {len(training):,} samples"] if sampled else []
    return replace(
        result,
        metrics={**result.metrics, "clustered_fraction": Metric(fraction), "clusters": Metric(float(count))},
        notes=[*result.notes, *notes],
    )
