"""k-means: whether groups that are found without labels are the classes, and whether there are groups at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np

from aekit.plugin import (
    MAX_CHOOSING_ROWS,
    Field,
    Result,
    Split,
    choose_cluster_count,
    evaluate_clusters,
    fit_kmeans,
    silhouettes,
)


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    split: Split,
    *,
    clusters: Annotated[int, Field(ge=0, description="0: as many as classes, or chosen by the silhouette")] = 0,
    unaided: Annotated[bool, Field(description="chosen by the silhouette even where there are classes")] = False,
    judged: Annotated[Literal["test", "all"], Field(description="all: fitted and judged on everything")] = "test",
    starts: Annotated[int, Field(ge=1, description="runs from other centers, of which the best counts")] = 3,
    seed: Annotated[int, Field(ge=0, description="of the centers and the bootstrap")] = 0,
) -> Result:
    """Centers are fitted on train and validation, and the test samples go to the nearest.

    With labels: accuracy under the best one-to-one matching of clusters and classes, NMI and ARI. Always the silhouette, and
    how many clusters it would choose on the validation part (Rousseeuw, 1987).

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes, or None.
        split: positions into both.
    """
    seen = np.concatenate([split.train, split.validation])
    rows = split.test
    if judged == "all":
        seen = rows = np.sort(np.concatenate([seen, split.test]))

    def score(train: np.ndarray, held: np.ndarray, k: int) -> float:
        return float(silhouettes(held, fit_kmeans(train, k, 1, seed).predict(held), seed).mean())

    alone, scores = choose_cluster_count(score, embeddings, split, seed)
    count, on = clusters, "the option"
    if not count and labels is not None and not unaided:
        count, on = len(np.unique(labels[seen])), "the number of classes"
    elif not count:
        count, on = alone, "validation"
    model: Any = fit_kmeans(embeddings[seen], min(count, len(seen)), starts, seed)
    result = evaluate_clusters(model.predict(embeddings[rows]), embeddings, labels, rows, split, seed)
    sampled = (
        f"the number of clusters without labels: by {MAX_CHOOSING_ROWS:,} of {len(split.train):,} training samples"
    )
    return replace(
        result,
        chosen={"clusters": count, "judged": judged, "clusters_without_labels": alone},
        chosen_on=on,
        table=[{"clusters": k, "silhouette": value} for k, value in scores.items()],
        notes=[*result.notes, *([sampled] if len(split.train) > MAX_CHOOSING_ROWS else [])],
    )
