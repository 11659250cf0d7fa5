"""The isolation forest scores as scikit-learn's does, but for what both draw."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest as Reference
from sklearn.metrics import roc_auc_score

from aekit.evaluation.metrics._isolation_forest import SAMPLES, TREES, IsolationForest
from aekit.evaluation.metrics.outlier_scores import outlier_scores

SEEDS = range(4)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Samples of 6 columns: two that vary together, one of few values, and one that never varies."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 6)).astype(np.float32)
    x[:, 1] += 3 * x[:, 0]
    x[:, 2] = rng.integers(0, 3, 500)
    x[:, 3] = 7
    return x


def means(rows: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of both, each the mean of a few forests."""
    ours = [IsolationForest(rows, seed).scores(others) for seed in SEEDS]
    reference = [-Reference(random_state=seed).fit(rows).score_samples(others) for seed in SEEDS]
    return np.mean(ours, axis=0), np.mean(reference, axis=0)


@pytest.mark.parametrize("count", [500, 40])
def test_scores_are_those_of_scikit_learn(rows: np.ndarray, count: int) -> None:
    others = np.concatenate([rows[-100:], 4 * rows[:20], rows[:10] + 50])
    ours, reference = means(rows[:count], others)
    assert np.corrcoef(ours, reference)[0, 1] > 0.99
    assert abs(ours - reference).max() < 0.04 and abs(ours.mean() - reference.mean()) < 0.006
    anomalous = np.arange(len(others)) >= 100
    assert roc_auc_score(anomalous, ours) == pytest.approx(roc_auc_score(anomalous, reference), abs=0.02)


def splits(forest: IsolationForest) -> np.ndarray:
    """Return the features of all nodes that are no leaves."""
    return np.concatenate([f[np.isfinite(t)] for f, t in zip(forest.features, forest.thresholds)])


def test_trees_are_as_large_as_those_of_scikit_learn(rows: np.ndarray) -> None:
    leaves = [len(splits(IsolationForest(rows, seed))) / TREES + 1 for seed in SEEDS]
    references = [Reference(random_state=seed).fit(rows).estimators_ for seed in SEEDS]
    expected = np.mean([tree.tree_.n_leaves for trees in references for tree in trees])
    assert np.mean(leaves) == pytest.approx(expected, rel=0.03)


def test_every_split_has_samples_on_both_sides(rows: np.ndarray) -> None:
    forest = IsolationForest(rows, 0)
    leaves = np.flatnonzero(forest.lengths)
    assert len(leaves) == len(splits(forest)) + TREES, "a leaf without samples has no length"
    assert 3 not in splits(forest), "a column that never varies splits nothing"
    assert len(forest.lengths) == TREES * SAMPLES


def test_a_seed_gives_the_same_scores_in_any_batches(rows: np.ndarray) -> None:
    forest, again, other = IsolationForest(rows, 1), IsolationForest(rows, 1), IsolationForest(rows, 2)
    scores = forest.scores(rows)
    assert np.array_equal(scores, np.concatenate([again.scores(part) for part in np.array_split(rows, 7)]))
    assert not np.array_equal(scores, other.scores(rows))


@pytest.mark.parametrize("count", [1, 2, 300])
def test_equal_samples_are_not_isolated(count: int) -> None:
    forest = IsolationForest(np.ones((count, 3)), 0)
    assert forest.scores(np.array([[1.0, 1, 1], [9, 9, 9]])) == pytest.approx([0.5, 0.5])


def test_the_only_column_that_varies_is_found_among_many() -> None:
    x = np.zeros((64, 900), np.float32)
    x[:, 5] = np.arange(64)
    forest = IsolationForest(x, 0)
    assert set(splits(forest)) == {5}
    far = x[:1].copy()
    far[0, 5] = 1000
    assert forest.scores(far)[0] > forest.scores(x[32:33])[0]


def test_outlier_scores_have_the_forest(rows: np.ndarray) -> None:
    scores = outlier_scores(rows[:300], rows[300:], 5)
    assert np.array_equal(scores["forest"], IsolationForest(rows[:300], 5).scores(rows[300:]))
