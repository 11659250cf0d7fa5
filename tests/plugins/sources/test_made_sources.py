"""Data made of other data: MNIST's variations, patches of images, and pairs."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from aekit_plugins.sources.mnist_variations import MnistVariations, rotate_images
from PIL import Image
from scipy.ndimage import rotate

import aekit.data.readers.images as reading
from aekit.data.opening import open_data, reopen
from aekit.data.readers.patches import window_corners
from aekit.data.samples import load_samples
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.testing import conformance

test_mnist_variations = conformance("source", "mnist-variations")
test_noisy_digits = conformance("source", "mnist-variations", {"seed": 3, "max_angle": 90.0})
test_patches = conformance("source", "patches")
test_some_patches = conformance("source", "patches", {"max_per_image": 2, "channels": 3})


def everything(source: Source) -> tuple[np.ndarray, np.ndarray]:
    return source.read(np.arange(len(source)))


# MNIST's variations

DIGITS = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
SMALL = {"train": 20, "validation": 5, "test": 10}


@pytest.fixture
def digits(tmp_path: Path) -> str:
    np.savez(tmp_path / "digits.npz", X=DIGITS, y=np.arange(40) % 10)
    return str(tmp_path / "digits.npz")


def saved(path: Path, images: np.ndarray) -> str:
    np.save(path, images)
    return str(path)


def variation(name: str, digits: str, **options: object) -> Source:
    return open_data(f"mnist-variations:{name}", {"mnist-variations": {"digits": digits, **SMALL, **options}})


def test_turning_agrees_with_scipy() -> None:
    image = np.random.default_rng(0).integers(0, 256, (21, 28), np.uint8)
    angles = np.array([0.0, 17.0, 90.0, 133.3, 270.0, 359.0])
    ours = rotate_images(np.broadcast_to(image, (6, 2, 21, 28)), np.deg2rad(angles))
    assert ours.shape == (6, 2, 21, 28) and ours.dtype == np.uint8
    for angle, found in zip(angles, ours):
        expected = rotate(image.astype(float), angle, reshape=False, order=1, mode="grid-constant")
        for channel in found:
            np.testing.assert_allclose(channel, expected, atol=0.501)


def test_a_quarter_turn_moves_every_pixel_exactly() -> None:
    square = DIGITS[:3, None]
    angles = np.deg2rad([0.0, 90.0, 180.0])
    expected = [np.rot90(square[number, 0], number) for number in range(3)]
    np.testing.assert_array_equal(rotate_images(square, angles)[:, 0], expected)


def test_variations_hold_the_same_digits_in_the_same_order(digits: str) -> None:
    basic, rot, noise = (variation(name, digits) for name in ("basic", "rot", "bg-rand"))
    plain, _ = everything(basic)
    assert basic.spec == rot.spec == SampleSpec("image", (1, 28, 28), "uint8")
    assert list(basic.ids) == list(rot.ids) and basic.ids[0] == "train-0" and basic.ids[34] == "test-9"
    assert {split: len(basic.rows_of(split)) for split in SMALL} == SMALL
    rows = [int(np.flatnonzero(np.equal(DIGITS, image[0]).all(axis=(1, 2)))[0]) for image in plain]
    assert len(set(rows)) == 35, "no digit twice"
    for source in (basic, rot, noise):
        assert source.labels is not None
        np.testing.assert_array_equal(source.labels, np.array(rows) % 10)
    background, _ = everything(variation("bg-rand", saved(Path(digits).with_name("black.npy"), DIGITS * 0)))
    np.testing.assert_array_equal(everything(noise)[0], np.maximum(plain, background))
    both, _ = everything(variation("rot-bg-rand", digits))
    np.testing.assert_array_equal(both, np.maximum(everything(rot)[0], background))


def test_variations_follow_from_their_seed(digits: str) -> None:
    first, again, other = (variation("rot-bg-rand", digits, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(everything(first)[0], everything(again)[0])
    some = np.array([30, 2, 30])
    np.testing.assert_array_equal(first.read(some)[0], everything(first)[0][some])
    assert not np.array_equal(first.labels, other.labels)
    np.testing.assert_array_equal(reopen(first.origin or {}).read(some)[0], first.read(some)[0])


def test_angles_and_noise_are_uniform(tmp_path: Path) -> None:
    black = np.zeros((3000, 28, 28), np.uint8)
    black[:, 13:15, 14:27] = 255  # a hand that points to the right
    made = MnistVariations("rot", digits=saved(tmp_path / "hand.npy", black), train=1000, validation=1000, test=1000)
    images, _ = everything(made)
    y, x = np.mgrid[:28, :28] - 13.5
    weight = images[:, 0].astype(float)
    angles = np.arctan2(-(weight * y).sum((1, 2)), (weight * x).sum((1, 2))) % (2 * np.pi)
    counts, _ = np.histogram(angles, 12, (0, 2 * np.pi))
    assert ((counts - 250) ** 2 / 250).sum() < 31.3, "chi squared of 11 degrees of freedom at 0.1%"
    nothing = saved(tmp_path / "black.npy", black * 0)
    noise, _ = everything(MnistVariations("bg-rand", digits=nothing, train=1000, validation=1000, test=1000))
    counts = np.bincount(noise.ravel(), minlength=256)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 331, "chi squared of 255 at 0.1%"
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.15


def test_what_variations_cannot_be_made_of(digits: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mnist-variations:rott: no such data set; did you mean 'rot'"):
        variation("rott", digits)
    with pytest.raises(DataError, match="holds 40 samples; expected at least 1035"):
        variation("rot", digits, train=1020)
    np.save(tmp_path / "floats.npy", np.zeros((40, 28, 28), np.float32))
    with pytest.raises(DataError, match="expected 8-bit images"):
        variation("rot", str(tmp_path / "floats.npy"))


def test_real_digits(data_dir: Path) -> None:
    source = open_data("mnist-variations:rot", {"mnist-variations": {"digits": str(data_dir / "mnist")}})
    counts = [len(source.rows_of(split)) for split in ("train", "validation", "test")]
    assert counts == [10_000, 2_000, 50_000] and source.labels is not None
    whole = open_data(data_dir / "mnist")
    assert sum(np.bincount(source.labels)) == 62_000 < len(whole)
    assert np.bincount(source.labels[:10_000]).min() > 800
    images, ok = source.read(np.arange(500))
    assert ok.all() and 20 < images.mean() < 45, "as much ink as before, but for corners that leave the frame"


# Patches


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def page(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


@pytest.mark.parametrize(
    ("whole", "window", "stride", "expected"),
    [
        ((8, 8), (4, 4), (4, 4), [(0, 0), (0, 4), (4, 0), (4, 4)]),
        ((9, 4), (4, 4), (4, 4), [(0, 0), (4, 0), (5, 0)]),
        ((4, 7), (4, 4), (4, 2), [(0, 0), (0, 2), (0, 3)]),
        ((4, 4), (4, 4), (1, 1), [(0, 0)]),
        ((3, 9), (4, 4), (4, 4), [(0, 0), (0, 4), (0, 5)]),
    ],
)
def test_a_grid_ends_at_the_edges(whole: tuple, window: tuple, stride: tuple, expected: list) -> None:
    assert [tuple(corner) for corner in window_corners(whole, window, stride).tolist()] == expected


def test_a_part_of_a_grid_is_spread_over_it() -> None:
    assert window_corners((100, 4), (4, 4), (4, 4), max_samples=3)[:, 0].tolist() == [0, 48, 96]
    assert len(window_corners((8, 8), (4, 4), (4, 4), max_samples=9)) == 4


def test_patches_cover_their_images_and_are_cut_from_them(tmp_path: Path) -> None:
    pixels = {"a.png": page(50, 70), "b.png": page(33, 32, 1)}
    for name, array in pixels.items():
        save(tmp_path / name, array)
    source = open_data(f"patches:{tmp_path}", {"patches": {"size": [20, 32], "stride": [15, 30]}})
    assert str(source.spec) == "image 1x20x32 uint8"
    covered = {name: np.zeros(array.shape, bool) for name, array in pixels.items()}
    rows, ok = everything(source)
    assert ok.all()
    for name, row in zip(source.ids, rows):
        image, _, corner = name.partition("@")
        y, x = map(int, corner.split(","))
        np.testing.assert_array_equal(row[0], pixels[image][y : y + 20, x : x + 32])
        covered[image][y : y + 20, x : x + 32] = True
    assert all(seen.all() for seen in covered.values())
    assert source.ids[:3] == ["a.png@0,0", "a.png@0,30", "a.png@0,38"]


def test_patches_have_the_label_and_the_split_of_their_image(tmp_path: Path) -> None:
    for split, label in (("train", "cat"), ("test", "dog")):
        save(tmp_path / split / label / "1.png", page(64, 128))
    source = open_data(f"patches:{tmp_path}")
    assert source.labels is not None and source.splits is not None
    found = dict(zip(source.ids, zip(source.labels.tolist(), source.splits.tolist())))
    assert found["train/cat/1.png@0,64"] == ("cat", "train") and found["test/dog/1.png@0,0"] == ("dog", "test")
    most = open_data(f"patches:{tmp_path}", {"patches": {"max_per_image": 1}})
    assert len(most) == 2


def test_an_encoder_sets_the_size_channels_and_depth(tmp_path: Path) -> None:
    save(tmp_path / "a.png", page(40, 40))
    like = SampleSpec("image", (3, 16, 20), "uint16")
    source = open_data(f"patches:{tmp_path}", {"patches": {"size": 8}}, like=like)
    assert source.spec == like and len(source) == 3 * 2
    rows, _ = everything(source)
    np.testing.assert_array_equal(rows[0, 2], page(40, 40)[:16, :20].astype(np.uint16) * 257)


def test_bad_and_small_images_are_skipped_with_their_reasons(tmp_path: Path) -> None:
    save(tmp_path / "a.png", page(40, 40))
    save(tmp_path / "b.png", page(12, 40))
    (tmp_path / "c.png").write_bytes(b"no")
    whole = save(tmp_path / "d.png", page(40, 40)).read_bytes()
    (tmp_path / "d.png").write_bytes(whole[: len(whole) // 2])
    source = open_data(f"patches:{tmp_path}", {"patches": {"size": 20}})
    rows, ok = everything(source)
    assert ok.tolist() == [True] * 4 + [False] * 7 and not rows[4:].any()
    assert source.skipped["b.png@0,20"] == "40x12 pixels: too small for a patch of 20x20 at 0,20"
    assert source.skipped["c.png@0,0"] == "not an image that Pillow reads"
    assert "truncated" in source.skipped["d.png@20,20"]
    held = load_samples(source, np.arange(len(source)), device=torch.device("cpu"))
    assert len(held) == 4


def test_pages_are_decoded_once_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        save(tmp_path / f"{number}.png", np.full((1200, 1200), number, np.uint8))
    source = open_data(f"patches:{tmp_path}", {"patches": {"size": 100}})
    decoded: list[Path] = []
    whole = reading._decode_full_size
    monkeypatch.setattr(reading, "_decode_full_size", lambda path, like: (decoded.append(path), whole(path, like))[1])
    source._pool._max_workers = 1  # type: ignore[attr-defined]
    tracemalloc.start()
    for start in range(0, len(source), 64):
        source.read(np.arange(start, min(start + 64, len(source))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(decoded) == 6 and len(set(decoded)) == 6
    assert peak < 4.5 * 1200 * 1200, "one page is kept, one is being decoded, and a batch is small"


# Pairs


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Four dirty pages, of which two and two share a clean one."""
    lines = ["clean,dirty,class,split"]
    for number in range(4):
        clean = page(40 + number // 2, 40, number // 2)
        save(tmp_path / "clean" / f"{number // 2}.png", clean)
        save(tmp_path / "dirty" / f"{number}.png", clean // 2)
        lines.append(f"clean/{number // 2}.png,dirty/{number}.png,{'ab'[number // 2]},{('train', 'val')[number // 2]}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path / "pairs.csv"


@pytest.mark.parametrize(
    ("source", "options"), [("patches", {"size": 16}), ("images", {"size": 24, "resize": "stretch"})]
)
def test_two_columns_of_a_list_make_pairs(pairs: Path, source: str, options: dict) -> None:
    dirty, clean = (
        open_data(f"{source}:{pairs}", {source: {**options, "column": column}}) for column in ("dirty", "clean")
    )
    assert list(dirty.ids) == list(clean.ids) and dirty.spec == clean.spec
    assert dirty.ids[0].startswith("dirty/0.png"), "of the first column in which no two agree"
    damaged, whole = everything(dirty)[0], everything(clean)[0]
    assert np.abs(damaged - whole / 2).max() <= 2
    assert dirty.labels is not None and dirty.splits is not None
    assert set(zip(dirty.labels.tolist(), dirty.splits.tolist())) == {("a", "train"), ("b", "validation")}


def test_folders_of_equal_names_make_pairs(pairs: Path) -> None:
    save(pairs.parent / "sharp" / "0.png", page(40, 40))
    save(pairs.parent / "blurred" / "0.png", page(40, 40, 5))
    first, second = (open_data(f"patches:{pairs.parent / name}") for name in ("sharp", "blurred"))
    assert list(first.ids) == list(second.ids)


def test_columns_of_lists(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column path or file or filename or image; available: clean, dirty"):
        open_data(f"patches:{pairs}")
    with pytest.raises(DataError, match="no column 'cleam'; did you mean 'clean'"):
        open_data(f"patches:{pairs}", {"patches": {"column": "cleam"}})
    with pytest.raises(DataError, match="expected a list of images such as"):
        open_data(f"patches:{tmp_path / 'dirty'}", {"patches": {"column": "clean"}})
    (tmp_path / "named.csv").write_text("image,target,id\ndirty/0.png,clean/0.png,p\ndirty/1.png,clean/0.png,q\n")
    named = open_data(tmp_path / "named.csv")
    assert list(named.ids) == ["p", "q"] and named.labels is None, "a column of images is no label"
    (tmp_path / "twice.csv").write_text("a,b\ndirty/0.png,x\ndirty/0.png,x\n")
    twice = open_data(f"images:{tmp_path / 'twice.csv'}", {"images": {"column": "a"}})
    assert list(twice.ids) == ["0", "1"]


def test_the_damaged_documents_are_pairs(data_dir: Path, tmp_path: Path) -> None:
    root = data_dir / "dirty-documents"
    names = sorted(path.name for path in (root / "dirty").iterdir())[:6]
    lines = [f"{name},{root}/dirty/{name},{root}/clean/{name}" for name in names]
    (tmp_path / "pairs.csv").write_text("\n".join(["id,dirty,clean", *lines]))
    dirty, clean = (
        open_data(f"patches:{tmp_path / 'pairs.csv'}", {"patches": {"column": column, "stride": 48}})
        for column in ("dirty", "clean")
    )
    assert list(dirty.ids) == list(clean.ids) and str(dirty.spec) == "image 1x64x64 uint8"
    (damaged, ok), (whole, _) = everything(dirty), everything(clean)
    error = np.sqrt(np.mean((damaged / 255 - whole / 255) ** 2))
    assert ok.all() and 0.1 < error < 0.25, "near the 0.156 that these pages are known to differ by"
