"""Folders and lists of images, and image files of unusual formats."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from unusual.harness import Area, Listener

import aekit
from aekit.data.readers import _image_files as image_files, image_headers
from aekit.data.source import Source

AREA = Area(__name__)


def save(path: Path, value: object = 100, size: tuple[int, int] = (12, 8), mode: str = "L", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, **options)  # type: ignore[arg-type]
    return path


def save_many(root: Path, *names: str) -> None:
    """Save an image of another brightness under each name."""
    for number, name in enumerate(names):
        save(root / name, 10 + number)


def opened(folder: Path, *names: str) -> Source:
    """Write images as `save_many` does, and open the folder."""
    save_many(folder, *names)
    return aekit.open_data(folder)


def rows_of(source: Source) -> np.ndarray:
    rows, ok = source.read(np.arange(len(source)))
    assert ok.all(), source.skipped
    return rows


def counts(values: np.ndarray | None) -> dict[str, int]:
    return dict(Counter([] if values is None else values.tolist()))


# ---- folders


@AREA.changed(
    "train/good, test/crack and ground_truth/, as in anomaly data sets", "3 masks or annotations are not samples"
)
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, *(f"train/good/{i}.png" for i in range(5)), "test/good/0.png")
    save_many(
        folder, *(f"test/crack/{i}.png" for i in range(3)), *(f"ground_truth/crack/{i}_mask.png" for i in range(3))
    )
    source = aekit.open_data(folder)
    assert counts(source.labels) == {"good": 6, "crack": 3} and counts(source.splits) == {"train": 5, "test": 4}
    assert source.labels[source.ids.index("test/crack/1.png")] == "crack"


@AREA.changed(
    "several anomaly data sets in one folder, each with train, test and ground_truth", "2 masks or annotations"
)
def _(folder: Path, listener: Listener) -> None:
    for kind in ("bottle", "cable"):
        save_many(folder / kind, "train/good/0.png", "test/bent/0.png", "ground_truth/bent/0_mask.png")
    source = aekit.open_data(folder)
    assert counts(source.labels) == {"good": 2, "bent": 2} and counts(source.splits) == {"train": 2, "test": 2}


@AREA.changed("images/ beside masks/", "2 masks or annotations are not samples (2 in masks/)")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    assert source.ids == ["images/a.png", "images/b.png"] and source.labels is None


@AREA.changed("train, train_masks and test", "1 masks or annotations are not samples (1 in train_masks/)")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "train/a.jpg", "train_masks/a_mask.gif", "test/b.jpg")
    assert aekit.open_data(folder).ids == ["test/b.jpg", "train/a.jpg"]


@AREA.changed("scan.png beside scan_mask.png", "2 masks or annotations are not samples")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "benign/a (1).png", "benign/a (1)_mask.png", "malignant/b.png", "malignant/b_mask_1.png")
    source = aekit.open_data(folder)
    assert source.ids == ["benign/a (1).png", "malignant/b.png"] and counts(source.labels) == {
        "benign": 1,
        "malignant": 1,
    }


@AREA.right("masks that are samples by option")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "images/a.png", "masks/a.png")
    assert len(aekit.open_data(folder, {"images": {"masks": "keep"}})) == 2
    assert aekit.open_data(folder / "masks").ids == ["a.png"]


@AREA.right("classes that are named mask and no_mask")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "mask/a.png", "no_mask/b.png", "mask/c.png")
    assert counts(aekit.open_data(folder).labels) == {"mask": 2, "no_mask": 1}


@AREA.right("images/train and labels/train with texts")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "images/train/a.png", "images/train/b.png", "images/val/c.png")
    (folder / "labels/train").mkdir(parents=True)
    (folder / "labels/train/a.txt").write_text("0 .5 .5 .1 .1\n")
    source = aekit.open_data(folder)
    assert counts(source.splits) == {"train": 2, "validation": 1} and source.labels is None


LAYOUTS: dict[str, tuple[tuple[str, ...], dict[str, int], dict[str, int]]] = {
    "train/images and valid/images, with labels beside": (
        ("train/images/a.png", "valid/images/b.png", "test/images/c.png"),
        {},
        {"train": 1, "validation": 1, "test": 1},
    ),
    "a class that is named train, among other vehicles": (
        ("train/a.png", "bus/b.png", "car/c.png"),
        {"train": 1, "bus": 1, "car": 1},
        {},
    ),
    "an archive with a folder around everything": (
        ("set/set/train/cat/a.png", "set/set/train/dog/b.png", "set/set/test/dog/c.png"),
        {"cat": 1, "dog": 2},
        {"train": 2, "test": 1},
    ),
}
"""What is unusual -> names of the files, and the numbers of samples of each label and split."""


def check_layout(layout: str, folder: Path, listener: Listener) -> None:
    names, labels, splits = LAYOUTS[layout]
    source = opened(folder, *names)
    assert counts(source.labels) == labels and counts(source.splits) == splits


for _layout in LAYOUTS:
    AREA.right(_layout)(partial(check_layout, _layout))


@AREA.right("training_set, validation and test_set")
def _(folder: Path, listener: Listener) -> None:
    source = opened(
        folder, "training_set/cats/a.png", "training_set/dogs/b.png", "validation/cats/c.png", "test_set/dogs/d.png"
    )
    assert counts(source.splits) == {"train": 2, "validation": 1, "test": 1}
    assert counts(source.labels) == {"cats": 2, "dogs": 2}


@AREA.right("train2017 and val2017; Training and Testing; train and eval")
def _(folder: Path, listener: Listener) -> None:
    for number, (one, other, split) in enumerate(
        [("train2017", "val2017", "validation"), ("Training", "Testing", "test"), ("train", "eval", "test")]
    ):
        save_many(folder / str(number), f"{one}/a.png", f"{other}/b.png")
        assert counts(aekit.open_data(folder / str(number)).splits) == {"train": 1, split: 1}


@AREA.right("train and test beside unlabeled images, which belong to the training split")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/dog/d.png", "unlabeled/e.png")
    assert counts(source.splits) == {"train": 3, "test": 2}
    assert counts(source.labels) == {"cat": 2, "dog": 2, "": 1}


@AREA.changed(
    "train and test beside other folders", "2 images outside of the folders of splits are left out (2 in 'docs')"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "docs/logo.png", "docs/banner.png")
    assert len(source) == 3 and counts(source.labels) == {"cat": 2, "dog": 1}


@AREA.right("splits below classes")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "cat/train/a.png", "cat/test/b.png", "dog/train/c.png", "dog/test/d.png")
    assert counts(source.splits) == {"train": 2, "test": 2} and counts(source.labels) == {"cat": 2, "dog": 2}


@AREA.changed(
    "a file beside the folders of classes", "1 of 5 images has no folder of a class, and so no label, e.g. 'logo.png'"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "cat/a.png", "cat/b.png", "dog/c.png", "dog/d.png", "logo.png")
    assert counts(source.labels) == {"cat": 2, "dog": 2, "": 1}


@AREA.right("Thumbs.db, .DS_Store, __MACOSX and endings in capitals")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "a.png", "__MACOSX/._a.png", ".hidden/b.png", "._a.png")
    save(folder / "b.JPG")
    save(folder / "c.Png")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (folder / ".DS_Store").write_bytes(b"\0")
    assert aekit.open_data(folder).ids == ["a.png", "b.JPG", "c.Png"]


@AREA.changed("a run, embeddings and restored images inside of the data", "4 outputs of aekit are left out")
def _(folder: Path, listener: Listener) -> None:
    data = folder / "photos"
    save_many(data, *(f"{i}.png" for i in range(12)))
    listener.command(
        "fit", data, "-o", data / "run", "--dim", 2, "--epochs", 1, "--backbone", "mlp", "--no-report", "-q"
    )
    assert any("lies inside of the data" in line for line in listener.lines)
    listener.command("apply", data / "run", data, "-o", data / "restored", "-q")
    listener.command("embed", data / "run", data, "-o", data / "embeddings", "-q")
    listener.command("map", data / "embeddings", "-o", data / "map.png", "-q")
    source = aekit.open_data(data)
    assert len(source) == 12 and source.labels is None
    listener.command("data", data)


@AREA.refused("a folder of texts alone", "found 1 .txt")
def _(folder: Path, listener: Listener) -> None:
    (folder / "notes.txt").write_text("a")
    aekit.open_data(folder)


@AREA.changed(
    "camera raw files among photographs", "2 images in formats that aekit does not read are left out (2 .dng)"
)
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "a.jpg", "b.jpg")
    (folder / "c.dng").write_bytes(b"II*\0")
    (folder / "d.DNG").write_bytes(b"II*\0")
    assert len(aekit.open_data(folder)) == 2


@AREA.changed("a file name that is not UTF-8", "1 file name is not UTF-8 and read as Latin-1, e.g. 'café.png'")
def _(folder: Path, listener: Listener) -> None:
    data = folder / "p"
    save_many(data, *(f"{i}.png" for i in range(12)))
    os.rename(data / "3.png", os.fsencode(data) + b"/caf\xe9.png")
    encoder = aekit.fit(data, dim=2, epochs=1, backbone="mlp")
    embeddings = encoder.embed(data, out=folder / "z")
    assert "café.png" in list(embeddings.ids)
    assert json.dumps(
        aekit.load(folder / "z").ids if hasattr(aekit.load(folder / "z"), "ids") else list(embeddings.ids)
    )


@AREA.changed("folders of classes whose names are not UTF-8", "2 file names are not UTF-8")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "a/1.png", "a/2.png", "b/3.png")
    os.rename(folder / "a", os.fsencode(folder) + b"/gr\xfcn")
    source = aekit.open_data(folder)
    assert counts(source.labels) == {"grün": 2, "b": 1} and set(source.ids) == {"b/3.png", "grün/1.png", "grün/2.png"}
    assert rows_of(source).shape == (3, 1, 8, 12)


@AREA.changed("two names that differ in their encoding alone", "1 file name is not UTF-8")
def _(folder: Path, listener: Listener) -> None:
    save(folder / "café.png", 1)
    save(folder / "x.png", 2)
    os.rename(folder / "x.png", os.fsencode(folder) + b"/caf\xe9.png")
    source = aekit.open_data(folder)
    assert set(source.ids) == {"café.png", "caf\\xe9.png"}
    assert {one: int(row[0, 0, 0]) for one, row in zip(source.ids, rows_of(source))} == {
        "café.png": 1,
        "caf\\xe9.png": 2,
    }


@AREA.changed(
    "train with classes beside a folder that is no split", "1 images outside of the folders of splits are left out"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "train/cat/a.png", "train/dog/b.png", "sample/c.png")
    assert counts(source.labels) == {"cat": 1, "dog": 1} and counts(source.splits) == {"train": 2}


@AREA.changed(
    "seg_train/seg_train/, seg_test/seg_test/ and seg_pred/", "1 images outside of the folders of splits are left out"
)
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "seg_train/seg_train/sea/a.png", "seg_train/seg_train/ice/b.png", "seg_test/seg_test/sea/c.png")
    save(folder / "seg_pred/seg_pred/d.png")
    source = aekit.open_data(folder)
    assert counts(source.labels) == {"sea": 2, "ice": 1} and counts(source.splits) == {"train": 2, "test": 1}


@AREA.changed(
    "splits inside of a folder that also holds a copy of them", "images outside of the folders of splits are left out"
)
def _(folder: Path, listener: Listener) -> None:
    for place in ("xray/train", "xray/test", "xray/xray/train", "xray/xray/test", "xray/results"):
        for kind in ("ill", "well"):
            save(folder / place / kind / "a.png")
    source = aekit.open_data(folder)
    assert list(source.ids) == [f"xray/{place}/{kind}/a.png" for place in ("test", "train") for kind in ("ill", "well")]
    assert source.labels is not None and source.labels.tolist() == ["ill", "well"] * 2
    assert source.splits is not None and set(source.splits) == {"train", "test"}


@AREA.right("train beside extra or unlabeled images alone, which are no classes")
def _(folder: Path, listener: Listener) -> None:
    for name in ("extra", "unlabeled"):
        for number in range(3):
            save(folder / name / "train" / f"{number}.png")
            save(folder / name / name / f"{number}.png")
        source = aekit.open_data(folder / name)
        assert (
            len(source) == 6 and source.labels is None and source.splits is not None and set(source.splits) == {"train"}
        )


@AREA.right("links that lead in circles, and to nothing")
def _(folder: Path, listener: Listener) -> None:
    save(folder / "a" / "0.png")
    (folder / "a" / "again").symlink_to("..")
    (folder / "a" / "gone.png").symlink_to("nowhere.png")
    source = aekit.open_data(folder)
    assert source.read(np.arange(2))[1].tolist() == [True, False] and list(source.ids) == ["a/0.png", "a/gone.png"]
    assert source.skipped == {"a/gone.png": "the file is missing"}


@AREA.right("train, test and extra images with classes")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "train/1/a.png", "train/2/b.png", "test/1/c.png", "extra/2/d.png")
    assert counts(source.labels) == {"1": 2, "2": 2} and counts(source.splits) == {"train": 3, "test": 1}


@AREA.changed("JPEGImages and SegmentationClass; leftImg8bit and gtFine; images and 1st_manual", "masks or annotations")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder / "voc", "JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationObject/a.png")
    save_many(folder / "city", "leftImg8bit/train/a.png", "gtFine/train/a_ids.png", "leftImg8bit/val/b.png")
    save_many(
        folder / "eyes", "training/images/a.tif", "training/1st_manual/a.gif", "test/images/b.tif", "test/mask/b.gif"
    )
    assert aekit.open_data(folder / "voc").ids == ["JPEGImages/a.jpg"]
    assert counts(aekit.open_data(folder / "city").splits) == {"train": 1, "validation": 1}
    eyes = aekit.open_data(folder / "eyes")
    assert counts(eyes.splits) == {"train": 1, "test": 1} and eyes.labels is None


# ---- lists


def save_list(folder: Path, header: str, *lines: str, name: str = "list.csv") -> Path:
    (folder / name).write_text("\n".join([*([header] if header else []), *lines]) + "\n", "utf-8")
    return folder / name


@AREA.right("lists with columns file_name, image_path, FilePath, img, Image Path and others")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "a.png", "b.png")
    names = ("file_name", "image_path", "filename", "filepath", "FilePath", "img", "Image Path", "image_file", "photo")
    for name in names:
        source = aekit.open_data(save_list(folder, f"{name},label", "a.png,x", "b.png,y"))
        assert source.ids == ["a.png", "b.png"] and counts(source.labels) == {"x": 1, "y": 1}, name
        assert rows_of(source)[:, 0, 0, 0].tolist() == [10, 11]


@AREA.right("a list whose column of paths has a name of its own")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "a.png", "b.png")
    source = aekit.open_data(save_list(folder, "number,scan,label", "1,a.png,x", "2,b.png,y"))
    assert rows_of(source)[:, 0, 0, 0].tolist() == [10, 11] and counts(source.labels) == {"x": 1, "y": 1}


@AREA.refused("a list with two columns of images", "left and right name images: choose one by column")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "a.png", "b.png")
    aekit.open_data(save_list(folder, "left,right", "a.png,b.png"))


@AREA.right("a list without a header")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "a.png", "b.png", "c.png")
    source = aekit.open_data(save_list(folder, "", "a.png,cat", "b.png,dog", "c.png,cat"))
    assert source.ids == ["a.png", "b.png", "c.png"] and source.labels.tolist() == ["cat", "dog", "cat"]


@AREA.right("a list with backslashes")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "in/a.png", "in/b.png")
    source = aekit.open_data(save_list(folder, "path", "in\\a.png", "in\\b.png"))
    assert source.ids == ["in/a.png", "in/b.png"] and rows_of(source)[:, 0, 0, 0].tolist() == [10, 11]


@AREA.changed("a list beside the folder that its paths are relative to", "are read as relative to 'images'")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "images/a.png", "images/b.png")
    listed = save_list(folder, "image,label", "a.png,x", "b.png,y", name="train.csv")
    assert rows_of(aekit.open_data(f"images:{listed}"))[:, 0, 0, 0].tolist() == [10, 11]
    listener.lines += aekit.open_data(f"images:{listed}").notes


@AREA.changed("a list with paths of another computer", "without their first folders")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "photos/in/a.png", "photos/in/b.png")
    listed = save_list(folder, "path", r"C:\Users\ada\photos\in\a.png", r"C:\Users\ada\photos\in\b.png")
    source = aekit.open_data(listed)
    assert rows_of(source)[:, 0, 0, 0].tolist() == [10, 11]
    listener.lines += source.notes


@AREA.changed("a list of names without endings", "with .jpg")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "train_images/1.jpg", "train_images/2.jpg")
    source = aekit.open_data(save_list(folder, "image_id,label", "1,x", "2,y"))
    assert len(rows_of(source)) == 2 and source.ids == ["1", "2"]
    listener.lines += source.notes


@AREA.changed("a list with files that are missing", "1 of 3 files in 'path' are missing, e.g. 'gone.png'")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "a.png", "b.png")
    source = aekit.open_data(save_list(folder, "path", "a.png", "b.png", "gone.png"))
    _, ok = source.read(np.arange(3))
    assert ok.tolist() == [True, True, False] and source.skipped == {"gone.png": "the file is missing"}


@AREA.refused("a list none of whose files exists", "none of the 2 files in 'path' exists")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(save_list(folder, "path", "a.png", "b.png"))


@AREA.refused("a list of web addresses", "is a web address")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(save_list(folder, "image", "https://example.org/a.png"))


@AREA.right("a table of numbers with a column image that counts")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(save_list(folder, "image,width,height", *(f"{i},{i * 2},{i % 3}" for i in range(9))))
    assert source.spec.kind == "vector" and len(source) == 9


@AREA.right("a list with a folder and a file name in two columns, path and filename")
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "in/a.png", "in/b.png")
    source = aekit.open_data(save_list(folder, "path,filename,label", "in,a.png,x", "in,b.png,y"))
    assert rows_of(source)[:, 0, 0, 0].tolist() == [10, 11]


@AREA.right("a table of numbers that names photographs which are not there")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(save_list(folder, "taken_from,a,b", *(f"{i}.jpg,{i * 2},{i % 3}" for i in range(9))))
    assert source.spec.kind == "vector" and source.spec.shape == (2,)


@AREA.right("a list with semicolons, tabs, or in Parquet")
def _(folder: Path, listener: Listener) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    save_many(folder, "a.png", "b.png")
    save_list(folder, "file_name;label", "a.png;x", "b.png;y", name="a.csv")
    save_list(folder, "file_name\tlabel", "a.png\tx", "b.png\ty", name="b.tsv")
    pq.write_table(pa.table({"file_name": ["a.png", "b.png"], "label": ["x", "y"]}), folder / "c.parquet")
    for name in ("a.csv", "b.tsv", "c.parquet"):
        source = aekit.open_data(folder / name)
        assert source.ids == ["a.png", "b.png"] and source.labels.tolist() == ["x", "y"] and len(rows_of(source)) == 2


# ---- what is in a folder


@AREA.right("color that every third file has, among gray ones")
def _(folder: Path, listener: Listener) -> None:
    for i in range(140):
        save(folder / f"{i:03d}_depth.png", 9, (4, 4))
        save(folder / f"{i:03d}_map.png", 9, (4, 4))
        save(folder / f"{i:03d}_rgb.png", (1, 2, 3), (4, 4), "RGB")
    source = aekit.open_data(folder)
    assert source.spec.shape == (3, 4, 4)
    assert source.read(np.array([2]))[0][0, :, 0, 0].tolist() == [1, 2, 3]


def _unseen(folder: Path, **last: Any) -> Source:
    """Open 30 gray images and a last one that a random draw of 5 does not contain."""
    for i in range(30):
        save(folder / f"{i:02d}.png", 9, (4, 4))
    save(folder / "99.png", **({"value": 9, "size": (4, 4)} | last))
    with mock.patch.object(image_headers, "HEADERS", 5):
        return aekit.open_data(folder)


@AREA.changed("color that a random draw of headers did not contain", "99.png is in color and read as gray")
def _(folder: Path, listener: Listener) -> None:
    assert _unseen(folder, value=(9, 8, 7), mode="RGB").read(np.array([0, 30]))[0].shape == (2, 1, 4, 4)


@AREA.changed("a size that a random draw of headers did not contain", "99.png is resized from 8x6 to 4x4 pixels")
def _(folder: Path, listener: Listener) -> None:
    assert _unseen(folder, size=(8, 6)).read(np.array([30]))[0].shape == (1, 1, 4, 4)


@AREA.changed("16 bits that a random draw of headers did not contain", "99.png has 16 bits per value and is read as 8")
def _(folder: Path, listener: Listener) -> None:
    assert _unseen(folder, value=257 * 9, mode="I;16").read(np.array([30]))[0].max() == 9


# ---- pages


@AREA.changed(
    "TIFF files with several pages", "1 file has several pages or frames, e.g. 'b.tif' 3, of which the first is read"
)
def _(folder: Path, listener: Listener) -> None:
    save(folder / "a.tif", 1)
    pages = [Image.new("L", (12, 8), value) for value in (2, 3, 4)]
    pages[0].save(folder / "b.tif", save_all=True, append_images=pages[1:])
    assert rows_of(aekit.open_data(folder))[:, 0, 0, 0].tolist() == [1, 2]


@AREA.right("pages of a TIFF that are samples by option")
def _(folder: Path, listener: Listener) -> None:
    save(folder / "x/a.tif", 1)
    pages = [Image.new("L", (12, 8), value) for value in (2, 3, 4)]
    (folder / "y").mkdir()
    pages[0].save(folder / "y/b.tif", save_all=True, append_images=pages[1:])
    source = aekit.open_data(folder, {"images": {"pages": "all"}})
    assert source.ids == ["x/a.tif", "y/b.tif@0", "y/b.tif@1", "y/b.tif@2"]
    assert rows_of(source)[:, 0, 0, 0].tolist() == [1, 2, 3, 4] and source.labels.tolist() == ["x", "y", "y", "y"]
    assert len(set(source.fingerprints(np.arange(4)))) == 4


@AREA.right("pages that are reconstructed, each its own")
def _(folder: Path, listener: Listener) -> None:
    rng = np.random.default_rng(0)
    pages = [Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)) for _ in range(12)]
    (folder / "p").mkdir()
    pages[0].save(folder / "p/a.tif", save_all=True, append_images=pages[1:])
    setting = {"data.images.pages": "all"}
    aekit.fit(folder / "p", overrides=setting, dim=2, epochs=1, backbone="mlp", out=folder / "run", report=False)
    result = aekit.apply(folder / "run", folder / "p", options={"images": {"pages": "all"}})
    assert [row["id"] for row in result.samples] == [f"a.tif@{page}" for page in range(12)]
    assert len({row["mse"] for row in result.samples}) == 12


@AREA.changed("animated GIF, WebP and PNG files", "3 files have several pages or frames, e.g. 'a.gif' 2")
def _(folder: Path, listener: Listener) -> None:
    frames = [Image.new("RGB", (12, 8), color) for color in ((255, 0, 0), (0, 255, 0))]
    for name in ("a.gif", "b.webp", "c.png"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:], lossless=True)
    assert rows_of(aekit.open_data(folder))[:, 0, 0, 0].tolist() == [255, 255, 255]
    source = aekit.open_data(folder, {"images": {"pages": "all"}})
    assert len(source) == 6 and rows_of(source)[:, 1, 0, 0].tolist() == [0, 255] * 3


@AREA.right("a TIFF with smaller copies of its page")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    with tifffile.TiffWriter(folder / "a.tif") as file:
        file.write(np.full((8, 12), 7, np.uint8))
        file.write(np.full((4, 6), 9, np.uint8), subfiletype=1)
    source = aekit.open_data(folder, {"images": {"pages": "all"}})
    assert len(source) == 1 and not source.losses and rows_of(source)[0, 0, 0, 0] == 7


# ---- large images


@AREA.changed("an image of more than 89 megapixels", "refused as a decompression bomb; max_megapixels = 100 reads it")
def _(folder: Path, listener: Listener) -> None:
    save(folder / "a.png")
    Image.new("1", (10000, 10000), 1).save(folder / "scan.png")
    source = aekit.open_data(folder)
    assert source.read(np.arange(2))[1].tolist() == [True, False]
    listener.lines += source.skipped.values()
    assert rows_of(aekit.open_data(folder, {"images": {"max_megapixels": 100}})).shape[0] == 2


@AREA.changed("such an image as bytes, in a Parquet file and in a tar file", "max_megapixels = 100 reads it")
def _(folder: Path, listener: Listener) -> None:
    import tarfile

    import pyarrow as pa
    import pyarrow.parquet as pq

    scan = io.BytesIO()
    Image.new("1", (10000, 10000), 1).save(scan, "PNG")
    save(folder / "small.png")
    contents = [scan.getvalue(), (folder / "small.png").read_bytes()]
    pq.write_table(pa.table({"image": [{"bytes": content, "path": "a"} for content in contents]}), folder / "a.parquet")
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number, content in enumerate(contents):
            about = tarfile.TarInfo(f"{number}.png")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    larger = {"max_megapixels": 100}
    for name, data in (
        ("parquet-images", folder / "a.parquet"),
        ("webdataset", folder / "a.tar"),
        ("images", contents),
    ):
        source = aekit.open_data(data)
        assert source.read(np.arange(2))[1].tolist() == [False, True], name
        listener.lines += source.losses
        assert rows_of(aekit.open_data(data, {name: larger})).shape[0] == 2, name


@AREA.right("patches of an image of more than 89 megapixels")
def _(folder: Path, listener: Listener) -> None:
    scan = Image.new("1", (10000, 10000))
    scan.paste(1, (9000, 9000, 10000, 10000))
    scan.save(folder / "scan.png")
    source = aekit.open_data(f"patches:{folder}", {"patches": {"size": 1000, "max_per_image": 9}})
    assert len(source) == 9 and rows_of(source)[:, 0, 500, 500].tolist() == [0] * 8 + [255]


@AREA.right("windows of a large tiled TIFF, read without the rest")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    pixels = np.add.outer(np.arange(5120) // 20, np.arange(5120) // 40).astype(np.uint8)
    tifffile.imwrite(folder / "tiled.tif", pixels, tile=(512, 512), compression="zlib")
    tifffile.imwrite(folder / "plain.tif", np.stack([pixels] * 3, -1), photometric="rgb")
    for name in ("tiled", "plain"):
        source = aekit.open_data(f"patches:{folder / name}.tif", {"patches": {"size": [700, 300], "stride": 900}})
        with mock.patch("aekit.data.readers.images.image_to_array", side_effect=AssertionError):
            rows = rows_of(source)
        for one, row in zip(source.ids, rows):
            y, x = map(int, one.partition("@")[2].split(","))
            assert np.array_equal(row[0], pixels[y : y + 700, x : x + 300]), one


# ---- channels and depths


@AREA.right("TIFF files of 6 channels, in bands or pixels")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    values = np.random.default_rng(0).integers(0, 60000, (6, 16, 20), np.uint16)
    tifffile.imwrite(folder / "a.tif", values, photometric="minisblack", planarconfig="separate")
    tifffile.imwrite(folder / "b.tif", np.moveaxis(values, 0, -1), photometric="minisblack", planarconfig="contig")
    source = aekit.open_data(folder)
    assert source.spec.shape == (6, 16, 20) and source.spec.dtype == "uint16"
    assert np.array_equal(rows_of(source), np.stack([values, values]))


@AREA.right("TIFF files of red, green, blue and infrared")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    values = np.random.default_rng(0).integers(0, 255, (8, 12, 4), np.uint8)
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
    source = aekit.open_data(folder)
    assert np.array_equal(rows_of(source)[0], np.moveaxis(values, -1, 0))


@AREA.right("a TIFF of 2 channels")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    values = np.random.default_rng(0).normal(size=(8, 12, 2)).astype(np.float32)
    tifffile.imwrite(folder / "a.tif", values, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(rows_of(aekit.open_data(folder))[0], np.moveaxis(values, -1, 0))


@AREA.changed("images with other channels than most", "1 channels, expected 5")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    for number in range(2):
        tifffile.imwrite(
            folder / f"{number}.tif", np.ones((8, 12, 5), np.uint8), photometric="minisblack", planarconfig="contig"
        )
    save(folder / "gray.png")
    source = aekit.open_data(folder)
    assert source.read(np.arange(3))[1].tolist() == [True, True, False]
    listener.lines += source.skipped.values()


@AREA.right("32-bit, 64-bit and 16-bit float TIFF files")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    values = np.linspace(-3, 1000, 96).reshape(8, 12)
    for dtype in ("float16", "float32", "float64"):
        tifffile.imwrite(folder / f"{dtype}.tif", values.astype(dtype))
    rows = rows_of(aekit.open_data(folder))
    assert rows.dtype == np.float32
    assert np.array_equal(rows[1:, 0], np.stack([values.astype(np.float32)] * 2))
    assert np.array_equal(rows[0, 0], values.astype(np.float16).astype(np.float32))


@AREA.right("heights below 0, in 16-bit and 32-bit integers")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    values = np.arange(-40, 56).reshape(8, 12)
    for dtype in ("int8", "int16", "int32"):
        tifffile.imwrite(folder / f"{dtype}.tif", values.astype(dtype))
    rows = rows_of(aekit.open_data(folder))
    assert rows.dtype == np.float32 and np.array_equal(rows[:, 0], np.stack([values] * 3))


@AREA.changed("heights with a value for no data", "nan at (0, 1, 2)")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    values = np.ones((8, 12), np.float32)
    tifffile.imwrite(folder / "a.tif", values)
    values[1, 2] = -9999
    tifffile.imwrite(folder / "b.tif", values, extratags=[(42113, "s", 0, "-9999", True)])
    assert "1 usable" in listener.command("data", folder)


@AREA.right("TIFF files of 16 bits in color")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    values = np.random.default_rng(0).integers(0, 65535, (8, 12, 3), np.uint16)
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb")
    source = aekit.open_data(folder)
    assert source.spec.dtype == "uint16" and np.array_equal(rows_of(source)[0], np.moveaxis(values, -1, 0))


@AREA.right("TIFF files of 16 bits in color that are rotated by EXIF")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    values = np.random.default_rng(0).integers(0, 65535, (8, 12, 3), np.uint16)
    tifffile.imwrite(folder / "a.tif", values, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    source = aekit.open_data(folder)
    assert source.spec.shape == (3, 12, 8)
    assert np.array_equal(rows_of(source)[0], np.moveaxis(np.rot90(values, -1), -1, 0))


@AREA.changed("TIFF files of 6 channels without tifffile", "pip install 'aekit[tiff]'")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    tifffile.imwrite(folder / "a.tif", np.ones((8, 12, 6), np.uint8), photometric="minisblack", planarconfig="contig")
    save(folder / "b.png")
    with mock.patch.object(image_files, "has_tifffile", lambda *_: False):
        source = aekit.open_data(folder)
        assert source.read(np.arange(2))[1].tolist() == [False, True]
    listener.lines += source.skipped.values()


@AREA.right("TIFF files in which 0 is white, of 8 and 16 bits")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    values = np.random.default_rng(0).integers(0, 255, (8, 12), np.uint8)
    tifffile.imwrite(folder / "a.tif", values, photometric="miniswhite")
    tifffile.imwrite(folder / "b.tif", values.astype(np.uint16) * 257, photometric="miniswhite")
    assert np.array_equal(
        rows_of(aekit.open_data(folder))[:, 0], np.stack([(255 - values.astype(np.uint16)) * 257] * 2)
    )


@AREA.changed("a large tiled TIFF with a damaged tile", "decompressing")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    pixels = np.random.default_rng(0).integers(0, 255, (5120, 5120), np.uint8)
    tifffile.imwrite(folder / "a.tif", pixels, tile=(1024, 1024), compression="zlib")
    raw = bytearray((folder / "a.tif").read_bytes())
    raw[5000:5010] = bytes(10)
    (folder / "a.tif").write_bytes(raw)
    source = aekit.open_data(f"patches:{folder}", {"patches": {"size": 1000, "stride": 4120}})
    rows, ok = source.read(np.arange(4))
    assert ok.tolist() == [False, True, True, True] and np.array_equal(rows[1, 0], pixels[:1000, 4120:])
    listener.lines += source.skipped.values()


@AREA.changed("PNG files of 16 bits in color", "color of more than 8 bits is read as 8-bit")
def _(folder: Path, listener: Listener) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = np.full((8, 12, 3), 0x1280, ">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12, 8, 16, 2, 0, 0, 0))
    (folder / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )
    assert (rows_of(aekit.open_data(folder)) == 0x12).all()


@AREA.right("CMYK and YCbCr, and JPEG files that are rotated by EXIF")
def _(folder: Path, listener: Listener) -> None:
    save(folder / "a.tif", (0, 255, 255, 0), mode="CMYK")
    save(folder / "b.jpg", (0, 255, 255, 0), mode="CMYK", quality=100)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / "c.jpg", (255, 0, 0), (8, 12), "RGB", exif=exif, quality=100)
    source = aekit.open_data(folder)
    assert source.spec.shape == (3, 8, 12)
    assert (abs(rows_of(source)[:, :, 4, 4].astype(int) - [255, 0, 0]) < 12).all()


@AREA.right("palettes with transparency, which becomes white")
def _(folder: Path, listener: Listener) -> None:
    image = Image.new("P", (12, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 6, 8))
    image.save(folder / "a.png", transparency=0)
    source = aekit.open_data(folder)
    assert "images may be transparent, and transparency becomes white" in " ".join(source.notes)
    assert rows_of(source)[0, :, 4, [2, 9]].tolist() == [[255, 255, 255], [0, 0, 255]]


@AREA.right("gray, black and white, 16-bit and color images in one folder")
def _(folder: Path, listener: Listener) -> None:
    save(folder / "a.png", 255)
    save(folder / "b.png", 1, mode="1")
    save(folder / "c.png", 65535, mode="I;16")
    save(folder / "d.png", "white", mode="RGBA")
    source = aekit.open_data(folder)
    assert source.spec.shape == (3, 8, 12) and source.spec.dtype == "uint16" and (rows_of(source) == 65535).all()


# ---- formats that need a package


@AREA.right("HEIC photographs, with pillow-heif")
def _(folder: Path, listener: Listener) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    save(folder / "IMG_1.HEIC", (200, 40, 40), (64, 48), "RGB", format="HEIF", quality=100)
    source = aekit.open_data(folder)
    assert source.spec.shape == (3, 48, 64) and abs(rows_of(source)[0, :, 5, 5].astype(int) - [200, 40, 40]).max() < 8


WITHOUT_HEIF = mock.patch.object(image_files, "_register_heif", lambda: False)


@AREA.refused(
    "HEIC photographs alone, without pillow-heif", "none of 2 images can be read: HEIC images need pillow-heif"
)
@WITHOUT_HEIF
def _(folder: Path, listener: Listener) -> None:
    (folder / "IMG_1.HEIC").write_bytes(b"x")
    (folder / "IMG_2.heif").write_bytes(b"x")
    aekit.open_data(folder)


@AREA.changed(
    "HEIC photographs among others, without pillow-heif", "2 of 3 images cannot be read: HEIC images need pillow-heif"
)
@WITHOUT_HEIF
def _(folder: Path, listener: Listener) -> None:
    save(folder / "a.jpg")
    (folder / "IMG_1.HEIC").write_bytes(b"x")
    (folder / "IMG_2.HEIC").write_bytes(b"x")
    assert aekit.open_data(folder).read(np.arange(3))[1].tolist() == [False, False, True]


@AREA.right("AVIF images")
def _(folder: Path, listener: Listener) -> None:
    save(folder / "a.avif", (200, 40, 40), (64, 48), "RGB", quality=100)
    assert abs(rows_of(aekit.open_data(folder))[0, :, 5, 5].astype(int) - [200, 40, 40]).max() < 8


@AREA.right(".jfif, .jpe and .pjpeg files")
def _(folder: Path, listener: Listener) -> None:
    for name in ("a.jfif", "b.jpe", "c.pjpeg", "d.JFIF"):
        save(folder / name, 77, format="JPEG")
    source = aekit.open_data(folder)
    assert len(source) == 4 and (abs(rows_of(source).astype(int) - 77) < 3).all()
    assert len(aekit.open_data(folder / "a.jfif")) == 1


@AREA.changed("a folder with empty, cut and mislabeled files", "empty file")
def _(folder: Path, listener: Listener) -> None:
    save(folder / "a.png", 5)
    save(folder / "png_named.jpg", 6, format="PNG")
    (folder / "empty.png").touch()
    (folder / "page.jpg").write_text("<html>404</html>")
    printed = listener.command("data", folder)
    assert "4 samples, 2 usable" in printed and "skipped page.jpg: a web page" in printed


# DICOM


def dicom(path: Path, stored: np.ndarray, **more: Any) -> Path:
    """Write a gray image (H, W) or frames (N, H, W) of 16 bits."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = (
        SecondaryCaptureImageStorage,
        generate_uid(),
    )
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    dataset.PixelData = stored.astype("<u2").tobytes()
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


RAMP = np.arange(0, 4096, 64).reshape(8, 8)


@AREA.right("DICOM: the window of the file, in Hounsfield units")
def _(folder: Path, listener: Listener) -> None:
    dicom(
        folder / "ct.dcm", RAMP, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 500], WindowWidth=[400, 1500]
    )
    dicom(folder / "x.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    source = aekit.open_data(folder)
    values = source.read(np.arange(2))[0].astype(float) / 65535
    units = RAMP - 1024.0
    expected = np.where(
        units <= 40 - 0.5 - 399 / 2, 0, np.where(units > 40 - 0.5 + 399 / 2, 1, (units - 39.5) / 399 + 0.5)
    )
    assert source.spec.dtype == "uint16" and np.allclose(values[0, 0], expected, atol=1e-5)
    assert np.allclose(values[1, 0], 1 - RAMP / 4095, atol=1e-5)


@AREA.changed("DICOM of several frames", "2, of which the first is read; data.images.pages = 'all' reads each")
def _(folder: Path, listener: Listener) -> None:
    path = dicom(folder / "two.dcm", np.stack([RAMP, RAMP[::-1]]))
    listener.lines += aekit.open_data(path).losses
    both = aekit.open_data(path, {"images": {"pages": "all"}}).read(np.arange(2))[0]
    assert np.array_equal(both[1], both[0][:, ::-1])


@AREA.changed("a DICOM report among images", "no image, but SR")
def _(folder: Path, listener: Listener) -> None:
    dicom(folder / "a.dcm", RAMP)
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.dcmread(folder / "a.dcm")
    del dataset.PixelData, dataset.Rows
    dataset.Modality = "SR"
    dataset.save_as(folder / "b.dcm")
    source = aekit.open_data(folder)
    assert source.read(np.arange(2))[1].tolist() == [True, False]
    listener.lines += source.skipped.values()


# ---- folders of competitions and hubs


@AREA.changed(
    "train.csv with numbers of images without endings, beside train/", "train.csv lists images; open it for labels"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, *(f"train/{number}.png" for number in range(10, 14)))
    assert source.spec.shape == (1, 8, 12)
    (folder / "train.csv").write_text("id_code,diagnosis\n10,0\n11,4\n12,0\n13,4\n")
    aekit.open_data(folder).report_notes(listener)
    listed = aekit.open_data(folder / "train.csv")
    assert counts(listed.labels) == {0: 2, 4: 2} and np.array_equal(rows_of(listed), rows_of(source))


@AREA.changed(
    "metadata.csv in the folder of each split, and metadata.jsonl", "test/metadata.csv, train/metadata.csv lists images"
)
def _(folder: Path, listener: Listener) -> None:
    save_many(folder, "train/a.png", "test/b.png")
    (folder / "train/metadata.csv").write_text("file_name,label\na.png,x\n")
    (folder / "test/metadata.csv").write_text("file_name,label\nb.png,y\n")
    aekit.open_data(folder).report_notes(listener)
    save_many(folder / "flat", "a.png")
    (folder / "flat/metadata.jsonl").write_text('{"file_name": "a.png", "label": "x"}\n')
    assert "metadata.jsonl lists images" in aekit.open_data(folder / "flat").notes[-1]


@AREA.changed(
    "folders below those of the classes", "folders such as 'animals' are the classes; folders below them, such as 'cat'"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "animals/cat/0.png", "animals/dog/1.png", "plants/oak/2.png")
    source.report_notes(listener)
    assert counts(source.labels) == {"animals": 2, "plants": 1}
    splits = opened(folder / "splits", "cat/train/0.png", "cat/test/1.png", "dog/train/2.png", "dog/test/3.png")
    assert not splits.notes


@AREA.changed("an empty folder of a split", "folders without a file: test")
def _(folder: Path, listener: Listener) -> None:
    (folder / "test").mkdir()
    assert counts(opened(folder, "train/0.png", "train/1.png").splits) == {"train": 2}
