"""Indexes: neighbors as brute force finds them, a true recall, growth, identity, and kernels that suit the processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from aekit_plugins.indexes import faiss_index
from commands import FAST, Said

import aekit
from aekit.encoder.embedded_rows import Rows
from aekit.encoder.embeddings import Embeddings
from aekit.errors import DataError, IdentityError, OutputError, RecipeError
from aekit.index import _recall
from aekit.index._recall import ExactSearch
from aekit.index.engine import Similarity
from aekit.index.openblas import VARIABLE, better_core
from aekit.index.vector_index import VectorIndex


def clusters(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    """(N, D), 20 clusters away from the origin."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(3, 2, (20, dim))
    return (centers[rng.integers(0, 20, count)] + rng.normal(0, 0.5, (count, dim))).astype(np.float32)


def embeddings(vectors: np.ndarray, digest: str = "a" * 64, hashes: list[str] | None = None) -> Embeddings:
    """As an encoder of that digest would have made them."""
    ids = [f"sample-{row}" for row in range(len(vectors))]
    rows = Rows(ids, vectors, np.arange(len(vectors)) % 3, np.full(len(vectors), "train"), hashes or ids)
    manifest = {"digest": digest, "dim": vectors.shape[1], "count": len(vectors), "origin": None}
    return Embeddings(manifest, rows=rows)


def brute_force(queries: np.ndarray, vectors: np.ndarray, k: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores (Q, k), best first, and rows (Q, k), one pair after the other."""
    scores = np.empty((len(queries), len(vectors)))
    for row, query in enumerate(queries.astype(np.float64)):
        for column, vector in enumerate(vectors.astype(np.float64)):
            if metric == "l2":
                scores[row, column] = ((query - vector) ** 2).sum()
            else:
                lengths = np.linalg.norm(query) * np.linalg.norm(vector) if metric == "cosine" else 1
                scores[row, column] = query @ vector / lengths
    order = np.argsort(scores if metric == "l2" else -scores, axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), order


@pytest.mark.parametrize("metric", get_args(Similarity))
def test_neighbors_are_those_of_brute_force(metric: Similarity) -> None:
    vectors, queries = clusters(400), clusters(20, seed=1)
    index = aekit.build_index(vectors, metric=metric)
    expected_scores, expected_rows = brute_force(queries, vectors, 10, metric)
    scores, rows = index.search(queries, 10)
    assert np.array_equal(rows, expected_rows)
    assert np.allclose(scores, expected_scores, rtol=1e-4, atol=1e-4)
    assert index.manifest["recall"] == 1 and index.manifest["recall_queries"] == 200
    one_by_one = [index.search(query, 10)[1][0].tolist() for query in queries]
    assert one_by_one == expected_rows.tolist()


def test_zero_vectors_have_no_direction_and_do_no_harm() -> None:
    vectors = clusters(50)
    vectors[7] = 0
    index = aekit.build_index(vectors)
    scores, rows = index.search(np.stack([np.zeros(16), vectors[3]]), 50)
    assert np.isfinite(scores).all() and (scores[0] == 0).all() and rows[1, 0] == 3
    assert scores[1][rows[1] == 7] == 0


def test_queries_that_cannot_be_answered() -> None:
    index = aekit.build_index(clusters(30))
    assert index.search(clusters(2), 99)[1].shape == (2, 30), "k is cut to what there is"
    with pytest.raises(DataError, match=r"queries of shape \(2, 15\): expected embeddings or \(Q, 16\)"):
        index.search(np.zeros((2, 15)))
    with pytest.raises(DataError, match="vector 1: has values that are not finite"):
        index.search(np.stack([np.zeros(16), np.full(16, np.nan)]))
    with pytest.raises(DataError, match="k = 0"):
        index.search(np.zeros((1, 16)), 0)
    with pytest.raises(IdentityError, match="from encoder bbbb"):
        aekit.build_index(embeddings(clusters(30))).search(embeddings(clusters(2), "b" * 64))


def test_what_cannot_be_indexed() -> None:
    with pytest.raises(DataError, match=r"embeddings of shape \(5,\)"):
        aekit.build_index(np.zeros(5))
    with pytest.raises(DataError, match=r"embeddings of shape \(0, 4\)"):
        aekit.build_index(np.empty((0, 4), np.float32))
    with pytest.raises(DataError, match="embeddings are not numbers: could not convert string to float: 'a'"):
        aekit.build_index([["a", "b"]])
    with pytest.raises(DataError, match="1 of 10 embeddings are not finite, the first in row 3"):
        aekit.build_index(np.where(np.arange(10)[:, None] == 3, np.inf, np.ones((10, 4))))
    with pytest.raises(RecipeError, match=r"index metric 'cosin'.*did you mean 'cosine'"):
        aekit.build_index(clusters(30), metric="cosin")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="index kind 'IVFx'"):
        aekit.build_index(clusters(30), options={"kind": "IVFx"})
    with pytest.raises(RecipeError, match=r"index kind 'IVF64,Flat'.*30.*64"):
        aekit.build_index(clusters(30), options={"kind": "IVF64,Flat"})
    with pytest.raises(RecipeError, match=r"nprob: no such option; did you mean 'nprobe'\?"):
        aekit.build_index(clusters(30), options={"nprob": 3})


@pytest.mark.parametrize("kind", ["Flat", "IVF16,Flat", "HNSW16"])
def test_a_sample_is_left_out_of_its_own_neighbors(kind: str) -> None:
    vectors = clusters(1000)
    vectors[500] = vectors[0]  # a duplicate may come before the sample itself
    index = aekit.build_index(embeddings(vectors), options={"kind": kind, "target_recall": 1})
    scores, rows = index.search_ids(["sample-0", "sample-1"], 5)
    expected = brute_force(vectors[[1]], vectors, 6, "cosine")[1][0, 1:]
    assert rows.shape == (2, 5) and rows[0, 0] == 500 and 0 not in rows[0]
    assert rows[1].tolist() == expected.tolist()
    hit = index.hits(["sample-0"], scores[:1], rows[:1])[0]
    assert hit["query"] == "sample-0" and hit["rank"] == 1 and hit["id"] == "sample-500"
    assert hit["score"] == pytest.approx(1, abs=1e-5) and hit["label"] == 500 % 3 and hit["split"] == "train"
    with pytest.raises(DataError, match="id:sample-1x: no such id in the index; did you mean 'sample-1'"):
        index.search_ids(["sample-1x"])


def test_all_other_samples_can_be_asked_for() -> None:
    _, rows = aekit.build_index(embeddings(clusters(6))).search_ids(["sample-2"], 99)
    assert sorted(rows[0].tolist()) == [0, 1, 3, 4, 5]


def test_the_stored_recall_is_true() -> None:
    """Forced to search one of 16 lists, the index misses much, and says so."""
    vectors = np.random.default_rng(0).normal(size=(5000, 16)).astype(np.float32)
    options = {"kind": "IVF16,Flat", "nprobe": 1}
    index = aekit.build_index(vectors, metric="l2", options=options)
    queries = np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32)
    _, exact = aekit.build_index(vectors, metric="l2", options={"kind": "Flat"}).search(queries)
    _, found = index.search(queries)
    recall = np.mean([len(set(mine) & set(true)) / 10 for mine, true in zip(found.tolist(), exact.tolist())])
    assert 0.2 < recall < 0.8
    assert index.manifest["recall"] == pytest.approx(recall, abs=0.06)


@pytest.mark.parametrize("kind", ["IVF16,Flat", "IVF16,SQfp16", "HNSW4"])
def test_search_is_tuned_to_the_recall_that_is_asked_for(kind: str, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    efforts = []
    for target in (0.5, 0.99):
        index = aekit.build_index(
            embeddings(vectors), tmp_path / str(target), options={"kind": kind, "target_recall": target}
        )
        assert index.manifest["recall"] >= target - 0.03
        efforts.append(index.manifest["settings"])
        again = aekit.open_index(tmp_path / str(target))
        for mine, theirs in zip(index.search(vectors[:50]), again.search(vectors[:50])):
            assert np.array_equal(mine, theirs)
    assert efforts[0]["kind"] == kind
    assert list(efforts[0].values())[1] < list(efforts[1].values())[1]


def test_exact_neighbors_in_passing_are_those_of_brute_force() -> None:
    vectors = clusters(500)
    own = np.array([3, 77, 400])
    for metric in get_args(Similarity):
        scaled = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if metric == "cosine" else vectors
        exact = ExactSearch(scaled[own], own, 10, metric)
        for start in range(0, 500, 60):
            exact.update(scaled[start : start + 60], np.arange(start, min(start + 60, 500)))
        true = [
            [r for r in near if r != me][:10]
            for near, me in zip(brute_force(vectors[own], vectors, 500, metric)[1], own)
        ]
        assert exact.rows[:, :10].tolist() == true
        found = np.array([[me, *near] for near, me in zip(true, own)])
        assert exact.recall(found) == 1
        found[:, 6:] = -1
        assert exact.recall(found) == 0.5


def test_exact_neighbors_are_found_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of 17 vectors, of which more and more lack anything near, the neighbors and scores stay those of all at once."""
    vectors, own = clusters(700), np.arange(0, 700, 70)
    whole, parts = (ExactSearch(vectors[own], own, 10, "l2") for _ in range(2))
    whole.update(vectors, np.arange(700))
    monkeypatch.setattr(_recall, "_SCORES", 17 * len(own))
    parts.update(vectors, np.arange(700))
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-12)
    assert np.array_equal(parts.rows[:, :10], whole.rows[:, :10])


@pytest.mark.parametrize(
    ("count", "comparisons", "tuning", "measuring"),
    [(1500, 2**35, 1000, 200), (1500, 0, 200, 200), (500, 2**35, 300, 200), (101, 2**35, 51, 50)],
)
def test_engines_tune_themselves_on_other_samples_than_their_recall_is_measured_on(
    count: int, comparisons: int, tuning: int, measuring: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[np.ndarray] = []

    class Recorded(faiss_index.Faiss):
        def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            asked.append(queries)
            return super().search(queries, k)

    monkeypatch.setattr(aekit.index.build, "TUNING_COMPARISONS", comparisons)
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    aekit.build_index(vectors, engine=Recorded, options={"kind": "IVF4,Flat"})
    assert {len(queries) for queries in asked[:-1]} == {tuning} and len(asked[-1]) == measuring
    together = np.concatenate([asked[0], asked[-1]])
    assert len(np.unique(together, axis=0)) == len(together)


@pytest.mark.parametrize("kind", ["Flat", "IVF4,SQfp16", "HNSW8", "PCA4,Flat"])
def test_one_query_finds_what_it_finds_among_others(kind: str) -> None:
    vectors = clusters(300)
    engine = aekit.build_index(vectors, metric="l2", options={"kind": kind}).engine
    scores, rows = engine.search(vectors[:20], 5)
    wide = np.repeat(vectors[:20], 2, axis=1)
    for number in range(20):
        for query in (vectors[number : number + 1], wide[number : number + 1, ::2], vectors[[number]].astype(float)):
            one_scores, one_rows = engine.search(query, 5)
            assert np.array_equal(one_rows[0], rows[number])
            np.testing.assert_allclose(one_scores[0], scores[number], rtol=1e-4, atol=1e-3)
    with pytest.raises(AssertionError):  # of FAISS, and no read beyond the end of the query
        engine.search(vectors[:1, :8], 5)
    added = clusters(10, seed=5)
    engine.add(added)
    assert engine.search(added[:1], 400)[1].shape == (1, 400)
    assert {300} <= set(engine.search(added[:1], 3)[1][0].tolist())


def test_of_duplicates_any_is_as_good_as_another() -> None:
    vectors = np.repeat(clusters(40), 30, axis=0)
    assert aekit.build_index(vectors).manifest["recall"] == 1


def test_a_folder_round_trip(tmp_path: Path) -> None:
    built = aekit.build_index(embeddings(clusters(200)), tmp_path / "i", metric="l2")
    opened = aekit.open_index(tmp_path / "i")
    assert isinstance(opened, VectorIndex) and len(opened) == 200 and opened.dim == 16
    assert sorted(path.name for path in (tmp_path / "i").iterdir()) == ["ids.parquet", "index.faiss", "manifest.json"]
    assert opened.manifest == built.manifest and opened.manifest["settings"] == {"kind": "Flat"}
    assert opened.metadata.to_pylist()[4] == {"id": "sample-4", "label": 1, "split": "train", "hash": "sample-4"}
    for mine, theirs in zip(built.search(clusters(5, seed=3)), opened.search(clusters(5, seed=3))):
        assert np.array_equal(mine, theirs)
    with pytest.raises(DataError, match="no index here"):
        aekit.open_index(tmp_path)


@pytest.mark.parametrize("file", ["index.faiss", "ids.parquet"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_damage_is_found_before_the_file_is_opened_and_mended_by_building_again(
    file: str, harm: str, tmp_path: Path
) -> None:
    aekit.build_index(embeddings(clusters(200)), tmp_path / "i")
    path = tmp_path / "i" / file
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] + (b"\xff" * 40 if harm == "flip" else b""))
    if harm == "remove":
        path.unlink()
    with pytest.raises(IdentityError, match=f"{file}: is (damaged|missing)"):
        aekit.open_index(tmp_path / "i")
    said = Said()
    aekit.build_index(embeddings(clusters(200)), tmp_path / "i", progress=said)
    assert "rebuilding the index" in said
    assert len(aekit.open_index(tmp_path / "i")) == 200


def test_what_a_kill_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    for name in ("index.faiss.part", "ids.parquet", "index.faiss"):
        (tmp_path / "i" / name).write_bytes(b"half")
    with pytest.raises(DataError, match="no index here"):
        aekit.open_index(tmp_path / "i")
    aekit.build_index(embeddings(clusters(50)), tmp_path / "i")
    assert len(aekit.open_index(tmp_path / "i")) == 50
    assert not list((tmp_path / "i").glob("*.part"))


def test_a_failed_write_leaves_the_old_index_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aekit.build_index(embeddings(clusters(50)), tmp_path / "i")

    def full(self: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(faiss_index.Faiss, "save", full)
    with pytest.raises(OutputError, match="the disk is full"):
        aekit.build_index(embeddings(clusters(80)), tmp_path / "i")
    assert len(aekit.open_index(tmp_path / "i")) == 50


def test_other_things_in_the_folder_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"holds 'thesis\.tex'"):
        aekit.build_index(clusters(50), tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"parts": []}')
    with pytest.raises(OutputError, match=r"manifest\.json"):
        aekit.build_index(clusters(50), other)
    assert [path.name for path in other.iterdir()] == ["manifest.json"]
    with pytest.raises(OutputError, match="it is a file; expected a folder"):
        aekit.build_index(clusters(50), tmp_path / "thesis.tex")


@pytest.mark.parametrize("kind", ["auto", "IVF4,Flat"])
def test_grown_embeddings_add_only_what_is_new(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, out, options = clusters(500), tmp_path / "i", {"kind": kind, "target_recall": 1}
    aekit.build_index(embeddings(vectors[:400]), out, options=options)
    added: list[int] = []
    add = faiss_index.Faiss.add
    monkeypatch.setattr(faiss_index.Faiss, "add", lambda self, v: (added.append(len(v)), add(self, v))[1])
    said = Said()
    grown = aekit.build_index(embeddings(vectors), out, options=options, progress=said)
    assert sum(added) == 100 and "adding 100 new vectors to the 400" in said
    assert grown.manifest["recall"] == 1
    opened = aekit.open_index(out)
    _, rows = opened.search(vectors[::50], 1)
    assert [opened.ids[row] for row in rows[:, 0]] == [f"sample-{n}" for n in range(0, 500, 50)]

    added.clear()
    said = Said()
    aekit.build_index(embeddings(vectors), out, options=options, progress=said)
    assert not added and "nothing new" in said

    vectors = np.concatenate([vectors, clusters(30, seed=5)])
    more = embeddings(vectors)
    more.rows.ids.reverse()  # type: ignore[attr-defined]
    backwards = Rows(more.ids, vectors[::-1], more.labels, more.splits, more.ids)
    regrown = aekit.build_index(Embeddings(more.manifest, rows=backwards), out, options=options)
    assert sum(added) == 30 and regrown.manifest["recall"] == 1, "embeddings in another order are the same embeddings"
    assert regrown.ids[0] == "sample-0" and regrown.search(vectors[520], 1)[1][0, 0] == regrown.ids.index("sample-520")


def test_a_grown_index_names_the_data_of_all_its_samples(tmp_path: Path) -> None:
    for count in (40, 50, 50):
        data = tmp_path / f"{count}.npy"
        np.save(data, clusters(count))
        grown = embeddings(np.load(data))
        aekit.build_index(Embeddings(grown.manifest | {"origin": {"data": str(data)}}, rows=grown.rows), tmp_path / "i")
    opened = aekit.open_index(tmp_path / "i")
    assert opened.manifest["built_with"] == 40 and opened.manifest["origin"]["data"] == str(data)


def test_changed_or_missing_samples_and_other_settings_build_again(tmp_path: Path) -> None:
    vectors, out = clusters(300), tmp_path / "i"
    hashes = [str(row) for row in range(300)]
    aekit.build_index(embeddings(vectors, hashes=hashes), out)
    vectors[7] = -vectors[7]
    hashes[7] = "another"
    said = Said()
    index = aekit.build_index(embeddings(vectors, hashes=hashes), out, progress=said)
    assert "1 samples changed and 0 were removed" in said
    assert index.search(vectors[7], 1)[1][0, 0] == 7 and len(index) == 300
    said = Said()
    assert len(aekit.build_index(embeddings(vectors[:290], hashes=hashes[:290]), out, progress=said)) == 290
    assert "0 samples changed and 10 were removed" in said
    said = Said()
    aekit.build_index(embeddings(vectors[:290], hashes=hashes[:290]), out, metric="l2", progress=said)
    assert "its engine, metric or options differ from those asked for" in said
    assert aekit.open_index(out).manifest["metric"] == "l2"
    many = clusters(700)
    said = Said()
    aekit.build_index(
        embeddings(many, hashes=[*hashes[:290], *map(str, range(1000, 1410))]), out, metric="l2", progress=said
    )
    assert "it was built for 290 vectors, now there are 700" in said


def test_another_encoder_is_refused_at_equal_width(tmp_path: Path) -> None:
    table = clusters(120)
    encoder = aekit.fit(table, dim=4, overrides=FAST)
    other = encoder.with_random_weights(3)
    index = aekit.build_index(encoder.embed(table, out=tmp_path / "e"), tmp_path / "i")
    before = {path: path.read_bytes() for path in (tmp_path / "i").rglob("*") if path.is_file()}
    with pytest.raises(IdentityError, match=other.digest[:12]):
        aekit.build_index(other.embed(table), tmp_path / "i")
    assert before == {path: path.read_bytes() for path in (tmp_path / "i").rglob("*") if path.is_file()}
    with pytest.raises(IdentityError, match=other.digest[:12]):
        index.search_data(table[:3], encoder=other)
    with pytest.raises(IdentityError, match=other.digest[:12]):
        index.search(other.embed(table[:3]))

    names, _, rows = aekit.open_index(tmp_path / "i").search_data(table[:3], 1)
    assert names == ["0", "1", "2"] and rows[:, 0].tolist() == [0, 1, 2]
    np.save(tmp_path / "queries.npy", table[5:7])
    assert index.search_data(str(tmp_path / "queries.npy"), 1, encoder=encoder)[2][:, 0].tolist() == [5, 6]
    for path in (tmp_path / "i" / "encoder").iterdir():
        path.unlink()
    (tmp_path / "i" / "encoder").rmdir()
    other.save(tmp_path / "i" / "encoder")
    with pytest.raises(IdentityError, match=other.digest[:12]):
        aekit.open_index(tmp_path / "i")


def test_a_large_file_is_mapped_and_can_still_be_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "MEMORY_MAP_BYTES", 0)
    vectors, options = clusters(900), {"kind": "IVF4,Flat", "target_recall": 1}
    aekit.build_index(embeddings(vectors[:600]), tmp_path / "i", options=options)
    opened = aekit.open_index(tmp_path / "i")
    assert opened.engine.mapped and opened.search(vectors[:1], 1)[1][0, 0] == 0
    assert opened.search_ids(["sample-3"], 5)[1].shape == (1, 5)
    grown = aekit.build_index(embeddings(vectors), tmp_path / "i", options=options)
    assert grown.search(vectors[[850]], 1)[1][0, 0] == 850


@pytest.mark.parametrize(
    ("count", "dim", "kind"),
    [
        (10, 64, "Flat"),
        (10_000, 128, "Flat"),
        (100_000, 64, "IVF512,SQfp16"),
        (100_000, 128, "IVF512,SQfp16"),
        (1_000_000, 128, "IVF2048,SQfp16"),
        (1_000_000, 64, "IVF2048,SQfp16"),
        (10_000_000, 128, "IVF16384,SQfp16"),
        (100_000_000, 128, "IVF65536,SQ8"),
        (50_000, 2048, "IVF512,SQfp16"),
        (19_999, 1280, "Flat"),
        (20_000, 1280, "IVF256,SQfp16"),
    ],
)
def test_the_kind_suits_the_size(count: int, dim: int, kind: str) -> None:
    chosen, why = faiss_index.choose_kind(count, dim)
    assert chosen == kind and f"{count:,}" in why
    lists = int(chosen[3:].partition(",")[0]) if "IVF" in chosen else 0
    assert lists * 39 <= count, "FAISS wants 39 vectors a list to train on"


@pytest.mark.parametrize(
    ("options", "kind", "fewest"),
    [({}, "Flat", 1), ({"target_recall": 1}, "Flat", 1), ({"target_recall": 0.95}, "IVF128,SQfp16", 0.93)],
)
def test_few_vectors_are_compared_with_each_unless_a_lower_recall_is_asked_for(
    options: dict[str, Any], kind: str, fewest: float
) -> None:
    index = aekit.build_index(clusters(5000), options=options)
    assert index.engine.kind == kind
    assert index.manifest["recall"] >= fewest


def test_very_few_vectors_are_always_compared_with_each() -> None:
    assert faiss_index.choose_kind(1000, 64, is_approximate=True)[0] == "Flat"


def test_what_no_machine_holds_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"1,000,000,000 vectors of 128 dimensions are too many.*Milvus"):
        faiss_index.choose_kind(10**9, 128)


AVX512 = frozenset(["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "avx2", "fma", "sse3"])
AVX2 = frozenset(["avx2", "fma", "avx", "sse3"])


@pytest.mark.parametrize(
    ("reported", "flags", "environment", "core"),
    [
        ("Prescott", AVX512, {}, "SkylakeX"),
        ("Barcelona", AVX512, {}, "SkylakeX"),
        ("Haswell", AVX512, {}, "SkylakeX"),
        ("Zen", AVX512, {}, "SkylakeX"),
        ("SkylakeX", AVX512, {}, None),
        ("Cooperlake", AVX512, {}, None),
        ("SomethingNewer", AVX512, {}, None),
        ("Prescott", AVX512 - {"avx512vl"}, {}, "Haswell"),
        ("Barcelona", AVX2, {}, "Haswell"),
        ("Haswell", AVX2, {}, None),
        ("Zen", AVX2, {}, None),
        ("Prescott", AVX2 - {"fma"}, {}, None),
        ("Prescott", frozenset(), {}, None),
        (None, AVX512, {}, None),
        ("Prescott", AVX512, {VARIABLE: "Nehalem"}, None),
        ("Prescott", AVX512, {VARIABLE: ""}, None),
    ],
)
def test_the_blas_core_is_raised_and_never_beyond_the_processor(
    reported: str | None, flags: frozenset[str], environment: dict[str, str], core: str | None
) -> None:
    assert better_core(reported, flags, environment) == core


IMPORT = """
import os, sys
before = dict(os.environ)
sys.path[:0] = {path!r}
{first}
from aekit.index.openblas import better_core_for, import_with_better_core
faiss, note = import_with_better_core("faiss", "faiss_cpu.libs")
assert dict(os.environ) == before, "the environment is put back"
print(better_core_for("faiss", "faiss_cpu.libs") is not None, bool(note))
"""


def mended(first: str, **environment: str) -> list[str]:
    """Whether there is something to mend here, and whether a note says that it could not be."""
    inherited = {name: value for name, value in os.environ.items() if name != VARIABLE}
    code = IMPORT.format(path=sys.path, first=first)
    done = subprocess.run([sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_faiss_is_imported_with_the_environment_put_back() -> None:
    better, note = mended("")
    assert note == "False"
    assert mended("import faiss") == [better, better], "imported by somebody else before: said where it matters"
    assert mended("", **{VARIABLE: "Nehalem"}) == ["False", "False"], "what the user chose counts"


def test_a_package_without_such_a_library_is_only_imported() -> None:
    from aekit.index.openblas import better_core_for, import_with_better_core

    assert better_core_for("json", "json.libs") is None and better_core_for("no_such_package", "x") is None
    module, note = import_with_better_core("json", "json.libs")
    assert module.loads("1") == 1 and note == ""
