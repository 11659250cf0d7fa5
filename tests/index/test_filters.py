"""Conditions on the neighbors: what they select, what is refused, and the recall of a search among few and many rows."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from aekit_plugins.indexes import faiss_index
from commands import Command

import aekit
from aekit.encoder.embeddings import Embeddings
from aekit.errors import DataError, DataWarning
from aekit.index._filters import Condition
from aekit.index.engine import Index
from aekit.index.vector_index import VectorIndex

TABLE = pa.table(
    {
        "id": ["a/1", "a/2", "b/1", "b/2", "c'\""],
        "label": ["cat", "dog", "cat", None, "eel"],
        "price": [1, 2.5, float("nan"), 10, None],
        "count": [1, 2, 3, 2**53 + 1, None],
        "sold": [True, False, None, True, True],
        "art style": pa.array(["x", "y", "x", "y", None]).dictionary_encode(),
        "day": pa.array([datetime.date(2026, 1, 1), datetime.date(2026, 2, 1), None, None, None]),
        "zero": [0.0, -0.0, 1.0, None, None],
        "number": [1234567890123456789, 2**63 - 1, -(2**63), None, None],
        "unsigned": pa.array([2**64 - 1, 1, None, None, None], pa.uint64()),
        "half": pa.array(np.array([1, 2, 0, 0, 0], np.float16)),
        "tags": [[1], [2], [3], [4], [5]],
    }
)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ('label = "cat"', [0, 2]),
        ("label == 'cat'", [0, 2]),
        ('label in ("cat", "dog")', [0, 1, 2]),
        ('label not in ("cat")', [1, 4]),
        ('label != "cat"', [1, 4]),
        ('not label = "cat"', [1, 4]),
        ("label is null", [3]),
        ("label IS NOT NULL", [0, 1, 2, 4]),
        ('price >= 2 and label = "dog"', [1]),
        ("price is null", [2, 4]),
        ("price != 1", [1, 3]),
        ("price < 3 or count = 3", [0, 1, 2]),
        ("price in (1, 10)", [0, 3]),
        ("count in (1, 3.0)", [0, 2]),
        ("zero in (0)", [0, 1]),
        ("zero = 0", [0, 1]),
        ("number = 1234567890123456788", []),
        ("number in (1234567890123456789)", [0]),
        ("number < 9223372036854775808", [0, 1, 2]),
        ("unsigned in (-1)", []),
        ("unsigned > -1 and unsigned != 18446744073709551615", [1]),
        ("half > 1.5", [1]),
        (f"count in ({2**53 + 1})", [3]),
        (f"count = {2**53}", []),
        ("count > -1e999", [0, 1, 2, 3]),
        ("sold = true", [0, 3, 4]),
        ("sold in (false)", [1]),
        ('id like "a/%"', [0, 1]),
        ('id not like "_/1"', [1, 3, 4]),
        ("id = 'c''\"'", [4]),
        ('`art style` = "x"', [0, 2]),
        ('`art style` not in ("x")', [1, 3]),
        ('day > "2026-01-15"', [1]),
        ('day in ("2026-01-01")', [0]),
        ('label = "cat" or label = "dog" and count = 1', [0, 2]),
        ('(label = "cat" or label = "dog") and not count = 1', [1, 2]),
    ],
)
def test_a_condition_selects_rows(where: str, rows: list[int]) -> None:
    assert np.flatnonzero(Condition(where, TABLE).mask).tolist() == rows


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ('lable = "cat"', "character 1: no column 'lable'; did you mean 'label'?"),
        ("label = cat", 'character 9: cat is not in quotes: expected "cat"'),
        ("label = 3", "character 9: label holds text: expected text in quotes, not 3"),
        ('price = "3"', "price holds numbers: expected a number without quotes"),
        ("sold = 1", "sold holds true and false"),
        ("label in (3)", "character 11: label holds text"),
        ("tags = 1", "tags holds list"),
        ('day = "soon"', "soon"),
        ('count like "1%"', "count holds no text"),
        ("label", "character 6: expected =, .* not the end"),
        ("label =", "character 8: expected a value"),
        ('label = "cat', "character 9: expected a closing quote"),
        ('label = "cat" foo', "character 15: expected 'and', 'or' or the end, not foo"),
        ('label not = "cat"', "character 11: expected 'in' or 'like', not ="),
        ('(label = "cat"', "character 15: expected '\\)', not the end"),
        ("label in ()", "character 11: expected a value"),
        ("count = 3abc", "character 9: expected a condition"),
        ('label = "x"; drop table t', "character 12: expected a condition"),
        ("__import__('os')", "character 1: no column '__import__'"),
        ('"label" = "x"', "character 1: expected a column"),
        ("", "character 1: expected a column"),
        ("(" * 60 + "count = 1" + ")" * 60, "at most 50 levels"),
        ("not " * 60 + "count = 1", "at most 50 levels"),
        ("x" * 30_000, "30,000 characters"),
        ("label = '\udcff'", "character 10: expected text, not bytes that are not UTF-8"),
    ],
)
def test_what_is_no_condition_is_one_line_with_the_place(where: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        Condition(where, TABLE)
    assert "\n" not in str(caught.value)


def clusters(count: int, dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) around 40 centers, and the number of the center of each (N,)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 40, count)
    centers = rng.normal(size=(40, dim))
    return (centers[labels] + 0.6 * rng.normal(size=(count, dim))).astype(np.float32), labels


def recall_among(index: VectorIndex, vectors: np.ndarray, queries: np.ndarray, mask: np.ndarray) -> float:
    """Return the recall of the ten nearest (l2) of the rows of a mask, beside comparing all of them."""
    rows = np.flatnonzero(mask)
    distances = ((queries[:, None] - vectors[rows]) ** 2).sum(2)
    expected = rows[np.argsort(distances, axis=1)[:, :10]]
    scores, returned = index.search(queries, where=mask)
    assert mask[returned].all() and (np.diff(scores, axis=1) >= 0).all()
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(returned.tolist(), expected.tolist())]))


@pytest.mark.parametrize("few", [2**23, 1000], ids=["compared", "searched"])
@pytest.mark.parametrize(
    "kind", ["Flat", "IVF32,SQfp16", "HNSW8", "PCA16,IVF16,Flat", "IVF16,PQ8x4fs,Refine(SQfp16)", "SQ8"]
)
def test_recall_among_few_and_many_rows(kind: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1 %, 10 % and 50 % of the rows, drawn at random or of clusters that are far from most queries."""
    monkeypatch.setattr(faiss_index, "MOST_COMPARED", few)
    vectors, labels = clusters(3000)
    queries = vectors[:60] + np.float32(0.05)
    index = aekit.build_index(vectors, metric="l2", options={"kind": kind, "target_recall": 0.9})
    drawn = np.random.default_rng(1).random(len(vectors))
    for mask in (drawn < 0.01, drawn < 0.1, drawn < 0.5, labels == 3, labels < 4, labels < 20):
        assert recall_among(index, vectors, queries, mask) >= 0.95, f"{mask.mean():.0%} of the rows"


@pytest.mark.parametrize("kind", ["PQ8x4fs", "LSH", "NSG16"])
def test_kinds_that_leave_out_nothing_are_searched_deeper(kind: str) -> None:
    vectors, labels = clusters(1200)
    index = aekit.build_index(vectors, metric="l2", options={"kind": kind})
    mask = labels == 3
    scores, rows = index.search(vectors[:5], 8, where=mask)
    assert mask[rows].all() and rows.shape == (5, 8) and (np.diff(scores, axis=1) >= 0).all()
    assert set(index.engine.search(vectors[:1], 1300)[1][0, 1200:].tolist()) == {-1}, "it answers where k is too large"


def test_the_default_of_engines_searches_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = clusters(2000)
    index = aekit.build_index(vectors, metric="l2", options={"kind": "Flat"})
    for mask in (labels == 3, labels < 20, np.arange(2000) == 1999):
        rows = np.flatnonzero(mask)
        k = min(10, len(rows))
        expected = index.search(vectors[:20], k, where=mask)
        scores, nearest = Index.search_among(index.engine, vectors[:20], k, rows)
        assert nearest.tolist() == expected.rows.tolist()
        assert np.allclose(scores, expected.scores, atol=1e-3)
    monkeypatch.setattr(faiss_index.Faiss, "most_neighbors", 100)
    rows = np.flatnonzero(labels == (labels[0] + 1) % 40)
    _, nearest = Index.search_among(index.engine, vectors[:1], 10, rows)
    assert (nearest[0] >= 0).sum() == np.isin(index.search(vectors[0], 100).rows, rows).sum(), "as deep as it can"
    monkeypatch.undo()
    scores, nearest = Index.search_among(index.engine, vectors[:1], 4, np.asarray([5, 7]))
    assert sorted(nearest[0, :2].tolist()) == [5, 7] and nearest[0, 2:].tolist() == [-1, -1]


def labeled(count: int = 200) -> Embeddings:
    vectors, labels = clusters(count)
    names = np.asarray(["cat", "dog", "eel", "fox"])[labels % 4]
    splits = np.where(np.arange(count) % 2, "train", "test")
    return Embeddings.from_array(vectors, ids=[f"s{row}" for row in range(count)], labels=names, splits=splits)


def test_every_way_to_search_takes_a_condition(tmp_path: Path) -> None:
    embeddings = labeled()
    aekit.build_index(embeddings, tmp_path / "index")
    index = aekit.open_index(tmp_path / "index")
    where = 'label in ("cat", "eel") and split = "train"'
    for hits in (
        index.search(embeddings.vectors[:3], 5, where=where),
        index.search_ids(["s0", "s1", "s2"], 5, where=where),
        index.search_data(embeddings.vectors[:3], 5, where=where),
    ):
        assert hits.rows.shape == (3, 5) and hits.labels is not None and hits.splits is not None
        assert set(hits.labels.ravel()) <= {"cat", "eel"} and set(hits.splits.ravel()) == {"train"}
    assert index.search(embeddings.vectors[:1], 3, where=index.mask('id = "s7"')).ids.tolist() == [["s7"]]


def test_a_sample_is_left_out_of_its_neighbors_under_a_condition() -> None:
    index = aekit.build_index(labeled())
    label = index.metadata["label"].to_pylist()
    same = [row for row, name in enumerate(label) if name == label[0]]
    with pytest.warns(DataWarning, match="fewer than k = 200"):
        hits = index.search_ids(["s0", f"s{same[1]}"], 200, where=f'label = "{label[0]}"')
    assert hits.rows.shape == (2, len(same) - 1) and 0 not in hits.rows[0] and same[1] not in hits.rows[1]
    other = next(row for row, name in enumerate(label) if name != label[0])
    hits = index.search_ids([f"s{other}"], len(same), where=f'label = "{label[0]}"')
    assert sorted(hits.rows[0].tolist()) == same, "a query that the condition leaves out takes the place of no neighbor"
    with pytest.warns(DataWarning):
        mixed = index.search_ids(["s0", f"s{other}"], 200, where=f'label = "{label[0]}"')
    assert mixed.rows.shape == (2, len(same)) and mixed.rows[0, -1] == -1
    assert len(mixed.records()) == 2 * len(same) - 1


def test_too_few_neighbors_are_said() -> None:
    index = aekit.build_index(labeled())
    with pytest.warns(DataWarning, match=r"where: 1 of 200 vectors satisfy the condition, fewer than k = 10"):
        assert index.search(np.ones(16), where='id = "s3"').ids.tolist() == [["s3"]]
    with pytest.warns(
        DataWarning, match=r"0 of 200 vectors satisfy the condition, .*; no label is 'catt'; did you mean 'cat'\?"
    ):
        hits = index.search(np.ones((2, 16)), where='label = "catt"')
    assert hits.rows.shape == (2, 0) and hits.records() == []
    with pytest.warns(DataWarning, match="0 of 200 vectors"):
        assert index.search_ids(["s0"], where='label = "cat" and label = "dog"').rows.shape == (1, 0)


def test_what_is_no_condition_is_refused_before_the_search() -> None:
    index = aekit.build_index(labeled())
    with pytest.raises(DataError, match="no column 'hash'; available: id, label, split"):
        index.search(np.ones(16), where='hash = "x"')
    for mask in (np.ones(199, bool), np.arange(200), 7, [True]):
        with pytest.raises(DataError, match=r"expected a condition as text, or a mask \(200,\) of bool"):
            index.search(np.ones(16), where=mask)  # type: ignore[arg-type]


def test_an_engine_that_finds_other_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = aekit.build_index(labeled(), tmp_path / "index")
    monkeypatch.setattr(faiss_index.Faiss, "search_among", lambda self, queries, k, rows: self.search(queries, k))
    with pytest.raises(aekit.AekitError, match="rows that the condition leaves out"):
        index.search(np.ones(16), where='label = "cat"')


def test_the_command_searches_under_a_condition(command: Command, tmp_path: Path) -> None:
    index = aekit.build_index(labeled(), tmp_path / "index")
    folder, where = tmp_path / "index", 'label = "cat" and split = "train"'
    hits = json.loads(command.ok("search", folder, "id:s0", "id:s1", "-k", "4", "--json", "--where", where))
    expected = index.search_ids(["s0", "s1"], 4, where=where)
    assert [hit["id"] for hit in hits] == expected.ids.ravel().tolist()
    assert {(hit["label"], hit["split"]) for hit in hits} == {("cat", "train")}
    refused = command("search", folder, "id:s0", "--where", "label = cat")
    assert refused.code == 2 and refused.error.endswith('character 9: cat is not in quotes: expected "cat"')
    nothing = command("search", folder, "id:s0", "--where", 'label = "catt"')
    assert nothing.code == 0 and nothing.out == "" and "no label is 'catt'; did you mean 'cat'?" in nothing.err
