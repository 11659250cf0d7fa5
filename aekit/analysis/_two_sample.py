"""Test whether two samples of vectors come from one distribution, and find where they differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aekit.analysis._groups import assign_unit_folds
from aekit.progress import Progress

FOLDS = 5
STRENGTH, TOLERANCE, MAX_ITERATIONS = 0.01, 1e-8, 1000
"""``C`` of the logistic regression, and when scikit-learn ends its fit."""


@dataclass(frozen=True)
class TwoSampleTest:
    """The result of a permutation test.

    Attributes:
        statistic: the energy distance of the samples, divided by twice the mean distance between them: 0 for equal
            distributions, 1 for those that are far apart.
        p_value: fraction of the permutations with at least as large a statistic, the observed one counted.
        null_high: 95% quantile of the statistic over the permutations.
        low, high: 95% interval of the statistic from halves of the units, drawn without replacement.
        unit_count: number of units that were permuted.
    """

    statistic: float
    p_value: float
    null_high: float
    low: float
    high: float
    unit_count: int


def energy_test(
    reference: np.ndarray, new: np.ndarray, units: np.ndarray, permutations: int, seed: int, progress: Progress
) -> TwoSampleTest:
    """Compare two samples by their energy distance (Szekely and Rizzo, 2013) in a permutation test.

    Args:
        reference: (M, D).
        new: (N, D).
        units: (M + N,) unit of each sample, all of whose samples are of one side; units are permuted.
        permutations: number of permutations.
        seed: seed of the permutations and the interval.
        progress: shows a bar.
    """
    rows = np.concatenate([reference, new]).astype(np.float32)
    distances = _distances(rows)
    _, unit = np.unique(units, return_inverse=True)
    sides = np.zeros(int(unit.max()) + 1)
    sides[unit[len(reference) :]] = 1
    generator = np.random.default_rng(seed)
    observed = _statistic(distances, sides[unit] == 1)
    permuted = np.empty(permutations)
    with progress.task("permute", permutations) as task:
        for number in range(permutations):
            permuted[number] = _statistic(distances, generator.permutation(sides)[unit] == 1)
            task.advance(1)
    halves = np.empty(100)
    for number in range(len(halves)):
        kept = np.isin(unit, np.concatenate([_half(np.flatnonzero(sides == side), generator) for side in (0, 1)]))
        halves[number] = _statistic(distances[np.ix_(kept, kept)], sides[unit[kept]] == 1)
    # The spread of the halves is that of the whole (delete-half jackknife, Shao and Wu, 1989).
    spread = 1.96 * float(halves.std())
    return TwoSampleTest(
        statistic=observed,
        p_value=float((1 + (permuted >= observed - 1e-12).sum()) / (1 + permutations)),
        null_high=float(np.quantile(permuted, 0.95)),
        low=max(0.0, observed - spread),
        high=observed + spread,
        unit_count=len(sides),
    )


def _half(numbers: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return generator.choice(numbers, max(1, len(numbers) // 2), replace=False)


def _distances(rows: np.ndarray) -> np.ndarray:
    """Return all pairwise distances (N, N) float32."""
    centered = rows - rows.mean(0, dtype=np.float64).astype(np.float32)
    squares = np.square(centered).sum(1)
    products = centered @ centered.T
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0)) * (1 - np.eye(len(rows), dtype=np.float32))


def _statistic(distances: np.ndarray, is_new: np.ndarray) -> float:
    """Return the energy distance without bias, divided by twice the mean distance between the two sides."""
    new = is_new.astype(np.float32)
    to_new = distances @ new
    n, m = float(new.sum()), float((1 - new).sum())
    total, within_new = float(distances.sum()), float(to_new @ new)
    between = float(to_new @ (1 - new))
    within_reference = total - within_new - 2 * between
    mean = between / (n * m)
    gap = 2 * mean - within_new / max(1.0, n * (n - 1)) - within_reference / max(1.0, m * (m - 1))
    return gap / max(2 * mean, 1e-30)


def separate(reference: np.ndarray, new: np.ndarray, units: np.ndarray, seed: int) -> tuple[float, np.ndarray]:
    """Return how well cross-validated logistic regression separates two samples, and how new each sample looks.

    Args:
        reference, new, units, seed: as in `energy_test`.

    Returns:
        AUROC, 0.5 where they cannot be separated; and (M + N,) log odds of being new, of samples that were held out.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([reference, new])
    is_new = np.arange(len(rows)) >= len(reference)
    folds = assign_unit_folds(units, is_new, FOLDS, seed)
    scores = np.zeros(len(rows))
    for fold in range(int(folds.max()) + 1):
        inside = folds == fold
        if len(np.unique(is_new[~inside])) < 2:
            continue
        # scikit-learn, which has been imported to cluster the reference, rather than the probe, which imports torch.
        regression = LogisticRegression(C=STRENGTH, tol=TOLERANCE, max_iter=MAX_ITERATIONS)
        model = make_pipeline(StandardScaler(), regression).fit(rows[~inside].astype(np.float64), is_new[~inside])
        # Balanced: the odds do not depend on how many samples there are of each kind.
        prior = np.log(is_new[~inside].mean() / (1 - is_new[~inside].mean()))
        scores[inside] = model.decision_function(rows[inside].astype(np.float64)) - prior
    return float(roc_auc_score(is_new, scores)), scores


def dimension_shifts(reference: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return (D,) differences of the means in standard deviations of the reference; 0 for constant dimensions."""
    deviation = reference.std(0, dtype=np.float64)
    shift = new.mean(0, dtype=np.float64) - reference.mean(0, dtype=np.float64)
    return np.where(deviation > 1e-6, shift / np.maximum(deviation, 1e-6), 0.0)
