"""Indexes of a stranger: no file outside the folder is opened or written, and contradictions are refused before a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from aekit_plugins.indexes import faiss_index
from resealing import reseal, reseal_files

import aekit
from aekit.errors import IdentityError

DIM, COUNT = 16, 300
KEPT: list[Any] = []
"""Parts that FAISS refers to without owning them."""
VECTORS = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    aekit.build_index(VECTORS, tmp_path / "index", options={"kind": "IVF8,Flat"})
    return tmp_path / "index"


def replace(folder: Path, index: Any = None, **changes: Any) -> None:
    """Replace the index or entries of the manifest, as a stranger who knows the format would."""
    if index is not None:
        faiss.write_index(index, str(folder / "index.faiss"))
    reseal_files(folder / "manifest.json")
    reseal(folder / "manifest.json", **changes)


def on_disk(path: Path, dim: int = DIM) -> Any:
    """An IVF index whose lists are in a file of its own."""
    index = faiss.index_factory(dim, "IVF8,Flat")
    vectors = np.ascontiguousarray(np.resize(VECTORS, (COUNT, dim)))
    index.train(vectors)
    index.add(vectors)
    lists = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(path))
    pointers = faiss.InvertedListsPtrVector()
    pointers.push_back(index.invlists)
    lists.merge_from_multiple(pointers.data(), 1, False)
    index.replace_invlists(lists, False)
    KEPT.append(lists)
    return index


def nested(how: str, path: Path) -> Any:
    """An index with on-disk lists somewhere inside."""
    inner = on_disk(path)
    if how == "alone":
        return inner
    if how == "refined":
        flat = faiss.IndexFlatL2(DIM)
        flat.add(VECTORS)
        outer = faiss.IndexRefine(inner, flat)
    elif how == "transformed":
        outer = faiss.IndexPreTransform(inner)
        outer.prepend_transform(faiss.NormalizationTransform(DIM))
        outer.ntotal = COUNT
    else:
        outer = faiss.IndexIVFFlat(inner, DIM, COUNT)
        outer.is_trained = True
        outer.quantizer_trains_alone = 1
        outer.add(VECTORS)
    KEPT.append(inner)
    return outer


@pytest.mark.parametrize("place", ["outside", "inside", "missing"])
@pytest.mark.parametrize("how", ["alone", "refined", "transformed", "quantizer"])
def test_an_index_that_names_a_file_is_refused_and_the_file_is_left_alone(
    how: str, place: str, folder: Path, tmp_path: Path
) -> None:
    victim = (folder if place == "inside" else tmp_path) / "victim.txt"
    replace(folder, nested(how, victim))
    if place == "missing":
        victim.unlink()
    else:
        victim.write_bytes(b"mine" * 100_000)
    with pytest.raises(IdentityError, match=r"names another file, 'victim.txt'|FAISS cannot read it"):
        aekit.open_index(folder)
    assert place == "missing" or victim.read_bytes() == b"mine" * 100_000
    if place == "inside":
        victim.unlink()  # a file that is no part of an index is in the way of a new one
    rebuilt = aekit.build_index(VECTORS, folder, options={"kind": "IVF8,Flat"})
    assert len(rebuilt) == COUNT and (place != "outside" or victim.read_bytes() == b"mine" * 100_000)


def test_types_that_aekit_does_not_build_are_refused(folder: Path) -> None:
    shards = faiss.IndexIDMap(faiss.IndexFlatL2(DIM))
    shards.add_with_ids(VECTORS, np.arange(COUNT))
    replace(folder, shards)
    with pytest.raises(
        IdentityError, match="a part of type IndexIDMap, which aekit does not open; build the index again"
    ):
        aekit.open_index(folder)


def test_parts_that_contradict_each_other_are_refused(folder: Path) -> None:
    graph = faiss.IndexHNSWFlat(DIM, 16)
    graph.add(VECTORS)
    short = faiss.IndexFlatL2(DIM)
    short.add(VECTORS[:10])
    graph.storage, graph.own_fields = short, False
    replace(folder, graph)
    with pytest.raises(IdentityError, match=r"ntotal 10 != index ntotal 300|of 300 entries has a part of 10"):
        aekit.open_index(folder)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"file": "../secret.faiss"}, "file: '../secret.faiss' is not a name inside the folder"),
        ({"file": "/etc/passwd"}, "file: '/etc/passwd' is not a name inside the folder"),
        ({"sha256": {}}, "sha256: has no entry for 'index.faiss'"),
        (
            {"sha256": {"../x": "0" * 64, "index.faiss": "0" * 64, "ids.parquet": "0" * 64}},
            "'../x' is not a name inside the folder",
        ),
        ({"metric": "manhattan"}, "metric: Input should be 'cosine', 'l2' or 'ip'"),
        ({"count": 299}, "counts 299 vectors, ids.parquet has 300"),
        ({"count": -1}, "count: Input should be greater than or equal to 1"),
        ({"dim": 17}, "has 300 rows of 16 dimensions, the manifest says 300 of 17"),
        ({"digest": 7}, "digest: Input should be a valid string"),
        ({"engine": "faiss"}, "engine: Input should be a valid dictionary"),
        ({"settings": {}}, "settings: have no 'kind'"),
    ],
)
def test_a_manifest_is_checked_before_anything_is_opened(changes: dict[str, Any], problem: str, folder: Path) -> None:
    replace(folder, **changes)
    with pytest.raises(IdentityError) as refused:
        aekit.open_index(folder)
    assert problem in str(refused.value) and "\n" not in str(refused.value)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "index.faiss").rename(tmp_path / "elsewhere.faiss")
    (folder / "index.faiss").symlink_to(tmp_path / "elsewhere.faiss")
    with pytest.raises(IdentityError, match=r"index.faiss: is a link"):
        aekit.open_index(folder)


@pytest.mark.parametrize("kind", ["IVF8,Flat", "IVF8,PQ4x4fs"])
@pytest.mark.parametrize("row", [-7, COUNT])
def test_rows_that_the_index_does_not_have_are_refused(
    kind: str, row: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = faiss.index_factory(DIM, kind, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(VECTORS)
    rows = np.arange(COUNT)
    rows[17] = row
    index.add_with_ids(VECTORS, rows)
    replace(folder, index)
    with pytest.raises(IdentityError, match=rf"list \d holds rows -?\d+ to \d+ of {COUNT}; build the index again"):
        aekit.open_index(folder)
    if kind.endswith("Flat"):  # a mapped file is not read, so what a search finds in it is looked at
        monkeypatch.setattr(faiss_index, "MEMORY_MAP_BYTES", 0)
        mapped = aekit.open_index(folder)
        with pytest.raises(IdentityError, match=rf"it finds rows -?\d+ to \d+ of {COUNT}"):
            mapped.search(VECTORS[17], COUNT)


def test_what_a_search_finds_is_looked_at_only_where_rows_may_be_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = aekit.open_index(folder)
    assert index.engine.has_checked_rows
    monkeypatch.setattr(index.engine, "search", lambda queries, k: (np.zeros((1, k)), np.full((1, k), COUNT)))
    assert index.search(VECTORS[0], 2).rows.tolist() == [[COUNT, COUNT]]
    monkeypatch.setattr(index.engine, "has_checked_rows", False)
    with pytest.raises(IdentityError, match=f"it finds rows {COUNT} to {COUNT} of {COUNT}"):
        index.search(VECTORS[0], 2)
