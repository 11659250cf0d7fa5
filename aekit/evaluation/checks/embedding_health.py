"""Check the geometry of embeddings without labels: effective rank, collapse, dead units, hubs, shared neighbors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from aekit.encoder.vectors import finite_vectors
from aekit.evaluation.checks.training_metrics import effective_rank
from aekit.evaluation.neighbors import nearest_other_neighbors
from aekit.evaluation.results import CheckResult
from aekit.nn.low_rank import project_to_span

MAX_SAMPLES = 10_000
"""Embeddings that are checked."""
PAIRS, PAIR_BATCH, MAX_SUBSPACE_SAMPLES = 20_000, 1000, 5000
RELATIVE_RANK = 1e-6
"""Singular value from which a direction counts, in units of the largest one."""
NEIGHBORS = 10
LOW_RANK, DEAD, HUBS, ORPHANS = 0.1, 0.05, 0.5, 0.5
"""Thresholds of warnings: effective rank and dead units as fractions of the width, and the fractions ``hubs`` and ``orphans``."""
MIN_HUB_SAMPLES = 200
"""Embeddings below which hubs are not a warning: some are frequent neighbors by chance."""


def embedding_health(vectors: np.ndarray, *, seed: int = 0) -> CheckResult:
    """Measure the geometry of embeddings without labels, and warn of collapse, dead units and hubs.

    Args:
        vectors: (N, D) embeddings; a sample of at most 10,000 is checked.
        seed: seed of the sample and of the pairs.

    Raises:
        DataError: vectors of another shape, or not finite.

    Returns:
        ``effective_rank`` (Roy and Vetterli, 2007); ``dead_units``, the number of constant dimensions; ``mean_cosine`` of pairs,
        1 if all point the same way; ``uniformity``, the logarithm of the mean of ``exp(-2 d^2)`` over pairs on the unit sphere,
        about -4 at best and 0 if all are equal (Wang and Isola, Understanding contrastive representation learning through
        alignment and uniformity on the hypersphere, 2020); ``hubness``, the skewness of how often a sample is among the 10
        nearest neighbors of others (Radovanovic, Nanopoulos and Ivanovic, Hubs in space, 2010); ``hubs``, the fraction of all
        neighbor lists taken by the most frequent hundredth of the samples; ``orphans``, the fraction of samples in no list.
    """
    vectors = finite_vectors(vectors)
    rows = np.ascontiguousarray(vectors[_sample(len(vectors), MAX_SAMPLES, seed)])
    width = rows.shape[1]
    deviation = rows.std(axis=0, dtype=np.float64)
    size = float(np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1).mean()))
    dead = int((deviation <= 1e-6 * max(float(deviation.max()), 1e-12)).sum())
    notes = [f"health: {len(rows):,} of {len(vectors):,} embeddings"] if len(rows) < len(vectors) else []
    if float(np.linalg.norm(deviation)) <= 1e-5 * max(size, 1e-12):
        warning = f"the encoder has collapsed: all {len(rows):,} embeddings are the same point"
        return CheckResult({"effective_rank": 0.0, "dead_units": float(width)}, [warning], notes)
    rows = project_to_span(rows)
    values = {"effective_rank": effective_rank(torch.from_numpy(rows)), "dead_units": float(dead)}
    warnings = []
    if values["effective_rank"] < min(max(1.5, LOW_RANK * width), 0.75 * width):
        warnings.append(
            f"the embeddings use about {values['effective_rank']:.1f} of their {width} directions: the encoder has nearly "
            f"collapsed, and most of its dimensions are redundant"
        )
    if dead > DEAD * width:
        warnings.append(f"{dead} of the {width} dimensions of the embeddings are constant (dead units)")
    values |= _pair_statistics(rows, seed)
    if len(rows) > NEIGHBORS + 1:
        values |= _hub_statistics(_neighbor_counts(rows))
        if len(rows) >= MIN_HUB_SAMPLES and (values["hubs"] > HUBS or values["orphans"] > ORPHANS):
            warnings.append(
                f"hubs: 1% of the samples fills {100 * values['hubs']:.0f}% of all lists of nearest neighbors, and "
                f"{100 * values['orphans']:.0f}% of the samples are in no list: searches will return the same few samples"
            )
    return CheckResult(values, warnings, notes)


def neighbor_overlap(ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0) -> float:
    """Return the mean fraction of a sample's 10 nearest neighbors that two embeddings share, such as those of two seeds.

    Args:
        ours, theirs: (N, D) and (N, E) embeddings of the same samples, of which at most 10,000 are used.
        seed: seed of the sample.

    Returns:
        0..1; unrelated embeddings share about 10 / N.
    """
    sample = _sample(len(ours), MAX_SAMPLES, seed)
    if len(sample) < 2:
        return 1.0
    first, second = (nearest_other_rows(rows[sample]) for rows in (ours, theirs))
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(first, second)]) / first.shape[1])


def subspace_angles(ours: np.ndarray, theirs: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return the principal angles between the column spaces of two embeddings, in degrees, the smallest first.

    The angles between a linear autoencoder and PCA of the same width are 0 if both found the same subspace, in whatever basis
    (Baldi and Hornik, 1989).

    Args:
        ours, theirs: (N, D) and (N, E) embeddings of the same samples, of which at most 5,000 are used.
        seed: seed of the sample.

    Returns:
        (min of both ranks,) angles between 0 and 90.
    """
    sample = _sample(len(ours), MAX_SUBSPACE_SAMPLES, seed)
    first, second = (_basis(rows[sample]) for rows in (ours, theirs))
    ranks = first.shape[1], second.shape[1]
    if max(ranks) >= len(sample) - 1:  # one spans all centered vectors, so that the other lies within it
        return np.zeros(min(ranks))
    if not min(ranks):
        return np.zeros(0)
    # The sine is accurate for small angles, the cosine for large ones (Knyazev and Argentati, 2002).
    cosines = np.linalg.svd(first.T @ second, compute_uv=False).clip(0, 1)
    small, large = (first, second) if first.shape[1] <= second.shape[1] else (second, first)
    sines = np.linalg.svd(small - large @ (large.T @ small), compute_uv=False)[::-1].clip(0, 1)
    return np.degrees(np.where(cosines > 0.7, np.arcsin(sines), np.arccos(cosines)))


def nearest_other_rows(rows: np.ndarray) -> np.ndarray:
    """Return (N, 10) positions of the nearest other rows of (N, D) rows."""
    return nearest_other_neighbors(rows, NEIGHBORS, metric="l2")[1]


def _pair_statistics(rows: np.ndarray, seed: int) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    first = generator.integers(len(rows), size=PAIRS)
    second = (first + generator.integers(1, max(2, len(rows)), size=PAIRS)) % len(rows)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cosines = np.empty(PAIRS)
    for start in range(0, PAIRS, PAIR_BATCH):
        batch = slice(start, start + PAIR_BATCH)
        cosines[batch] = (unit[first[batch]] * unit[second[batch]]).sum(axis=1, dtype=np.float64)
    return {
        "mean_cosine": float(cosines.mean()),
        "uniformity": float(np.log(np.exp(-2 * (2 - 2 * cosines)).mean())),
    }


def _neighbor_counts(rows: np.ndarray) -> np.ndarray:
    """Return (N,) how many samples have each among their nearest neighbors."""
    return np.bincount(nearest_other_rows(rows).ravel(), minlength=len(rows))


def _hub_statistics(counts: np.ndarray) -> dict[str, float]:
    deviation = max(float(counts.std()), 1e-12)
    most = np.sort(counts)[::-1][: max(1, len(counts) // 100)]
    return {
        "hubness": float((((counts - counts.mean()) / deviation) ** 3).mean()),
        "hubs": float(most.sum() / counts.sum()),
        "orphans": float((counts == 0).mean()),
    }


def _basis(rows: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis (N, R) of the centered columns, without directions of negligible variance."""
    centered = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    if rows.shape[1] > len(rows):  # a third of the time, and as accurate down to directions of that variance
        squares, left = np.linalg.eigh(centered @ centered.T)
        values = np.sqrt(np.maximum(squares, 0))
    else:
        left, values, _ = np.linalg.svd(centered, full_matrices=False)
    return left[:, values > RELATIVE_RANK * max(float(values.max(initial=0)), 1e-300)]


def _sample(count: int, max_samples: int, seed: int) -> np.ndarray:
    return (
        np.arange(count)
        if count <= max_samples
        else np.sort(np.random.default_rng(seed).choice(count, max_samples, replace=False))
    )


def add_pca_angles(health: CheckResult, vectors: np.ndarray, components: np.ndarray, seed: int) -> CheckResult:
    """Add the principal angles between the embeddings and the principal components of the samples."""
    angles = subspace_angles(vectors, components, seed=seed)
    if not len(angles):
        return health
    values = {"mean_angle_to_pca": float(angles.mean()), "largest_angle_to_pca": float(angles.max())}
    return replace(health, values={**health.values, **values})
