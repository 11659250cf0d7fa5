"""k-means: agreement of clusters with classes, and how well separated the clusters are."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from aekit.nn.low_rank import project_to_span
from aekit.plugin import (
    MAX_CHOOSING_ROWS,
    Field,
    Result,
    Split,
    choose_cluster_count,
    evaluate_clusters,
    fit_kmeans,
    resolve_cluster_count,
    silhouettes,
)


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    split: Split,
    *,
    clusters: Annotated[int, Field(ge=0, description="number of clusters; 0: as the classes, or by silhouette")] = 0,
    ignore_labels: Annotated[bool, Field(description="choose the number by silhouette even with labels")] = False,
    evaluate_on: Annotated[
        Literal["test", "all"],
        Field(description="test: fit on train and validation; all: fit and evaluate on all samples"),
    ] = "test",
    n_init: Annotated[int, Field(ge=1, description="initializations, of which the best is kept")] = 3,
    seed: Annotated[int, Field(ge=0, description="seed of the centers and the bootstrap")] = 0,
) -> Result:
    """Fit centers to train and validation, and assign test samples to the nearest one.

    With labels: accuracy under the best one-to-one matching of clusters and classes (Hungarian), NMI and ARI. Always: the
    silhouette, and the number of clusters that it would choose on the validation split (Rousseeuw, 1987).

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes, or None.
        split: positions into both.
    """
    embeddings = project_to_span(embeddings)  # same distances, and for raw images half of the time
    training = np.concatenate([split.train, split.validation])
    rows = split.test
    if evaluate_on == "all":
        training = rows = np.sort(np.concatenate([training, split.test]))

    def score(train: np.ndarray, validation: np.ndarray, k: int) -> float:
        return float(silhouettes(validation, fit_kmeans(train, k, 1, seed).predict(validation), seed).mean())

    unsupervised_count, scores = choose_cluster_count(score, embeddings, split, seed)
    classes = None if labels is None or ignore_labels else labels[training]
    count, chosen_on = resolve_cluster_count(clusters, classes, unsupervised_count)
    model: Any = fit_kmeans(embeddings[training], min(count, len(training)), n_init, seed)
    result = evaluate_clusters(model.predict(embeddings[rows]), embeddings, labels, rows, split, seed)
    notes = []
    if len(split.train) > MAX_CHOOSING_ROWS:
        sampled = f"{MAX_CHOOSING_ROWS:,} of {len(split.train):,} training samples"
        notes.append(f"number of clusters without labels chosen with {sampled}")
    return replace(
        result,
        chosen={"clusters": count, "evaluate_on": evaluate_on, "clusters_without_labels": unsupervised_count},
        chosen_on=chosen_on,
        table=[{"clusters": k, "silhouette": value} for k, value in scores.items()],
        notes=[*result.notes, *notes],
    )
