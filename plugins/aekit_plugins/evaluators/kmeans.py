"""k-means: whether groups that are found without labels are the classes, and whether there are groups at all."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from aekit.clustering import GRID, fit_kmeans, silhouettes
from aekit.evaluation import Metric, Result, Split, bootstrap
from aekit.options import Field


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    split: Split,
    *,
    clusters: Annotated[int, Field(ge=0, description="0: as many as classes, or chosen by the silhouette")] = 0,
    judged: Annotated[Literal["test", "all"], Field(description="all: fitted and judged on everything")] = "test",
    starts: Annotated[int, Field(ge=1, description="runs from other centres, of which the best counts")] = 3,
    seed: Annotated[int, Field(ge=0, description="of the centres and the bootstrap")] = 0,
) -> Result:
    """Centres are fitted on train and validation, and the test samples go to the nearest.

    With labels: accuracy under the best one-to-one matching of clusters and classes, NMI and ARI. Without: the silhouette.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) classes, or None.
        split: positions into both.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    seen = np.concatenate([split.train, split.validation])
    rows = split.test
    if judged == "all":
        seen = rows = np.sort(np.concatenate([seen, split.test]))
    tried = [clusters] if clusters else [k for k in GRID if k < len(seen)]
    if labels is not None and not clusters:
        tried = [len(np.unique(labels[seen]))]
    fitted = {k: fit_kmeans(embeddings[seen], min(k, len(seen)), starts, seed) for k in tried}
    chosen = tried[0]
    if len(tried) > 1:
        held = embeddings[split.validation]
        chosen = max(tried, key=lambda k: silhouettes(held, fitted[k].predict(held), seed).mean())
    metrics: dict[str, Metric] = {}
    found = fitted[chosen].predict(embeddings[rows])
    apart = silhouettes(embeddings[rows], found, seed)
    scores = apart
    if labels is not None:
        scores = matched(found, labels[rows])
        metrics["matched_accuracy"] = bootstrap(scores, seed=seed)
        metrics["nmi"] = Metric(float(normalized_mutual_info_score(labels[rows], found)))
        metrics["ari"] = Metric(float(adjusted_rand_score(labels[rows], found)))
    metrics["silhouette"] = bootstrap(apart, seed=seed)
    return Result(metrics, {"clusters": chosen, "judged": judged}, scores=scores)


def matched(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) 1 where a sample's cluster stands for its class, under the matching that makes these the most (Kuhn, 1955)."""
    from scipy.optimize import linear_sum_assignment

    names, found = np.unique(clusters, return_inverse=True)
    classes, truth = np.unique(labels, return_inverse=True)
    counts = np.bincount(found * len(classes) + truth, minlength=len(names) * len(classes))
    stands_for = np.full(len(names), -1)
    which, what = linear_sum_assignment(counts.reshape(len(names), len(classes)), maximize=True)
    stands_for[which] = what
    return (stands_for[found] == truth).astype(np.float64)
