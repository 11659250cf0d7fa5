"""Indexes in databases: the index kit's checks run in tests/testing; here is what a database adds, on real ones."""

from __future__ import annotations

import datetime
import json
import os
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
from aekit_plugins.indexes import milvus_index, pgvector_index
from aekit_plugins.indexes.lancedb_index import LanceDb
from aekit_plugins.indexes.pgvector_index import choose_storage
from commands import Command

import aekit
from aekit.errors import DataError, IdentityError, RecipeError
from aekit.index import build
from aekit.index.databases import UNFINISHED
from aekit.registry.discovery import registry

ENVIRONMENT = {"pgvector": "AEKIT_PGVECTOR", "milvus": "AEKIT_MILVUS", "lancedb": "AEKIT_LANCEDB"}
OTHER_DIGEST = "0" * 64
FAILING = {"pgvector": "tune", "milvus": "_insert", "lancedb": "_add_graph"}
"""Engine -> a method that it calls while it builds an index."""


@pytest.fixture(params=list(ENVIRONMENT))
def engine(request: pytest.FixtureRequest) -> str:
    """An engine whose database runs."""
    request.getfixturevalue({"pgvector": "postgres"}.get(request.param, request.param))
    return request.param


def vectors(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    """Draw vectors around a few centers."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(10, dim))
    return (centers[rng.integers(0, 10, count)] + 0.5 * rng.normal(size=(count, dim))).astype(np.float32)


def kept(engine: str) -> set[str]:
    """Return the names of the tables or collections of aekit in the database."""
    if engine == "milvus":
        from pymilvus import MilvusClient

        client = MilvusClient(os.environ["AEKIT_MILVUS"])
        names = client.list_collections()
        client.close()
        return set(names)
    if engine == "lancedb":
        import lancedb

        return set(lancedb.connect(os.environ["AEKIT_LANCEDB"]).list_tables().tables)
    import psycopg

    with psycopg.connect(os.environ["AEKIT_PGVECTOR"]) as connection:
        statement = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'aekit_%'"
        return {name for (name,) in connection.execute(statement).fetchall()}


def name_in(folder: Path) -> str:
    """Return the name of the table or collection of an index."""
    (path,) = (path for path in folder.glob("index.*") if path.suffix.removeprefix(".") in ENVIRONMENT)
    (name,) = json.loads(path.read_text()).values()
    return name


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_a_saved_index_finds_what_faiss_finds(metric: str, engine: str, tmp_path: Path) -> None:
    rows, queries = vectors(500), vectors(20, seed=1)
    expected = aekit.build_index(rows, metric=metric).search(queries, 5)
    aekit.build_index(rows, tmp_path / "index", engine=engine, metric=metric)
    index = aekit.open_index(tmp_path / "index")
    hits = index.search(queries, 5)
    assert hits.rows.tolist() == expected.rows.tolist()
    assert np.allclose(hits.scores, expected.scores, rtol=1e-4, atol=1e-4)
    assert index.manifest["recall"] == 1.0


def test_a_graph_is_tuned_to_its_recall(postgres: str, tmp_path: Path) -> None:
    rows = vectors(3000, 32)
    options = {"kind": "hnsw", "target_recall": 0.9}
    index = aekit.build_index(rows, tmp_path / "index", engine="pgvector", options=options)
    assert index.manifest["recall"] >= 0.85 and "graph" in index.manifest["reason"]
    plan = index.engine._connection().execute(
        f"EXPLAIN SELECT number FROM {name_in(tmp_path / 'index')} ORDER BY vector <#> %s::vector LIMIT 3",
        [f"[{','.join('1' * 32)}]"],
    )
    index.search(rows[:1], 3)
    assert any("Index Scan" in line for (line,) in plan.fetchall())
    assert (index.search(rows[:2], 1500).rows >= 0).all(), "more neighbors than a graph returns are all compared"


@pytest.mark.parametrize("allowed, used", [("64MB", "1GB"), ("1500MB", "1500MB")])
def test_a_graph_may_use_the_memory_that_the_server_allows(
    allowed: str, used: str, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", f"-c maintenance_work_mem={allowed}")
    index = aekit.build_index(vectors(50), tmp_path / "index", engine="pgvector", options={"kind": "hnsw"})
    assert index.engine._connection().execute("SHOW maintenance_work_mem").fetchone() == (used,)


@pytest.mark.parametrize(("states", "remark"), [([90, 50, 0], ""), ([90] * 9, "still lacks 90 of these")])
def test_a_build_waits_for_the_graph_of_milvus(
    milvus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: list[int], remark: str
) -> None:
    """A server builds it later; whatever is measured before is that of comparing all vectors."""
    from pymilvus import MilvusClient

    monkeypatch.setattr(milvus_index, "LEAST_WAIT", 1.0)
    answers = iter([{"pending_index_rows": rows, "total_rows": 90} for rows in states])
    monkeypatch.setattr(MilvusClient, "describe_index", lambda *_: next(answers))
    index = aekit.build_index(vectors(90), tmp_path / "index", engine="milvus", options={"kind": "hnsw"})
    assert remark in str(index.manifest) and ("lacks" in str(index.manifest)) == bool(remark)
    assert remark or next(answers, None) is None


def test_a_server_of_milvus_is_waited_for_only_after_a_write(
    milvus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = aekit.build_index(vectors(50), tmp_path / "index", engine="milvus").engine
    client, levels = engine._connected(), list[str]()
    search = client.search
    monkeypatch.setattr(client, "search", lambda *a, **o: levels.append(o["consistency_level"]) or search(*a, **o))
    engine.search(vectors(2), 3)
    engine._strong_until = time.monotonic()  # as if the time were over
    engine.search(vectors(2), 3)
    opened = aekit.open_index(tmp_path / "index").engine  # to which another process may have added rows just now
    assert opened._strong_until > time.monotonic()
    engine.add(vectors(10))
    engine.search(vectors(2), 3)
    assert levels == ["Strong", "Bounded", "Strong"]


def test_growing_adds_rows_and_a_rebuild_drops_the_old_table(engine: str, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    ids = [f"s{row}" for row in range(80)]
    first = aekit.Embeddings.from_array(vectors(80)[:60], ids=ids[:60])
    digest = first.digest
    aekit.build_index(first, folder, engine=engine)
    before = name_in(folder)
    grown = aekit.Embeddings.from_array(vectors(80), ids=ids)
    grown.digest = grown.manifest["digest"] = digest
    aekit.build_index(grown, folder, engine=engine)
    index = aekit.open_index(folder)
    assert name_in(folder) == before and len(index) == 80
    assert index.search(vectors(80)[70], 1).ids[0, 0] == "s70"
    aekit.build_index(grown, folder, engine=engine, metric="l2")
    assert name_in(folder) != before
    assert before not in kept(engine) and name_in(folder) in kept(engine)


def test_a_build_that_fails_leaves_no_table(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept(engine)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry().get("index", engine).load(), FAILING[engine], stop)
    with pytest.raises(KeyboardInterrupt):
        aekit.build_index(vectors(50), tmp_path / "index", engine=engine, options={"kind": "hnsw"})
    monkeypatch.undo()
    assert kept(engine) == before


@pytest.mark.parametrize("moment", ["_measure", "write_manifest"])
@pytest.mark.parametrize("before", [False, True], ids=["new folder", "replaced"])
def test_what_a_killed_build_left_is_dropped_by_the_next(
    before: bool, moment: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """End a build before its file is written, and before its manifest is, without any cleaning up by the engine."""
    folder, others, embeddings = tmp_path / "index", kept(engine), aekit.Embeddings.from_array(vectors(60))
    if before:
        aekit.build_index(embeddings, folder, engine=engine)

    def stop(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(build, moment, stop)
    with pytest.raises(SystemExit):
        aekit.build_index(embeddings, folder, engine=engine, metric="l2")
    monkeypatch.undo()
    assert (folder / UNFINISHED).exists()
    aekit.build_index(embeddings, folder, engine=engine)
    assert kept(engine) == others | {name_in(folder)}
    assert not (folder / UNFINISHED).exists()


def test_the_digest_is_kept_beside_the_vectors(postgres: str, tmp_path: Path) -> None:
    import psycopg

    aekit.build_index(vectors(50), tmp_path / "index", engine="pgvector")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"COMMENT ON TABLE {name_in(tmp_path / 'index')} IS 'aekit vectors of {'0' * 64}'")
    with pytest.raises(IdentityError, match="000000000000"):
        aekit.open_index(tmp_path / "index")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP TABLE {name_in(tmp_path / 'index')}")
    with pytest.raises(IdentityError, match="build the index again"):
        aekit.open_index(tmp_path / "index")


def test_nothing_of_the_connection_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> None:
    monkeypatch.setenv("AEKIT_PGVECTOR", postgres.replace("postgres:@", "postgres:s3cret@"))
    aekit.build_index(vectors(50), tmp_path / "index", engine="pgvector")
    for path in (tmp_path / "index").rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes() and b"postgresql://" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("engine", "address"),
    [
        ("pgvector", "postgresql://localhost:1/none?connect_timeout=2"),
        ("milvus", "http://localhost:1"),
        ("milvus", ""),
        ("lancedb", ""),
    ],
)
def test_a_server_that_is_not_there_is_one_line(
    engine: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT[engine], address)
    monkeypatch.setattr(milvus_index, "CONNECT_SECONDS", 2)
    with pytest.raises(DataError) as caught:
        aekit.build_index(vectors(50), tmp_path / "index", engine=engine)
    assert "\n" not in str(caught.value) and ENVIRONMENT[engine] in str(caught.value)


def test_a_collection_that_is_gone_or_of_another_encoder_is_refused(milvus: str, tmp_path: Path) -> None:
    index = aekit.build_index(vectors(50), tmp_path / "index", engine="milvus")
    assert index.engine.kept_digest() == index.digest
    renamed = index.engine.name.replace(index.digest, OTHER_DIGEST)
    (tmp_path / "index" / "index.milvus").write_text(json.dumps({"collection": renamed}))
    with pytest.raises(IdentityError):
        aekit.open_index(tmp_path / "index")
    index.engine._connected().drop_collection(index.engine.name)
    with pytest.raises(IdentityError):
        aekit.open_index(tmp_path / "index")


def test_a_table_of_lancedb_that_is_gone_or_of_another_encoder_is_refused(lancedb: str, tmp_path: Path) -> None:
    index = aekit.build_index(vectors(50), tmp_path / "index", engine="lancedb")
    assert index.engine.kept_digest() == index.digest
    database, name = index.engine._connected(), index.engine.name
    content = index.engine._table.to_arrow().replace_schema_metadata({"aekit.digest": OTHER_DIGEST})
    database.create_table(name, content, mode="overwrite")
    with pytest.raises(IdentityError, match="000000000000"):
        aekit.open_index(tmp_path / "index")
    database.drop_table(name)
    with pytest.raises(IdentityError, match="build the index again"):
        aekit.open_index(tmp_path / "index")


def test_a_place_of_lancedb_that_cannot_be_written_is_one_line(
    lancedb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("AEKIT_LANCEDB", str(tmp_path / "file" / "database"))
    with pytest.raises(DataError) as caught:
        aekit.build_index(vectors(50), tmp_path / "index", engine="lancedb")
    assert "\n" not in str(caught.value) and "AEKIT_LANCEDB" in str(caught.value)


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_recall_among_few_and_many_rows(kind: str, engine: str, tmp_path: Path) -> None:
    rows = vectors(2500)
    queries = rows[:40] + np.float32(0.05)
    options = {"kind": kind, "target_recall": 0.95}
    index = aekit.build_index(rows, tmp_path / "index", engine=engine, metric="l2", options=options)
    drawn = np.random.default_rng(2).random(len(rows))
    ordered = np.arange(len(rows))
    for mask in (drawn < 0.01, drawn < 0.1, drawn < 0.5, drawn < 0.9, ordered < 30, ordered >= 1250, ordered == 7):
        among = np.flatnonzero(mask)
        k = min(10, len(among))
        distances = ((queries[:, None] - rows[among]) ** 2).sum(2)
        expected = among[np.argsort(distances, axis=1)[:, :k]]
        hits = index.search(queries, k, where=mask)
        assert mask[hits.rows].all() and (np.diff(hits.scores, axis=1) >= 0).all()
        recall = np.mean([len(set(a) & set(b)) / k for a, b in zip(hits.rows.tolist(), expected.tolist())])
        assert recall >= 0.93, f"{mask.mean():.0%} of the rows"
        alone = index.search(queries[0], k, where=mask)
        assert alone.rows[0].tolist() == hits.rows[0].tolist()


def test_conditions_on_metadata_select_the_same_rows_on_all_engines(engine: str, tmp_path: Path) -> None:
    rows, numbers = vectors(300), np.arange(300)
    metadata = pa.table(
        {
            "price": pa.array((numbers % 50) / 2, mask=numbers % 7 == 0),
            "city": [["Rome", "Oslo", "Lima"][n % 3] for n in numbers],
            "day": [datetime.date(2026, 1, 1) + datetime.timedelta(int(n)) for n in numbers],
        }
    )
    embeddings = aekit.Embeddings.from_array(rows, metadata=metadata)
    aekit.build_index(embeddings, tmp_path / "index", engine=engine)
    where = "price < 10 and city = 'Rome' and day >= '2026-03-01' or price is null and city != 'Oslo'"
    expected = aekit.build_index(embeddings).search(rows[:20], 5, where=where)
    hits = aekit.open_index(tmp_path / "index").search(rows[:20], 5, where=where)
    assert hits.rows.tolist() == expected.rows.tolist() and hits.records()[0]["city"] in ("Rome", "Lima")


def test_a_graph_of_pgvector_is_searched_on_where_many_rows_remain(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgvector_index, "MOST_LISTED", 20)
    rows = vectors(3000, 32)
    options = {"kind": "hnsw", "target_recall": 0.95}
    index = aekit.build_index(rows, tmp_path / "index", engine="pgvector", options=options)
    index = aekit.open_index(tmp_path / "index")
    queries = rows[:30] + np.float32(0.05)
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    drawn = np.random.default_rng(2).random(len(rows))
    for mask in (drawn < 0.01, drawn < 0.1, drawn < 0.5, np.arange(len(rows)) < 100):
        among = np.flatnonzero(mask)
        expected = among[np.argsort(-(queries @ directions[among].T), axis=1)[:, :10]]
        for goes_on in (True, False):  # as before pgvector 0.8, where all are compared
            index.engine._iterative = goes_on
            hits = index.search(queries, 10, where=mask).rows
            recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(hits.tolist(), expected.tolist())])
            assert mask[hits].all() and recall >= (0.95 if goes_on else 0.999), f"{mask.mean():.0%} of the rows"
        index.engine._iterative = True
        before = index.search(queries, 10).rows
        assert (before >= 0).all() and not mask[before].all(), "the condition is over"


class InMemory(LanceDb):
    """An engine whose vectors are at hand, to compare them without a database."""

    def __init__(self, stored: np.ndarray, metric: Literal["ip", "l2"]) -> None:
        self.stored, self.metric = stored, metric

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        return self.stored[rows]


@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_few_rows_are_compared_exactly(metric: Literal["ip", "l2"]) -> None:
    stored, queries, rows = vectors(50), vectors(7, seed=1), np.asarray([3, 8, 9, 40])
    differences = queries[:, None] - stored[rows]
    expected = (differences**2).sum(2) if metric == "l2" else queries @ stored[rows].T
    order = np.argsort(expected if metric == "l2" else -expected, axis=1)
    for k in (2, 4, 6):
        scores, nearest = InMemory(stored, metric).compare(queries, k, rows)
        assert nearest[:, :4].tolist() == rows[order[:, :k]].tolist()
        assert np.allclose(scores[:, :4], np.take_along_axis(expected, order[:, :k], 1), rtol=1e-5)
        assert (nearest[:, 4:] == -1).all() and np.isinf(scores[:, 4:]).all()


def test_small_distances_between_long_vectors_are_told_apart() -> None:
    stored = np.full((3, 4), 1000, np.float32)
    stored[1:, 0] += [0.25, 0.125]
    scores, nearest = InMemory(stored, "l2").compare(stored[:1], 3, np.arange(3))
    assert nearest.tolist() == [[0, 2, 1]] and scores.tolist() == [[0, 0.125**2, 0.25**2]]


def test_rows_are_named_by_ranges_lists_or_not_at_all() -> None:
    engine = LanceDb()
    assert engine.number_condition(np.asarray([3, 4, 5, 9]), "()") == (
        "(number >= 3 and number <= 5) or (number >= 9 and number <= 9)"
    )
    assert engine.number_condition(np.arange(0, 200, 2), "[]").startswith("number in [0,2,4")
    assert engine.number_condition(np.arange(0, 100_000, 2), "()") == ""


def test_memory_is_refused_and_what_a_graph_cannot_hold() -> None:
    with pytest.raises(RecipeError, match="expected `out`"):
        aekit.build_index(vectors(50), engine="pgvector")
    assert choose_storage("auto", "auto", 100_000, 128)[:2] == (True, "vector")
    assert choose_storage("auto", "auto", 100_000, 3000)[:2] == (True, "halfvec")
    assert choose_storage("auto", "auto", 100_000, 5000)[0] is False
    assert choose_storage("auto", "auto", 500, 128)[0] is False
    with pytest.raises(RecipeError, match="at most 2000 dimensions"):
        choose_storage("hnsw", "vector", 100_000, 3000)


def test_the_commands(command: Command, engine: str, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", vectors(60))
    out = command.ok("index", tmp_path / "v.npy", "-o", tmp_path / "index", "--engine", engine)
    assert "60 vectors of 16 dimensions" in out and "recall@10: 1.000" in out
    out = command.ok("search", tmp_path / "index", "id:3", "-k", "2")
    assert out.count("\n") >= 2
