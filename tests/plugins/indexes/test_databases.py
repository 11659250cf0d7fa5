"""Indexes in databases: the index kit's checks run in tests/testing; here is what a database adds, on real ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from aekit_plugins.indexes import milvus_index
from aekit_plugins.indexes.pgvector_index import choose_storage
from commands import Command

import aekit
from aekit.errors import DataError, IdentityError, RecipeError
from aekit.index import build
from aekit.index.databases import UNFINISHED
from aekit.registry.discovery import registry

ENVIRONMENT = {"pgvector": "AEKIT_PGVECTOR", "milvus": "AEKIT_MILVUS"}
OTHER_DIGEST = "0" * 64


@pytest.fixture(params=["pgvector", "milvus"])
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
    import psycopg

    with psycopg.connect(os.environ["AEKIT_PGVECTOR"]) as connection:
        statement = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'aekit_%'"
        return {name for (name,) in connection.execute(statement).fetchall()}


def name_in(folder: Path) -> str:
    """Return the name of the table or collection of an index."""
    (path,) = (path for path in folder.glob("index.*") if path.suffix in (".pgvector", ".milvus"))
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

    monkeypatch.setattr(registry().get("index", engine).load(), "tune" if engine == "pgvector" else "_insert", stop)
    with pytest.raises(KeyboardInterrupt):
        aekit.build_index(vectors(50), tmp_path / "index", engine=engine)
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
