"""The store: resumable, incremental, of one encoder, in bounded memory."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from commands import FAST, Said
from PIL import Image
from resealing import reseal

import aekit
from aekit.data.source import ArraySource
from aekit.encoder import parquet_store as store
from aekit.encoder._parquet_parts import FORMAT
from aekit.encoder.embedding import BatchEmbedder
from aekit.encoder.makers import encoder_of
from aekit.encoder.opening import open_embeddings
from aekit.errors import DataError, DataWarning, IdentityError, OutputError, RecipeError


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 1, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder(images: np.ndarray) -> aekit.Encoder:
    return aekit.fit(images, dim=6, overrides=FAST)


def folder_of_images(folder: Path, count: int, first: int = 0) -> Path:
    for number in range(first, first + count):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        path = folder / ("even" if number % 2 == 0 else "odd") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(path)
    return folder


def held(folder: Path) -> dict[str, np.ndarray]:
    """Id -> vector, after asserting that no id is there twice."""
    opened = aekit.Embeddings.open(folder)
    assert len(set(opened.ids)) == len(opened.ids) == len(opened)
    return dict(zip(opened.ids, opened.vectors))


def test_embeddings_open_from_a_path_an_object_or_an_array(
    encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path
) -> None:
    stored = encoder.embed(images[:9], out=tmp_path / "e")
    assert open_embeddings(stored) is stored
    for path in (tmp_path / "e", str(tmp_path / "e")):
        assert open_embeddings(path).digest == encoder.digest
    vectors = stored.vectors
    for array in (vectors, vectors.tolist(), torch.from_numpy(vectors).requires_grad_(), pd.DataFrame(vectors)):
        opened = open_embeddings(array)
        assert np.array_equal(opened.vectors, vectors)
        assert opened.digest == open_embeddings(vectors).digest
        assert len(aekit.build_index(array)) == 9


@pytest.mark.parametrize("value", [None, 3, {"vectors": []}, object()])
def test_other_types_are_not_embeddings(value: object) -> None:
    for function in (open_embeddings, aekit.build_index):
        with pytest.raises(
            DataError, match=r"embeddings of type \w+: expected a path, Embeddings or an array \(N, D\)$"
        ):
            function(value)


def test_in_memory_and_on_disk_agree(encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path) -> None:
    memory = encoder.embed(images)
    disk = encoder.embed(images, out=tmp_path / "e", batch_size=64)
    assert np.allclose(memory.vectors, disk.vectors, atol=1e-5)
    assert list(memory.ids) == list(disk.ids) == [str(i) for i in range(300)]
    assert np.asarray(memory).shape == (300, 6) and np.asarray(disk).dtype == np.float32
    assert disk.digest == encoder.digest
    (part,) = (tmp_path / "e").glob("part-*.parquet")
    schema = pq.read_schema(part)
    assert str(schema.field("vector").type).startswith("fixed_size_list") and schema.metadata[b"aekit.digest"].decode()


def test_labels_splits_and_the_encoder_travel_along(encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path) -> None:
    splits = np.asarray(["train"] * 200 + ["test"] * 100)
    source = ArraySource(images, labels=np.arange(300) % 3, splits=splits)
    encoder.embed(source, out=tmp_path / "e")
    opened = aekit.Embeddings.open(tmp_path / "e")
    assert opened.labels.tolist() == (np.arange(300) % 3).tolist()
    assert opened.splits.tolist() == splits.tolist()
    assert opened.ids[200] == "test-0"
    assert encoder_of(opened).digest == encoder.digest
    only = encoder.embed(source, split="test")
    assert len(only) == 100
    with pytest.raises(DataError, match="no samples in split 'tset'; available: test, train"):
        encoder.embed(source, split="tset")
    for size in (0, -1):  # the first was as many as suit, the second "none of 300 samples can be used"
        with pytest.raises(RecipeError, match=f"batch_size = {size}: expected at least 1"):
            encoder.embed(source, batch_size=size)


def test_many_small_parts_are_one_whole(
    encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART_BYTES", 1)
    encoder.embed(images, out=tmp_path / "e", batch_size=50)
    opened = aekit.Embeddings.open(tmp_path / "e")
    assert [part["rows"] for part in opened.manifest["parts"]] == [50] * 6
    assert np.allclose(opened.vectors, encoder.embed(images).vectors, atol=1e-5)
    assert sum(len(rows.ids) for rows in opened.batches()) == 300


def test_a_grown_folder_embeds_only_what_is_new_or_changed(
    encoder: aekit.Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = folder_of_images(tmp_path / "p", 20), tmp_path / "e"
    encoder.embed(str(data), out=out)
    before = held(out)

    folder_of_images(data, 5, first=20)
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(data / "even" / "004.png")
    (data / "odd" / "001.png").unlink()
    seen: list[int] = []
    forward = aekit.Encoder.forward
    monkeypatch.setattr(aekit.Encoder, "forward", lambda self, raw: (seen.append(len(raw)), forward(self, raw))[1])
    said = Said()
    encoder.embed(str(data), out=out, progress=said)
    assert sum(seen) == 6, "five new and one changed"
    after = held(out)
    assert len(after) == 25 and "odd/001.png" in after
    assert "1 embedded samples are no longer in the data" in said
    assert not np.allclose(after["even/004.png"], before["even/004.png"])
    assert all(np.array_equal(after[name], before[name]) for name in before if name != "even/004.png")

    seen.clear()
    encoder.embed(str(data), out=out, drop_missing=True)
    assert not seen and len(held(out)) == 24 and "odd/001.png" not in held(out)


def test_the_store_plans_appends_and_closes(
    encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store receives rows and calls no embedder, and only closing it completes the folder."""
    monkeypatch.setattr(store, "PART_BYTES", 1)
    source, out = ArraySource(images), tmp_path / "e"
    manifest = {"format": FORMAT, "digest": encoder.digest, "dim": encoder.dim, "origin": None, "split": None}
    encoder.copy_to(out / "encoder")
    embedder = BatchEmbedder(encoder.eval(), source, batch_size=64, strict=False)

    first = store.Store(out, manifest, source)
    plan = first.plan(np.arange(100), False, Said())
    assert plan.todo.tolist() == list(range(100)) and plan.done == 0
    for rows in embedder.embed(plan.todo):
        first.append(rows)
    with pytest.raises(DataError, match="was interrupted; run aekit embed again"):
        aekit.Embeddings.open(out)
    first.close()
    assert len(held(out)) == 100

    said = Said()
    again = store.Store(out, manifest, source)
    plan = again.plan(np.arange(90, 300), True, said)
    assert plan.todo.tolist() == list(range(100, 300)) and plan.done == 10
    assert "10 of 210 samples are embedded already" in said
    for rows in embedder.embed(plan.todo):
        again.append(rows)
    again.close()
    assert set(held(out)) == {str(number) for number in range(90, 300)}


def test_another_encoder_is_refused_at_equal_width_and_loses_nothing(
    encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path
) -> None:
    encoder.embed(images, out=tmp_path / "e")
    other = encoder.with_random_weights(5)
    with pytest.raises(IdentityError, match=other.digest[:12]):
        other.embed(images, out=tmp_path / "e")
    assert len(held(tmp_path / "e")) == 300


def test_damaged_and_missing_parts_are_found(encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path) -> None:
    encoder.embed(images, out=tmp_path / "e")
    (part,) = (tmp_path / "e").glob("part-*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:-200] + b"x" * 200)
    with pytest.raises(IdentityError, match="is damaged"):
        _ = aekit.Embeddings.open(tmp_path / "e").vectors
    part.unlink()
    with pytest.raises(IdentityError, match="is missing"):
        aekit.Embeddings.open(tmp_path / "e")
    with pytest.raises(DataError, match="no embeddings here"):
        aekit.Embeddings.open(tmp_path)


def test_bad_samples_are_skipped_listed_and_counted(encoder: aekit.Encoder, tmp_path: Path) -> None:
    data = folder_of_images(tmp_path / "p", 6)
    (data / "odd" / "broken.png").write_text("this is no image")
    found = encoder.embed(str(data), out=tmp_path / "e")
    assert len(found) == 6 and found.manifest["skipped"] == 1
    listed = (tmp_path / "e" / "skipped.csv").read_text().splitlines()
    assert listed[0] == "id,reason" and listed[1].startswith("odd/broken.png,")
    with pytest.raises(DataError, match=r"odd/broken\.png: .*\(strict\)"):
        encoder.embed(str(data), strict=True)


def test_killed_in_the_middle_it_goes_on_with_nothing_lost_or_doubled(encoder: aekit.Encoder, tmp_path: Path) -> None:
    data, out = folder_of_images(tmp_path / "p", 60), tmp_path / "e"
    encoder.save(tmp_path / "encoder")
    code = (
        "import time, aekit, sys; from aekit.encoder import parquet_store as s; s.PART_BYTES = 1\n"
        "w = s.Store._write\n"
        "s.Store._write = lambda self, rows: (w(self, rows), time.sleep(0.05))[0]\n"
        "aekit.load(sys.argv[1]).embed(sys.argv[2], out=sys.argv[3], batch_size=2)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "encoder"), str(data), str(out)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while len(list(out.glob("part-*.parquet"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(out.glob("part-*.parquet")))
    assert 5 <= done < 30
    with pytest.raises(DataError, match="was interrupted; run aekit embed again"):
        aekit.Embeddings.open(out)

    said = Said()
    encoder.embed(str(data), out=out, progress=said)
    assert f"{2 * done} of 60 samples are embedded already" in said
    assert set(held(out)) == {p.relative_to(data).as_posix() for p in data.rglob("*.png")}
    whole = encoder.embed(str(data))
    for name, vector in zip(whole.ids, whole.vectors):
        assert np.allclose(held(out)[name], vector, atol=1e-5)
    assert not list(out.glob("*.part"))


def test_an_embedding_that_is_not_finite_is_named(encoder: aekit.Encoder) -> None:
    table = np.random.default_rng(0).normal(size=(30, 4))
    small = aekit.fit(table, variants=["plain"], dim=2, overrides=FAST)
    table[7] = 1e38
    table[7, 0] = -1e38
    with pytest.raises(DataError, match="7: its embedding is not finite"):
        small.embed(table * 3)


def test_embedding_again_restores_a_damaged_part(encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path) -> None:
    whole = encoder.embed(images, out=tmp_path / "e").vectors
    (part,) = (tmp_path / "e").glob("part-*.parquet")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.warns(DataWarning, match=r"part-00000\.parquet: is damaged .*its samples are embedded again"):
        again = encoder.embed(images, out=tmp_path / "e")
    assert np.array_equal(again.vectors, whole) and len(aekit.Embeddings.open(tmp_path / "e")) == len(images)


def test_parts_of_another_encoder_are_refused_and_kept(
    encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path
) -> None:
    encoder.embed(images, out=tmp_path / "e")
    shutil.rmtree(tmp_path / "e" / "encoder")
    (part,) = (tmp_path / "e").glob("part-*.parquet")
    before = part.read_bytes()
    with pytest.raises(IdentityError, match="comes from encoder"):
        encoder.with_random_weights(5).embed(images, out=tmp_path / "e")
    assert part.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"count": 299}, "count: 299, but the parts have 300 rows"),
        ({"dim": 10**12}, "dim: Input should be less than or equal to"),
        ({"dim": 5}, "vectors of type"),
        ({"digest": "0" * 64}, "comes from encoder 000000000000"),
        ({"parts": []}, "parts: List should have at least 1 item"),
        ({"origin": "x"}, "origin: Input should be a valid dictionary"),
    ],
)
def test_a_manifest_that_contradicts_its_parts_is_refused(
    changes: dict[str, Any], problem: str, encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path
) -> None:
    encoder.embed(images, out=tmp_path / "e")
    reseal(tmp_path / "e" / "manifest.json", **changes)
    with pytest.raises(IdentityError, match=problem):
        _ = aekit.Embeddings.open(tmp_path / "e").vectors


def test_a_part_that_is_listed_twice_or_elsewhere_is_refused(
    encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path
) -> None:
    encoder.embed(images, out=tmp_path / "e")
    path = tmp_path / "e" / "manifest.json"
    (part,) = json.loads(path.read_text())["parts"]
    reseal(path, parts=[part, part], count=600)
    with pytest.raises(IdentityError, match="parts: a file is listed twice"):
        aekit.Embeddings.open(tmp_path / "e")
    reseal(path, parts=[part | {"file": "../part-00000.parquet"}], count=300)
    with pytest.raises(IdentityError, match="file: String should match pattern"):
        aekit.Embeddings.open(tmp_path / "e")


@pytest.mark.parametrize(
    "name", ["part-00000.parquet", "video.mp4.part", "recipe.toml", "a.png", "skipped.csv", "manifest.json"]
)
def test_a_folder_that_holds_something_else_is_refused_and_left_as_it_is(
    name: str, encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / name).write_text('{"name": "an app"}')
    with pytest.raises(
        OutputError, match=r"(which is not part of|is not that of) embeddings; choose another folder as out"
    ):
        encoder.embed(images[:40], out=out)
    assert [path.name for path in out.iterdir()] == [name] and (out / name).read_text() == '{"name": "an app"}'


def test_the_folder_of_an_index_is_refused_and_one_in_that_of_embeddings_is_not(
    encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "embeddings"
    encoder.embed(images[:40], out=out)
    aekit.build_index(out, out / "index")
    encoder.embed(images[:40], out=out)
    with pytest.raises(OutputError, match=r"its manifest.json is not that of embeddings"):
        encoder.embed(images[:40], out=out / "index")


@pytest.mark.parametrize(
    "names",
    [
        [".lock"],
        [".lock", "encoder.part", "encoder.part.permissions.part", ".encoder.lock"],
        ["encoder", "manifest.json.7.part"],
    ],
)
def test_what_a_killed_embedding_leaves_is_no_other_content(
    names: list[str], encoder: aekit.Encoder, images: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "embeddings"
    out.mkdir()
    for name in names:
        if name == "encoder":
            encoder.save(out / name)
        elif name == "encoder.part":
            (out / name).mkdir()
        else:
            (out / name).touch()
    assert len(encoder.embed(images[:10], out=out)) == 10
    assert {path.name for path in out.iterdir()} == {"encoder", "manifest.json", "part-00000.parquet", "skipped.csv"}


def test_selected_rows_are_saved_with_their_encoder_and_can_be_extended(
    encoder: aekit.Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aekit.encoder._saving.PART_BYTES", 5 * 4 * encoder.dim)  # five rows a part
    photos = folder_of_images(tmp_path / "photos", 20)
    whole = encoder.embed(photos)
    part = whole[whole.labels == "even"]
    saved = part.save(tmp_path / "part")
    assert len(list((tmp_path / "part").glob("part-*.parquet"))) == 2
    assert np.array_equal(saved.vectors, part.vectors) and list(saved.ids) == list(part.ids)
    assert saved.labels is not None and set(saved.labels) == {"even"} and saved.source() is not None
    assert aekit.load(tmp_path / "part").digest == encoder.digest
    grown = aekit.embed(tmp_path / "part", photos, out=tmp_path / "part")
    assert sorted(grown.ids) == sorted(whole.ids) and np.allclose(grown[list(whole.ids)].vectors, whole.vectors)
    assert np.array_equal(grown.vectors[:10], part.vectors)  # not embedded again
    with pytest.raises(OutputError, match="part: exists already"):
        part.save(tmp_path / "part")


def test_rows_without_an_encoder_or_none_at_all_are_not_saved(encoder: aekit.Encoder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="with their encoder, which these lack"):
        aekit.Embeddings.from_array(np.eye(3)).save(tmp_path / "vectors")
    with pytest.raises(DataError, match="no rows to save"):
        encoder.embed(np.zeros((2, 1, 8, 8), np.uint8))[:0].save(tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_saving_embeddings_of_somebody_else_does_not_vouch_for_their_data(
    encoder: aekit.Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "theirs"))
    encoder.embed(folder_of_images(tmp_path / "photos", 4), out=tmp_path / "e")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mine"))
    with pytest.warns(DataWarning, match="open"):
        aekit.Embeddings.open(tmp_path / "e").save(tmp_path / "copy")
    assert json.loads((tmp_path / "copy/manifest.json").read_text())["origin"] is None
