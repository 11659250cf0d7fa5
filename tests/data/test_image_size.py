"""Test the automatic size of images: small images keep a common size, larger ones are resized, with a note."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aekit.data.opening import open_data
from aekit.data.source import Source


def folder_of(folder: Path, *sizes: tuple[int, int]) -> Path:
    """Save an image of random pixels for each (width, height)."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate(sizes):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def pixels_of(source: Source) -> np.ndarray:
    rows, ok = source.read(np.arange(len(source)))
    assert ok.all()
    return rows


@pytest.mark.parametrize("size", [(96, 96), (96, 54), (20, 96), (28, 28)])
def test_images_of_one_size_up_to_96_keep_their_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    source = open_data(folder_of(tmp_path / "images", size, size))
    assert source.spec.shape == (3, size[1], size[0]) and "; ".join(source.notes) == ""
    for number, row in enumerate(pixels_of(source)):
        original = np.asarray(Image.open(tmp_path / "images" / f"{number}.png"))
        np.testing.assert_array_equal(row, original.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("size", "setting"),
    [((256, 192), [192, 256]), ((256, 256), 256), ((97, 20), [20, 97]), ((20, 97), [97, 20]), ((600, 2), [2, 600])],
)
def test_larger_images_of_one_size_are_resized_and_the_note_names_the_setting_that_keeps_them(
    tmp_path: Path, size: tuple[int, int], setting: int | list[int]
) -> None:
    folder = folder_of(tmp_path / "images", size, size)
    source = open_data(folder)
    assert source.spec.shape == (3, 64, 64)
    change = f"images of {size[0]}x{size[1]} are resized to 64x64 pixels (crop)"
    assert "; ".join(source.notes) == f"{change}; data.images.size={str(setting).replace(' ', '')} keeps their size"
    kept = open_data(folder, {"images": {"size": setting}})
    assert kept.spec.shape == (3, size[1], size[0]) and "; ".join(kept.notes) == ""
    np.testing.assert_array_equal(pixels_of(kept)[0], np.asarray(Image.open(folder / "0.png")).transpose(2, 0, 1))


def test_larger_images_are_resized_as_the_option_resize_says(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    image = Image.new("RGB", (240, 120))
    image.paste((255, 255, 255), (60, 0, 180, 120))  # the middle half, which a center crop keeps
    image.save(folder / "a.png")
    bright = {
        resize: (pixels_of(open_data(folder, {"images": {"resize": resize}})) > 127).mean()
        for resize in ("crop", "pad", "stretch")
    }
    assert bright["crop"] == pytest.approx(1, abs=0.03)
    assert bright["pad"] == pytest.approx(1 / 4, abs=0.03)
    assert bright["stretch"] == pytest.approx(1 / 2, abs=0.03)


def test_images_of_different_sizes_have_a_note_of_their_own(tmp_path: Path) -> None:
    source = open_data(folder_of(tmp_path / "images", (20, 30), (30, 20)))
    assert (
        "; ".join(source.notes)
        == "images differ in size: resized to 64x64 pixels (crop); data.images.size sets another size"
    )


def test_an_encoder_decides_the_size_without_a_note(tmp_path: Path) -> None:
    like = open_data(folder_of(tmp_path / "small", (20, 30))).spec
    source = open_data(folder_of(tmp_path / "large", (200, 300)), like=like)
    assert source.spec.shape == (3, 30, 20) and "; ".join(source.notes) == ""


class Scenes:
    """A torchvision data set of large images of one size."""

    classes = ("a", "b")

    def __init__(self, root: str, download: bool = False) -> None:
        self._labels = [0, 1, 1]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (150, 150), "white"), self._labels[row]


def test_notes_of_other_sources_name_their_own_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets, "Scenes", Scenes, raising=False)
    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Scenes"))
    scenes = open_data("torchvision:Scenes", {"torchvision": {"root": str(tmp_path)}})
    assert scenes.spec.shape == (3, 64, 64)
    assert "data.torchvision.size=150 keeps their size" in "; ".join(scenes.notes)

    frames = np.random.default_rng(0).integers(0, 256, (20, 120, 160, 3), np.uint8)
    np.savez(tmp_path / "video.npz", frames=frames)
    options: dict[str, Any] = {"frames": 4, "test": 0.0}
    clips = open_data(f"clips:{tmp_path / 'video.npz'}", {"clips": options})
    assert clips.spec.shape == (3, 4, 64, 64)
    note = "images of 160x120 are resized to 64x64 pixels (crop); data.clips.size=[120,160] keeps their size"
    assert note in "; ".join(clips.notes)
    kept = open_data(f"clips:{tmp_path / 'video.npz'}", {"clips": options | {"size": [120, 160]}})
    np.testing.assert_array_equal(pixels_of(kept)[0, :, 0], frames[0].transpose(2, 0, 1))
