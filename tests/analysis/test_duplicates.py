"""Exact and near duplicates."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from PIL import Image

import aekit
from aekit.analysis._perceptual_hash import SIDE, SYMMETRIES, gray_thumbnails, lay, window_hashes
from aekit.data.readers._folder_walk import is_output
from aekit.errors import AekitError, DataError
from aekit.visualization.sample_page import NumericThumbnails


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Draw an image of colored blotches, as different for each seed as photographs are."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 30 images and changed copies of some."""
    folder = tmp_path_factory.mktemp("album")
    for seed in range(30):
        scene(seed).save(folder / f"{seed:02}.png")
    (folder / "a-equal.png").write_bytes((folder / "00.png").read_bytes())
    scene(1).save(folder / "b-encoded.jpg", quality=40)
    scene(2).resize((80, 60)).save(folder / "c-small.png")
    scene(3).resize((320, 240)).save(folder / "d-large.png")
    scene(4).rotate(90, expand=True).save(folder / "e-rotated.png")
    scene(5).rotate(180).save(folder / "f-rotated.png")
    scene(6).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "g-mirrored.png")
    scene(7).crop((10, 5, 150, 110)).save(folder / "h-cropped.png")
    scene(8).crop((0, 0, 128, 96)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((320, 240)).save(
        folder / "i-both.png"
    )
    return folder


EXPECTED = {
    ("00.png", "a-equal.png"): "equal",
    ("01.png", "b-encoded.jpg"): "re-encoded",
    ("02.png", "c-small.png"): "resized",
    ("d-large.png", "03.png"): "resized",
    ("04.png", "e-rotated.png"): "rotated by 90 degrees",
    ("05.png", "f-rotated.png"): "rotated by 180 degrees",
    ("06.png", "g-mirrored.png"): "mirrored",
    ("07.png", "h-cropped.png"): "cropped",
    ("i-both.png", "08.png"): "mirrored, cropped",
}
"""The image to keep and its duplicate -> the kind."""


GRAY = np.array([0.299, 0.587, 0.114])


def test_images_in_other_colors_are_no_duplicates_but_gray_copies_are() -> None:
    """Hearts in red and green have one shape and nearly one brightness; a gray copy of a photograph still shows it."""
    colored = [np.asarray(scene(seed)).transpose(2, 0, 1).astype(float) for seed in range(3)]
    gray = [np.tensordot(GRAY, image, 1) for image in colored]
    complementary = 2 * gray[0] - colored[0]  # of equal brightness
    images = [*colored, complementary, np.stack([gray[1]] * 3), colored[2][:, ::-1, ::-1]]
    pixels = np.stack([np.clip(np.rint(image), 0, 255).astype(np.uint8) for image in images])
    assert gray_correlation(pixels[0], pixels[3]) > 0.95
    assert aekit.find_duplicates(pixels, progress=False).groups == [["1", "4"], ["2", "5"]]


def gray_correlation(*images: np.ndarray) -> float:
    first, second = (gray_thumbnails(image[None]).reshape(-1).astype(float) for image in images)
    return float(np.corrcoef(first, second)[0, 1])


def test_changed_copies_are_found_named_and_the_best_is_kept(album: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in album.iterdir()}
    found = aekit.find_duplicates(album)
    kinds = {row["id"]: row["kind"].replace("270", "90") for row in found.rows}
    assert {tuple(group): kinds[group[1]] for group in found.groups} == EXPECTED
    reasons = {row["id"]: row["reason"] for row in found.rows if row["keep"]}
    assert reasons["d-large.png"].startswith("most pixels (320x240, ")
    assert reasons["01.png"].startswith("largest file (160x120, ") and reasons["00.png"].startswith("first (160x120")
    assert before == {path.name: path.stat().st_mtime_ns for path in album.iterdir()}, "nothing is deleted or changed"
    assert found.samples == 39 and "9 of 39 samples are duplicates of others, 1 of them exact" in found.text()
    assert found.image is not None and len(found.to_pandas()) == 18


def test_between_two_folders(album: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    scene(4).rotate(180).resize((400, 300)).save(other / "x.png")
    scene(9).save(other / "y.png")
    scene(99).save(other / "z.png")
    scene(99).save(other / "zz.png")
    found = aekit.find_duplicates(album, other)
    assert found.groups == [["04.png", "e-rotated.png", "x.png"], ["09.png", "y.png"]], (
        "not z and zz, both of one folder"
    )
    assert [row["data"] for row in found.rows] == [1, 1, 2, 1, 2]
    assert [row["keep"] for row in found.rows] == [True, False, False, True, False]
    assert found.rows[0]["reason"].startswith("in the first data set")


def test_images_without_duplicates_and_unusable_ones(tmp_path: Path) -> None:
    for seed in range(12):
        scene(seed).save(tmp_path / f"{seed}.png")
    for name, value in (("white", 255), ("gray", 128)):
        Image.new("RGB", (100, 100), (value,) * 3).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    found = aekit.find_duplicates(tmp_path)
    assert found.groups == [] and found.rows == [] and found.image is None and "No duplicates among 15" in str(found)
    assert found.notes == ["3 images cannot be read or have a single color: compared by their content only"]
    assert len(found.to_pandas()) == 0


def test_hashes_follow_the_eight_symmetries() -> None:
    image = np.asarray(scene(0, (SIDE, SIDE))).transpose(2, 0, 1)[None]
    thumbnail = gray_thumbnails(image)[0]
    hashes = window_hashes(thumbnail[None])[0, 0]
    assert len({bits.tobytes() for bits in hashes}) == 8
    for number, name in enumerate(SYMMETRIES):
        turned = window_hashes(np.ascontiguousarray(lay(thumbnail, number))[None])[0, 0, 0]
        assert np.unpackbits(turned ^ hashes[number]).sum() <= 2, name
    drawing = Image.fromarray(thumbnail)
    for name, way in (
        ("rotated by 90 degrees", drawing.rotate(90)),
        ("mirrored", drawing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        ("transposed", drawing.transpose(Image.Transpose.TRANSPOSE)),
    ):
        assert np.array_equal(lay(thumbnail, SYMMETRIES.index(name)), np.asarray(way)), name


def test_arrays_of_any_dtype() -> None:
    pixels = np.stack([np.asarray(scene(seed, (40, 30))).transpose(2, 0, 1) for seed in range(10)])
    pixels[7] = pixels[2][:, ::-1]
    for images in (pixels, pixels.astype(np.uint16) * 257, pixels[:, :1] / np.float32(255)):
        found = aekit.find_duplicates(images)
        assert found.groups == [["2", "7"]] and found.rows[1]["kind"] == "flipped upside down"


def test_vectors_are_compared_by_distance_and_tables_by_content(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 16)).astype(np.float32)
    vectors[50], vectors[60] = vectors[10], vectors[20] + 0.02
    embeddings = aekit.Embeddings.from_array(vectors)
    found = aekit.find_duplicates(embeddings)
    assert found.groups == [["10", "50"], ["20", "60"]]
    assert [row["kind"] for row in found.rows] == ["", "equal", "", "near"] and found.rows[3]["similarity"] > 0.9
    between = aekit.find_duplicates(embeddings[:55], aekit.Embeddings.from_array(vectors[55:]))
    assert between.groups == [["20", "5"]], "row 60 is row 5 of the others; 10 and 50 are both of the first"
    table = aekit.find_duplicates(vectors)
    assert table.groups == [["10", "50"]] and "near duplicates need images, or embeddings" in table.text()


@pytest.mark.parametrize("shape", [(6,), (2, 40)])
def test_the_page_draws_embedded_series_and_vectors(shape: tuple[int, ...], tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(size=(30, *shape)).astype(np.float32)
    samples[7], samples[20] = samples[3], samples[3]
    np.save(tmp_path / "old.npy", samples)
    np.save(tmp_path / "new.npy", samples[[3, 5]])
    encoder = aekit.fit(tmp_path / "old.npy", dim=2, epochs=1, out=tmp_path / "run", report=False)
    old, new = (encoder.embed(tmp_path / f"{name}.npy", out=tmp_path / name) for name in ("old", "new"))
    page = aekit.find_duplicates(old).page
    assert page is not None and page.thumbnails is not None and len(page.sections[0].samples) == 3
    between = aekit.find_duplicates(old, new).page
    assert between is not None and between.thumbnails is not None
    assert [len(section.samples) for section in between.sections] == [4, 2]
    drawn = between.thumbnails
    assert isinstance(drawn, NumericThumbnails)
    assert len(base64.b64decode(drawn.values)) == 6 * drawn.channels * drawn.points
    bare = aekit.find_duplicates(np.asarray(old)).page
    assert bare is not None and bare.thumbnails is None


def test_embeddings_of_images_add_candidates_and_pixels_decide(album: Path, tmp_path: Path) -> None:
    encoder = aekit.fit(album, backbone="linear", dim=4, epochs=1)
    embeddings = encoder.embed(album, out=tmp_path / "e")
    found = aekit.find_duplicates(tmp_path / "e")
    assert {tuple(group) for group in found.groups} == set(EXPECTED)
    assert aekit.find_duplicates(embeddings, album).notes[0].startswith("embeddings were not compared")
    other = aekit.fit(album, backbone="linear", dim=4, epochs=1, seed=1)
    with pytest.raises(AekitError, match="this embedding"):
        aekit.find_duplicates(embeddings, other.embed(album))


def test_the_command(command: Command, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name in ("=1+1.png", "b.png"):
        scene(0).save(tmp_path / "x" / name)
    scene(1).save(tmp_path / "x" / "c.png")
    output = command.ok("duplicates", tmp_path / "x", "-o", tmp_path / "out", "-q")
    assert "1 of 3 samples are duplicates of others, 1 of them exact" in output and "Nothing was deleted" in output
    with (tmp_path / "out" / "duplicates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["keep"], row["id"]) for row in rows] == [("yes", "'=1+1.png"), ("no", "b.png")]
    assert (tmp_path / "out" / "image.png").exists() and is_output(tmp_path / "out"), "no image of it is taken for data"
    summary = json.loads(
        command.ok("duplicates", tmp_path / "x", tmp_path / "x", "-o", tmp_path / "o2", "-q", "--json")
    )
    assert summary["groups"] == 2 and summary["samples"] == 6
    assert "no such file" in command("duplicates", tmp_path / "nowhere", "-o", tmp_path / "o3").error
    with pytest.raises(DataError):
        aekit.find_duplicates({}, album)
