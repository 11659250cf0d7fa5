"""Queries of an index: one at a time as many at once, and those whose values are not finite or whose squares overflow."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

import aekit
from aekit.errors import DataError
from aekit.index.engine import Similarity


@pytest.mark.parametrize("metric", get_args(Similarity))
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e25])
def test_one_query_is_searched_for_as_among_others(metric: Similarity, size: float) -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    index = aekit.build_index(vectors, metric=metric)
    if metric != "cosine":
        size = 1.0
    queries = (size * vectors[:7]).astype(np.float32)
    scores, rows = index.search(queries, 5)
    for number, query in enumerate(queries):
        for one in (query, query[None], query.astype(np.float64)):
            single_scores, single_rows = index.search(one, 5)
            assert single_rows.dtype == np.int64 and single_scores.dtype == np.float32
            np.testing.assert_array_equal(single_rows[0], rows[number])
            np.testing.assert_allclose(single_scores[0], scores[number], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 3])
def test_a_query_that_is_not_finite_is_refused(value: float, count: int) -> None:
    queries = np.ones((count, 16), np.float32)
    queries[-1, 3] = value
    with pytest.raises(DataError, match=f"vector {count - 1}: has values that are not finite"):
        aekit.build_index(np.eye(16)).search(queries)


def test_queries_whose_squares_overflow_keep_their_direction() -> None:
    """Their length is not finite in float32, and would make zero vectors of them."""
    index = aekit.build_index(np.eye(16))
    for queries in (np.eye(16)[3:4] * 1e30, np.eye(16)[2:4] * 1e30):
        scores, rows = index.search(queries, 1)
        assert rows[-1, 0] == 3 and scores[-1, 0] == pytest.approx(1)


def test_one_id_is_a_query_rather_than_its_letters() -> None:
    index = aekit.build_index(aekit.Embeddings.from_array(np.eye(4), ids=["C1", "C2", "C", "1"]))
    assert index.search_ids("C1", k=2).queries == ["C1"]
    np.testing.assert_array_equal(index.search_ids("C1", k=2).ids, index.search_ids(["C1"], k=2).ids)
    with pytest.raises(DataError, match="id:C3: no such id"):
        index.search_ids("C3")
