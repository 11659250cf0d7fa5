"""Check indexes against exact search by brute force."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from aekit.errors import RecipeError
from aekit.index.engine import Index, Similarity
from aekit.registry.discovery import Plugin
from aekit.registry.options import validate_options
from aekit.testing.kit import Case, check, leaves_global_state_alone
from aekit.testing.samples import blobs

COUNT, DIM, QUERIES, K = 300, 8, 20, 10
RECALL = 0.9
"""Minimum recall of the ten nearest of 300 vectors."""
SHARES = (0.01, 0.1, 0.5)
"""Shares of the rows to search among."""


class IndexCase(Case):
    """An index plugin and one metric, with vectors to find and queries near them."""

    def __init__(self, plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path, metric: Similarity) -> None:
        super().__init__(plugin, name, options, folder)
        self.metric, self.label = metric, metric
        vectors, _ = blobs(COUNT + QUERIES, classes=6, dim=DIM)
        if metric == "cosine":
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors, self.queries = vectors[:COUNT], vectors[COUNT:]

    def built(self, count: int = COUNT) -> Index:
        """Build it over the first `count` vectors, in batches of uneven sizes."""

        def batches() -> Iterator[np.ndarray]:
            for start in range(0, count, 77):
                yield self.vectors[start : min(start + 77, count)].copy()

        index: Index = self.code(**validate_options(self.plugin, self.options))
        index.build(batches, count, DIM, self.metric)
        index.tune(lambda: self.recall(index, count))
        return index

    def exact(self, queries: np.ndarray, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
        """Return all scores (Q, count), and the rows of the ten best (Q, 10)."""
        vectors = self.vectors[:count]
        if self.metric == "l2":
            scores = ((queries[:, None] - vectors) ** 2).sum(axis=2)
            return scores, np.argsort(scores, axis=1)[:, :K]
        scores = queries @ vectors.T
        return scores, np.argsort(-scores, axis=1)[:, :K]

    def recall(self, index: Index, count: int = COUNT) -> float:
        """Return the fraction of the ten nearest that it finds."""
        _, expected = self.exact(self.queries, count)
        _, returned = index.search(self.queries.copy(), K)
        return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(expected.tolist(), returned.tolist())]))


def index_cases(plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path) -> list[IndexCase]:
    """Return a case for each metric; an index may refuse metrics other than cosine by a RecipeError."""
    cases = []
    for metric in get_args(Similarity):
        case = IndexCase(plugin, name, options, folder, metric)
        try:
            case.built()
        except RecipeError:
            if metric == "cosine":
                raise
        else:
            cases.append(case)
    return cases


@check("index")
def finds_the_nearest(case: IndexCase) -> None:
    """it finds at least 9 of the 10 nearest of 300 vectors"""
    recall = case.recall(case.built())
    assert recall >= RECALL, f"finds {recall:.0%} of the ten nearest: expected at least {RECALL:.0%}"


@check("index")
def best_first(case: IndexCase) -> None:
    """scores (Q, k) belong to the rows (Q, k), best first, without duplicates; single queries return the same"""
    index = case.built()
    exact, _ = case.exact(case.queries)
    scores, rows = index.search(case.queries.copy(), K)
    for what, returned in (("scores", scores), ("rows", rows)):
        assert returned.shape == (QUERIES, K), f"{what} have shape {returned.shape}: expected ({QUERIES}, {K})"
    assert np.issubdtype(rows.dtype, np.integer), f"rows are {rows.dtype}: expected integers"
    assert all(len(set(row)) == K for row in rows.tolist()), "a row is found twice by one query"
    steps = np.diff(scores, axis=1) if case.metric == "l2" else -np.diff(scores, axis=1)
    assert (steps >= -1e-5).all(), "scores are not best first"
    error = np.abs(scores - np.take_along_axis(exact, rows, axis=1)).max() / np.ptp(exact)
    assert error < 0.05, f"scores are off by up to {error:.0%} of their range"
    alone = [index.search(query[None].copy(), K)[1][0] for query in case.queries]
    assert np.array_equal(np.stack(alone), rows), "queries together find other rows than one by one"


@check("index")
def adds(case: IndexCase) -> None:
    """added vectors become rows after the existing ones, and are found"""
    index = case.built(200)
    index.add(case.vectors[200:].copy())
    index.tune(lambda: case.recall(index))  # as aekit does when it adds
    recall = case.recall(index)
    assert recall >= RECALL, f"after adding to it, it finds {recall:.0%} of the ten nearest"


@check("index")
def gives_vectors_back(case: IndexCase) -> None:
    """vectors(rows) returns the stored vectors in the order of the rows, up to rounding"""
    index = case.built(200)
    index.add(case.vectors[200:].copy())
    rows = np.asarray([250, 3, 3, 199, 0])
    returned = index.vectors(rows)
    assert returned.shape == (len(rows), DIM), (
        f"vectors of {len(rows)} rows have shape {returned.shape}: expected ({len(rows)}, {DIM})"
    )
    error = np.abs(returned - case.vectors[rows]).max() / np.abs(case.vectors).max()
    assert error < 0.05, f"they are off by up to {error:.0%} of the largest number"


@check("index")
def more_than_there_are(case: IndexCase) -> None:
    """asked for more rows than it has, it returns row -1 for the missing ones"""
    scores, rows = case.built(15).search(case.queries.copy(), 20)
    assert rows.shape == scores.shape == (QUERIES, 20), f"rows have shape {rows.shape}: expected ({QUERIES}, 20)"
    assert sorted(rows[0, :15].tolist()) == list(range(15)), "of 15 vectors, not all are found when 20 are asked for"
    assert (rows[:, 15:] == -1).all(), f"where nothing is left, rows are {rows[0, 15:].tolist()}: expected -1"


@check("index")
def searches_among_rows(case: IndexCase) -> None:
    """among 1 %, 10 % and 50 % of the rows it finds at least 9 of the 10 nearest of these, and no other row"""
    index = case.built()
    exact, _ = case.exact(case.queries)
    order = np.argsort(exact if case.metric == "l2" else -exact, axis=1, kind="stable")
    for share in SHARES:
        rows = np.sort(np.random.default_rng(0).permutation(COUNT)[: int(share * COUNT)])
        k = min(K, len(rows))
        scores, returned = index.search_among(case.queries.copy(), K, rows.copy())
        for what, values in (("scores", scores), ("rows", returned)):
            assert values.shape == (QUERIES, K), f"{what} among {len(rows)} rows have shape {values.shape}"
        outside = np.setdiff1d(returned, [*rows.tolist(), -1])
        assert not len(outside), f"among {len(rows)} rows it finds row {outside[0]}, which is not one of them"
        filled = [row[row >= 0].tolist() for row in returned]
        assert all(len(set(row)) == len(row) for row in filled), f"among {len(rows)} rows, one is found twice"
        nearest = [row[np.isin(row, rows)][:k].tolist() for row in order]
        recall = np.mean([len(set(a) & set(b)) / k for a, b in zip(nearest, filled)])
        assert recall >= RECALL, f"among {len(rows)} of {COUNT} rows it finds {recall:.0%} of the nearest"
        steps = np.diff(scores[:, :k], axis=1) * (1 if case.metric == "l2" else -1)
        assert (steps[returned[:, 1:k] >= 0] >= -1e-5).all(), f"scores among {len(rows)} rows are not best first"


@check("index")
def index_save_and_load(case: IndexCase) -> None:
    """saved as one file and plain settings, and loaded again, it finds the same"""
    index = case.built()
    path = case.folder / f"{case.metric}.index"
    settings = json.loads(json.dumps(index.save(path)))
    assert path.is_file(), "save() writes no file at the path it is given"
    again: Index = case.code()
    again.load(path, settings)
    for what, before, after in zip(("scores", "rows"), index.search(case.queries, K), again.search(case.queries, K)):
        assert np.array_equal(before, after), f"the loaded index returns other {what}"


@check("index")
def built_alike(case: IndexCase) -> None:
    """built twice from the same vectors, it finds the same; it changes neither global random states nor the queries"""
    with leaves_global_state_alone("building"):
        first, second = case.built(), case.built()
    queries = case.queries.copy()
    returned = first.search(queries, K), second.search(queries, K)
    assert np.array_equal(queries, case.queries), "search() changes the queries"
    assert np.array_equal(returned[0][1], returned[1][1]), "two builds from the same vectors find different rows"
