"""k-means: whether groups that are found without labels are the classes, and whether there are groups at all."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

import numpy as np

from aekit.evaluation import Metric, Result, Split, bootstrap
from aekit.options import Field

MANY = 100_000
"""Samples above which the centres are fitted by mini-batches."""
GRID = (2, 3, 5, 8, 10, 15, 20, 30)
SILHOUETTES = 2000


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
    fitted = {k: _fit(embeddings[seen], min(k, len(seen)), starts, seed) for k in tried}
    chosen = tried[0]
    if len(tried) > 1:
        chosen = max(tried, key=lambda k: _silhouettes(fitted[k], embeddings[split.validation], seed).mean())
    metrics: dict[str, Metric] = {}
    silhouettes = _silhouettes(fitted[chosen], embeddings[rows], seed)
    scores = silhouettes
    if labels is not None:
        found = fitted[chosen].predict(embeddings[rows])
        scores = matched(found, labels[rows])
        metrics["matched_accuracy"] = bootstrap(scores, seed=seed)
        metrics["nmi"] = Metric(float(normalized_mutual_info_score(labels[rows], found)))
        metrics["ari"] = Metric(float(adjusted_rand_score(labels[rows], found)))
    metrics["silhouette"] = bootstrap(silhouettes, seed=seed)
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


def _fit(x: np.ndarray, clusters: int, starts: int, seed: int) -> Any:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    if len(x) > MANY:
        model: Any = MiniBatchKMeans(clusters, n_init=starts, random_state=seed, batch_size=8192)
    else:
        model = KMeans(clusters, n_init=starts, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: the figures say it
        return model.fit(x)


def _silhouettes(model: Any, x: np.ndarray, seed: int) -> np.ndarray:
    """(min(N, SILHOUETTES),) of a sample; zeros where all of it is in one cluster or each in its own."""
    from sklearn.metrics import silhouette_samples

    some = np.random.default_rng(seed).permutation(len(x))[:SILHOUETTES]
    found = model.predict(x[some])
    if not 1 < len(np.unique(found)) < len(some):
        return np.zeros(len(some))
    return silhouette_samples(x[some], found)
