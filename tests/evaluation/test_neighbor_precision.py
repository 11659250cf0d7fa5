"""Exact neighbors are those of float64, also of vectors that point nearly the same way or lie far from the origin."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.evaluation.neighbors import Metric, nearest_neighbors, nearest_other_neighbors, rank_neighbors

SPREADS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Of random vectors around a common one: what a network with random weights gives has 1e-2 and less."""


def around_one(spread: float, count: int = 400, dim: int = 96) -> np.ndarray:
    generator = np.random.default_rng(0)
    common = 1 + np.abs(generator.normal(size=dim))
    return (common + spread * generator.normal(size=(count, dim))).astype(np.float32)


def similarities(queries: np.ndarray, base: np.ndarray, metric: Metric) -> np.ndarray:
    rows, vectors = queries.astype(np.float64), base.astype(np.float64)
    if metric == "l2":
        return -np.square(rows[:, None] - vectors).sum(axis=2)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, vectors)]
    return unit[0] @ unit[1].T


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_neighbors_and_ranks_are_those_of_float64(metric: Metric, spread: float) -> None:
    x = around_one(spread)
    queries, base = x[:50], x[50:]
    expected = similarities(queries, base, metric)
    scores, positions = nearest_neighbors(queries, base, 10, metric=metric)
    order = np.argsort(-expected, axis=1, kind="stable")
    assert (positions == order[:, :10]).mean() > 0.998
    np.testing.assert_allclose(scores, np.take_along_axis(expected, positions, axis=1), rtol=2e-5, atol=2e-7)
    ranked = np.concatenate([part for _, part in rank_neighbors(queries, base, metric=metric)])
    assert (ranked == order).mean() > (0.9 if spread == 0.1 else 0.995), (
        "neighbors of nearly equal cosine change places"
    )
    others = similarities(x, x, metric)
    np.fill_diagonal(others, -np.inf)
    expected_order = np.argsort(-others, axis=1, kind="stable")[:, :10]
    assert (nearest_other_neighbors(x, 10, metric=metric)[1] == expected_order).mean() > 0.998


@pytest.mark.parametrize("spread", [1e-3, 1.0])
def test_a_vector_without_length_is_like_no_other(spread: float) -> None:
    x = around_one(spread, count=40)
    x[3] = 0
    scores, positions = nearest_neighbors(x, x, 40)
    assert np.abs(scores[3]).max() < 1e-6 and (positions[np.arange(40) != 3, -1] == 3).all()
    assert np.abs(scores[np.arange(40) != 3, -1]).max() < 1e-6
