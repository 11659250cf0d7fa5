"""The index: exact where it says so, honest about its recall where it is not, and bound to its encoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from aekit_plugins.indexes.faiss_index import choose_kind

import aekit
from aekit.errors import DataError, IdentityError, OutputError, RecipeError
from aekit.openblas import better_core

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(40, 12))
VECTORS = (CENTRES[RNG.integers(0, 40, 3000)] + 0.3 * RNG.normal(size=(3000, 12))).astype(np.float32)


@pytest.fixture(scope="module")
def encoder() -> aekit.Encoder:
    return aekit.fit(VECTORS, dim=6, overrides={"train.epochs": 1, "train.precision": "fp32"})


@pytest.fixture
def embedded(encoder: aekit.Encoder, tmp_path: Path) -> aekit.Embeddings:
    return encoder.embed(VECTORS[:500], out=tmp_path / "embeddings")


def brute_force(queries: np.ndarray, base: np.ndarray, k: int, metric: str) -> np.ndarray:
    """Rows of the k nearest, one query at a time in float64."""
    found = []
    for query in queries.astype(np.float64):
        if metric == "l2":
            score = -((base - query) ** 2).sum(1)
        elif metric == "ip":
            score = base @ query
        else:
            score = (base @ query) / (np.linalg.norm(base, axis=1) * np.linalg.norm(query))
        found.append(np.argsort(-score)[:k])
    return np.asarray(found)


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
def test_exact_search_agrees_with_brute_force(metric) -> None:
    index = aekit.build_index(VECTORS, metric=metric)
    queries = RNG.normal(size=(50, 12)).astype(np.float32)
    scores, rows = index.search(queries, 7)
    assert np.array_equal(rows, brute_force(queries, VECTORS, 7, metric))
    ordered = np.diff(scores, axis=1)
    assert (ordered >= 0).all() if metric == "l2" else (ordered <= 0).all()
    assert index.manifest["recall"] == 1.0


def test_a_sample_is_left_out_of_its_own_neighbours() -> None:
    doubled = np.concatenate([VECTORS[:100], VECTORS[:5]])
    index = aekit.build_index(doubled)
    scores, rows = index.search_ids(["0", "50"], 3)
    assert rows.shape == scores.shape == (2, 3)
    assert rows[0, 0] == 100, "its duplicate comes first"
    assert 0 not in rows[0] and 50 not in rows[1]


def test_zero_vectors_give_no_nan() -> None:
    vectors = VECTORS[:20].copy()
    vectors[3] = 0
    scores, _ = aekit.build_index(vectors).search(np.zeros((1, 12), np.float32), 5)
    assert np.isfinite(scores).all()


def test_k_is_clipped_and_widths_are_checked() -> None:
    index = aekit.build_index(VECTORS[:4])
    assert index.search(VECTORS[:1], 10)[1].shape == (1, 4)
    assert index.search_ids(["2"], 10)[1].tolist()[0].count(-1) == 0
    with pytest.raises(DataError, match=r"queries of shape \(1, 5\): the index holds vectors of 12 numbers"):
        index.search(np.zeros(5), 3)
    with pytest.raises(DataError, match="id:7: no such id in the index"):
        index.search_ids(["7"])


def test_recall_of_an_approximate_index_is_measured_and_tuned() -> None:
    low = aekit.build_index(VECTORS, options={"kind": "IVF64,Flat", "nprobe": 1})
    tuned = aekit.build_index(VECTORS, options={"kind": "IVF64,Flat", "target_recall": 0.99})
    assert low.manifest["recall"] < 0.99 <= tuned.manifest["recall"]
    rows = np.linspace(0, 2999, 200).astype(int)
    truth = [
        [r for r in near if r != own][:10] for near, own in zip(brute_force(VECTORS[rows], VECTORS, 11, "cosine"), rows)
    ]
    _, found = low.search(VECTORS[rows], 11)
    near = [[r for r in line if r != own][:10] for line, own in zip(found.tolist(), rows)]
    measured = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(near, truth)])
    assert low.manifest["recall"] == pytest.approx(measured, abs=0.002)


def test_kinds_follow_from_the_size() -> None:
    assert choose_kind(1_000, 64)[0] == choose_kind(100_000, 128)[0] == "Flat"
    assert choose_kind(1_000_000, 128)[0] == "IVF4096,SQfp16"
    assert choose_kind(10_000_000, 128)[0] == "IVF16384,SQfp16"
    assert choose_kind(100_000_000, 128)[0] == "IVF65536,SQ8"
    kind, why = choose_kind(60_000, 4096)
    assert kind == "IVF1024,SQfp16" and "1024 lists" in why
    with pytest.raises(RecipeError, match="use a server such as Milvus"):
        choose_kind(1_000_000_000, 128)
    with pytest.raises(RecipeError, match="index kind 'IVFx,Flatt'"):
        aekit.build_index(VECTORS, options={"kind": "IVFx,Flatt"})
    with pytest.raises(RecipeError, match="needs 4096 vectors or more, found 3000"):
        aekit.build_index(VECTORS, options={"kind": "IVF4096,Flat"})


def test_a_stored_index_opens_and_answers_alike(embedded: aekit.Embeddings, tmp_path: Path) -> None:
    for kind in ("Flat", "IVF8,SQ8"):
        folder = tmp_path / kind.partition(",")[0]
        built = aekit.build_index(embedded, folder, options={"kind": kind})
        opened = aekit.open_index(folder)
        assert opened.manifest["settings"]["kind"] == kind
        for ours, theirs in zip(built.search(embedded.vectors[:9], 5), opened.search(embedded.vectors[:9], 5)):
            assert np.array_equal(ours, theirs)
        assert np.array_equal(built.search_ids(["3"], 5)[1], opened.search_ids(["3"], 5)[1])
        assert sorted(p.name for p in folder.iterdir()) == ["encoder", "ids.parquet", "index.faiss", "manifest.json"]


def test_raw_data_is_embedded_by_the_encoder_inside(embedded: aekit.Embeddings, tmp_path: Path) -> None:
    aekit.build_index(embedded, tmp_path / "index")
    index = aekit.open_index(tmp_path / "index")
    np.save(tmp_path / "queries.npy", VECTORS[[3, 8]])
    names, _, rows = index.search_data(str(tmp_path / "queries.npy"), 4)
    assert names == ["0", "1"] and rows[:, 0].tolist() == [3, 8]
    assert index.hits(names, *index.search_data(VECTORS[[3]], 2)[1:])[0]["id"] == "3"


def test_an_encoder_of_equal_width_is_refused(encoder: aekit.Encoder, embedded: aekit.Embeddings) -> None:
    index, other = aekit.build_index(embedded), encoder.randomised(3)
    assert other.dim == encoder.dim
    with pytest.raises(IdentityError, match=f"this index comes from encoder {encoder.digest[:12]}"):
        index.search_data(VECTORS[:2], encoder=other)
    with pytest.raises(IdentityError, match=other.digest[:12]):
        index.search(other.embed(VECTORS[:2]))


def test_a_grown_set_is_added_to_and_a_changed_one_built_again(
    encoder: aekit.Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from aekit.cli.console import Lines

    first = aekit.ArraySource(VECTORS[:300], ids=[f"s{i}" for i in range(300)])
    grown = aekit.ArraySource(VECTORS[:400], ids=[f"s{i}" for i in range(400)])
    folder = tmp_path / "index"
    aekit.build_index(encoder.embed(first), folder)
    assert len(aekit.build_index(encoder.embed(grown), folder, progress=Lines())) == 400
    assert "adding 100 new vectors to the 300 indexed ones" in capsys.readouterr().err
    opened = aekit.open_index(folder)
    assert len(opened) == 400 and opened.ids[399] == "s399"
    assert opened.search_data(VECTORS[350:351], 1)[2][0, 0] == 350

    changed = VECTORS[:400].copy()
    changed[5] += 3
    again = aekit.ArraySource(changed, ids=[f"s{i}" for i in range(400)])
    aekit.build_index(encoder.embed(again), folder, progress=Lines())
    assert "building the index again" in capsys.readouterr().err
    assert aekit.open_index(folder).search_data(changed[5:6], 1)[2][0, 0] == 5
    aekit.build_index(encoder.embed(again), folder, progress=Lines())
    assert "nothing new to index" in capsys.readouterr().err


def test_another_encoders_embeddings_leave_the_index_as_it_is(
    encoder: aekit.Encoder, embedded: aekit.Embeddings, tmp_path: Path
) -> None:
    aekit.build_index(embedded, tmp_path / "index")
    before = {p: p.read_bytes() for p in (tmp_path / "index").rglob("*") if p.is_file()}
    with pytest.raises(IdentityError, match="the index in"):
        aekit.build_index(encoder.randomised(1).embed(VECTORS[:10]), tmp_path / "index")
    assert before == {p: p.read_bytes() for p in (tmp_path / "index").rglob("*") if p.is_file()}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds other things than an index"):
        aekit.build_index(embedded, tmp_path / "other")


def spoil_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"digest": "0" * 64}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: (f / "index.faiss").write_bytes((f / "index.faiss").read_bytes()[:100]),
            r"index\.faiss: is damaged",
        ),
        (lambda f: (f / "index.faiss").unlink(), r"index\.faiss: is missing"),
        (lambda f: (f / "ids.parquet").write_bytes(b"x"), r"ids\.parquet: is damaged"),
        (lambda f: (f / "manifest.json").write_text("{"), r"manifest\.json: is damaged"),
        (spoil_manifest, "comes from encoder 000000000000"),
    ],
    ids=["truncated", "no index file", "damaged ids", "damaged manifest", "another digest"],
)
def test_damage_is_found_before_faiss_opens_anything(
    embedded: aekit.Embeddings, tmp_path: Path, damage, message
) -> None:
    folder = tmp_path / "index"
    aekit.build_index(embedded, folder)
    damage(folder)
    with pytest.raises(IdentityError, match=message):
        aekit.open_index(folder)
    with pytest.raises(DataError, match="no index here"):
        aekit.open_index(tmp_path)


def test_without_its_encoder_it_says_so(embedded: aekit.Embeddings, tmp_path: Path) -> None:
    aekit.build_index(embedded, tmp_path / "index")
    shutil.rmtree(tmp_path / "index" / "encoder")
    with pytest.raises(DataError, match="has no encoder beside it"):
        aekit.open_index(tmp_path / "index").search_data(VECTORS[:1])


WIDE = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "avx2", "fma"}


@pytest.mark.parametrize(
    ("reported", "flags", "environment", "expected"),
    [
        ("Prescott", WIDE, {}, "SkylakeX"),
        ("Zen", WIDE, {}, "SkylakeX"),
        ("SkylakeX", WIDE, {}, None),
        ("Prescott", {"avx2", "fma"}, {}, "Haswell"),
        ("Haswell", {"avx2", "fma"}, {}, None),
        ("Prescott", {"sse4_2"}, {}, None),
        ("Prescott", {"avx512f", "avx2"}, {}, None),
        ("Prescott", WIDE, {"OPENBLAS_CORETYPE": "Haswell"}, None),
        ("armv8", set(), {}, None),
        (None, WIDE, {}, None),
    ],
)
def test_the_blas_core_is_raised_only_where_that_is_safe(reported, flags, environment, expected) -> None:
    assert better_core(reported, flags, environment) == expected
