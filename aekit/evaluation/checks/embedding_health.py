"""How embeddings lie in their space, without labels: directions used, collapse, dead numbers, hubs, shared neighbors."""

from __future__ import annotations

import numpy as np
import torch

from aekit.encoder.embeddings import finite_vectors
from aekit.evaluation.checks.training_metrics import effective_rank
from aekit.evaluation.neighbors import nearest_other_neighbors
from aekit.evaluation.results import CheckResult
from aekit.nn.low_rank import project_to_span

MOST = 10_000
"""Embeddings that are looked at."""
PAIRS, AT_ONCE, SPANNED = 20_000, 1000, 5000
NEIGHBORS = 10
LOW_RANK, DEAD, HUBS, ORPHANS = 0.1, 0.05, 0.5, 0.5
"""From where on something is a warning: effective rank and dead numbers as shares of the width, the share of all neighbor
lists' places that the hundredth of the samples takes which is found most often, the share that is never found."""
FEW = 200
"""Embeddings below which hubs are no warning: some are found often by luck."""


def embedding_health(vectors: np.ndarray, *, seed: int = 0) -> CheckResult:
    """What embeddings say of their encoder where there are no labels.

    Args:
        vectors: (N, D); at most 10,000 are looked at.
        seed: of which, and of the pairs.

    Raises:
        DataError: they are of another shape, or not finite.

    Returns:
        ``effective_rank`` (Roy and Vetterli, 2007), ``dead_units``, numbers that never change; ``mean_cosine`` of two samples,
        1 where all point the same way; ``uniformity``, the logarithm of the mean of ``exp(-2 d^2)`` over pairs on the unit
        sphere, at best about -4 and 0 where all are one (Wang and Isola, Understanding contrastive representation learning
        through alignment and uniformity on the hypersphere, 2020); ``hubness``, the skewness of how often a sample is among the
        10 nearest of others (Radovanovic, Nanopoulos and Ivanovic, Hubs in space, 2010), ``hubs``, the share of those places that
        one hundredth of the samples takes, and ``orphans``, the share that is among the nearest of none.
    """
    vectors = finite_vectors(vectors)
    rows = np.ascontiguousarray(vectors[_some(len(vectors), MOST, seed)])
    width = rows.shape[1]
    deviation = rows.std(axis=0, dtype=np.float64)
    size = float(np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1).mean()))
    dead = int((deviation <= 1e-6 * max(float(deviation.max()), 1e-12)).sum())
    notes = [f"health: {len(rows):,} of {len(vectors):,} embeddings"] if len(rows) < len(vectors) else []
    if float(np.linalg.norm(deviation)) <= 1e-5 * max(size, 1e-12):
        warning = f"the encoder has collapsed: all {len(rows):,} embeddings are the same point, whatever the sample"
        return CheckResult({"effective_rank": 0.0, "dead_units": float(width)}, [warning], notes)
    rows = project_to_span(rows)
    figures = {"effective_rank": effective_rank(torch.from_numpy(rows)), "dead_units": float(dead)}
    warnings = []
    if figures["effective_rank"] < min(max(1.5, LOW_RANK * width), 0.75 * width):
        warnings.append(
            f"the embeddings use about {figures['effective_rank']:.1f} of their {width} directions: the encoder has nearly "
            f"collapsed, and most of its numbers say the same"
        )
    if dead > DEAD * width:
        warnings.append(f"{dead} of the {width} numbers of the embeddings never change: these units are dead")
    figures |= _spread(rows, seed)
    if len(rows) > NEIGHBORS + 1:
        crowd = _found_by(rows)
        figures |= _hubs(crowd)
        if len(rows) >= FEW and (figures["hubs"] > HUBS or figures["orphans"] > ORPHANS):
            warnings.append(
                f"hubs: one hundredth of the samples takes {100 * figures['hubs']:.0f} % of all places among the nearest, and "
                f"{100 * figures['orphans']:.0f} % of the samples are never found: searches will give the same few again"
            )
    return CheckResult(figures, warnings, notes)


def neighbor_overlap(ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0) -> float:
    """The share of a sample's 10 nearest that it has in both embeddings of the same samples, such as by encoders of two seeds.

    Args:
        ours, theirs: (N, D) and (N, E); at most 10,000 samples are looked at.
        seed: of which.

    Returns:
        0..1; two embeddings that have nothing in common share about 10 / N.
    """
    some = _some(len(ours), MOST, seed)
    if len(some) < 2:
        return 1.0
    first, second = (nearest_other_rows(rows[some]) for rows in (ours, theirs))
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(first, second)]) / first.shape[1])


def subspace_angles(ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Principal angles between what two embeddings of the same samples can tell linearly, in degrees, the smallest first.

    Each embedding spans a subspace of the functions on the samples. The angles of a linear autoencoder to PCA of its width are 0
    where both have found the same directions (Baldi and Hornik, 1989), whatever basis they give them in.

    Args:
        ours, theirs: (N, D) and (N, E); at most 5,000 samples are looked at.
        seed: of which.

    Returns:
        (min of both ranks,), between 0 and 90.
    """
    some = _some(len(ours), SPANNED, seed)
    first, second = (_basis(rows[some]) for rows in (ours, theirs))
    if not first.shape[1] or not second.shape[1]:
        return np.zeros(0)
    # Of small angles the sine is exact, of large ones the cosine (Knyazev and Argentati, 2002).
    cosines = np.linalg.svd(first.T @ second, compute_uv=False).clip(0, 1)
    small, large = (first, second) if first.shape[1] <= second.shape[1] else (second, first)
    sines = np.linalg.svd(small - large @ (large.T @ small), compute_uv=False)[::-1].clip(0, 1)
    return np.degrees(np.where(cosines > 0.7, np.arcsin(sines), np.arccos(cosines)))


def nearest_other_rows(rows: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, 10) positions of the nearest others."""
    return nearest_other_neighbors(rows, NEIGHBORS, metric="l2")[1]


def _spread(rows: np.ndarray, seed: int) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    first = generator.integers(len(rows), size=PAIRS)
    second = (first + generator.integers(1, max(2, len(rows)), size=PAIRS)) % len(rows)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cosines = np.empty(PAIRS)
    for start in range(0, PAIRS, AT_ONCE):
        some = slice(start, start + AT_ONCE)
        cosines[some] = (unit[first[some]] * unit[second[some]]).sum(axis=1, dtype=np.float64)
    return {
        "mean_cosine": float(cosines.mean()),
        "uniformity": float(np.log(np.exp(-2 * (2 - 2 * cosines)).mean())),
    }


def _found_by(rows: np.ndarray) -> np.ndarray:
    """(N,) how many have each among their nearest."""
    return np.bincount(nearest_other_rows(rows).ravel(), minlength=len(rows))


def _hubs(crowd: np.ndarray) -> dict[str, float]:
    spread = max(float(crowd.std()), 1e-12)
    most = np.sort(crowd)[::-1][: max(1, len(crowd) // 100)]
    return {
        "hubness": float((((crowd - crowd.mean()) / spread) ** 3).mean()),
        "hubs": float(most.sum() / crowd.sum()),
        "orphans": float((crowd == 0).mean()),
    }


def _basis(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis (N, R) of the centerd columns, without directions that hardly vary."""
    centerd = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centerd, full_matrices=False)
    return left[:, values > 1e-6 * max(float(values[0]), 1e-300)] if len(values) else left


def _some(count: int, most: int, seed: int) -> np.ndarray:
    return (
        np.arange(count) if count <= most else np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
    )
