"""HDBSCAN: dense groups of any form and number, and what lies between them (Campello, Moulavi and Sander, 2013)."""

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
    most: Annotated[
        int, Field(ge=10, description="samples above which densities are estimated from some: its cost is quadratic")
    ] = 5000,
    seed: Annotated[int, Field(ge=0, description="of the bootstrap and of the silhouette's sample")] = 0,
) -> Result:
    """Densities are estimated on train and validation, and the test samples join their nearest neighbor's group, or none.

    It finds the number of groups itself. With labels: accuracy under the best one-to-one matching of groups and classes, NMI
    and ARI, where a sample that is in no group is wrong. Always the share that is in a group, and the silhouette of that.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes, or None.
        split: positions into both.
    """
    seen = np.sort(np.concatenate([split.train, split.validation]))
    found = fit_hdbscan(embeddings[seen], embeddings[split.test], most)
    result = evaluate_clusters(found, embeddings, labels, split.test, split, seed)
    groups = len(np.unique(found[found >= 0]))
    sampled = [f"densities from {most:,} of {len(seen):,} samples"] if len(seen) > most else []
    return replace(
        result,
        metrics={**result.metrics, "in_a_group": Metric(float((found >= 0).mean())), "groups": Metric(float(groups))},
        notes=[*result.notes, *sampled],
    )
