"""Arrays in memory and in .npy and .npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from unusual.harness import Area, Listener

import aekit

AREA = Area(__name__)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (12, 10, 10), dtype=np.uint8)
LABELS = np.arange(12) % 3


@AREA.changed(
    "a float array (N, H, W) that is square",
    "read as gray images of 16x16, as they are square; data.arrays.kind = 'series'",
)
def _(folder: Path, listener: Listener) -> None:
    array = RNG.normal(size=(20, 16, 16)).astype(np.float32)
    source = aekit.open_data(array)
    assert source.spec.kind == "image" and source.spec.shape == (1, 16, 16)
    assert np.array_equal(source.read(np.arange(20))[0][:, 0], array)
    assert aekit.open_data(array, {"arrays": {"kind": "series"}}).spec.shape == (16, 16)
    listener.lines += source.notes


@AREA.changed("square digits of float64 in a .npy file", "read as gray images of 8x8")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "digits.npy", RNG.integers(0, 16, (20, 8, 8)).astype(np.float64))
    assert "image 1x8x8 float64" in listener.command("data", folder / "digits.npy")


@AREA.changed(
    "masks of 0 and 1, and gray levels 0..14, as 8-bit images",
    "scaling: 0..14 is scaled to 0..1, as no value of these 8-bit samples is above 14",
)
def _(folder: Path, listener: Listener) -> None:
    options = ["--variant", "plain", "--epochs", 1, "--dim", 2]
    for name, images in {"masks": IMAGES > 100, "levels": IMAGES // 17}.items():
        np.save(folder / f"{name}.npy", images)
        listener.command("fit", folder / f"{name}.npy", "-o", folder / name, *options)
    assert any(line.startswith("scaling: 0..1 stays as it is, as no value") for line in listener.lines)


@AREA.changed("a float array (N, C, T)", "read as series of 3 channels and 50 steps")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(RNG.normal(size=(20, 3, 50)))
    assert source.spec.kind == "series"
    listener.lines += source.notes


@AREA.right("square series, for an encoder that was trained on series")
def _(folder: Path, listener: Listener) -> None:
    array = RNG.normal(size=(20, 9, 9)).astype(np.float32)
    encoder = aekit.fit(aekit.open_data(array, {"arrays": {"kind": "series"}}), dim=2, epochs=1, backbone="mlp")
    assert aekit.open_data(array, like=encoder.spec).spec.kind == "series"


@AREA.right("a folder that holds a single .npz")
def _(folder: Path, listener: Listener) -> None:
    np.savez(folder / "any.npz", X=IMAGES, y=LABELS)
    source = aekit.open_data(folder)
    assert source.spec.shape == (1, 10, 10) and source.labels.tolist() == LABELS.tolist()


@AREA.right("kmnist-train-imgs.npz, kmnist-train-labels.npz and a map of the classes")
def _(folder: Path, listener: Listener) -> None:
    for split, count in (("train", 9), ("test", 3)):
        np.savez_compressed(folder / f"kmnist-{split}-imgs.npz", IMAGES[:count])
        np.savez_compressed(folder / f"kmnist-{split}-labels.npz", LABELS[:count])
    (folder / "kmnist_classmap.csv").write_text("index,codepoint,char\n0,U+304A,o\n")
    source = aekit.open_data(folder)
    assert source.labels.tolist() == [*LABELS[:9], *LABELS[:3]] and (source.splits == "train").sum() == 9
    assert np.array_equal(source.read(np.arange(9))[0][:, 0], IMAGES[:9])


@AREA.changed("kmnist-train-imgs.npz alone, with its labels beside", "labels are from kmnist-train-labels.npz")
def _(folder: Path, listener: Listener) -> None:
    np.savez(folder / "kmnist-train-imgs.npz", IMAGES)
    np.savez(folder / "kmnist-train-labels.npz", LABELS)
    source = aekit.open_data(folder / "kmnist-train-imgs.npz")
    assert source.labels.tolist() == LABELS.tolist()
    listener.lines += source.notes


@AREA.right("X_train.npy, y_train.npy, X_test.npy and y_test.npy")
def _(folder: Path, listener: Listener) -> None:
    for split, rows in (("train", slice(0, 8)), ("test", slice(8, 12))):
        np.save(folder / f"X_{split}.npy", IMAGES[rows])
        np.save(folder / f"y_{split}.npy", LABELS[rows])
    source = aekit.open_data(folder)
    assert np.array_equal(source.read(np.arange(12))[0][:, 0], IMAGES) and source.labels.tolist() == LABELS.tolist()
    assert source.splits.tolist() == ["train"] * 8 + ["test"] * 4


@AREA.right("train/X.npy and train/y.npy, test/X.npy and test/y.npy")
def _(folder: Path, listener: Listener) -> None:
    for split, rows in (("train", slice(0, 8)), ("test", slice(8, 12))):
        (folder / split).mkdir()
        np.save(folder / split / "X.npy", IMAGES[rows])
        np.save(folder / split / "y.npy", LABELS[rows])
    source = aekit.open_data(folder)
    assert source.labels.tolist() == LABELS.tolist() and source.splits.tolist() == ["train"] * 8 + ["test"] * 4


@AREA.right("a file of an array for each sample, in folders of classes")
def _(folder: Path, listener: Listener) -> None:
    for row in range(12):
        (folder / f"c{LABELS[row]}").mkdir(exist_ok=True)
        np.save(folder / f"c{LABELS[row]}" / f"{row}.npy", IMAGES[row])
    source = aekit.open_data(folder)
    assert source.spec.shape == (1, 10, 10) and source.ids[:3] == ["c0/0.npy", "c0/3.npy", "c0/6.npy"]
    assert source.labels.tolist() == ["c0"] * 4 + ["c1"] * 4 + ["c2"] * 4
    assert np.array_equal(source.read(np.array([2]))[0][0, 0], IMAGES[6])


@AREA.right("part-0.npy and part-1.npy of one array")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "part-0.npy", IMAGES[:8])
    np.save(folder / "part-1.npy", IMAGES[8:])
    assert np.array_equal(aekit.open_data(folder).read(np.arange(12))[0][:, 0], IMAGES)


@AREA.refused("a folder of arrays of different lengths", "for series of different lengths")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "a.npy", np.zeros((10, 3)))
    np.save(folder / "b.npy", np.zeros((12, 3)))
    aekit.open_data(folder)


@AREA.refused("two data sets in a folder of .npz files", "holds 2 data sets (k 49, kmnist); choose a file of one")
def _(folder: Path, listener: Listener) -> None:
    for base in ("k49", "kmnist"):
        np.savez(folder / f"{base}-train-imgs.npz", IMAGES)
        np.savez(folder / f"{base}-train-labels.npz", LABELS)
    aekit.open_data(folder)


@AREA.refused("other than one label for each sample", "3 labels for the 12 samples of X.npy")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "X.npy", IMAGES)
    np.save(folder / "y.npy", LABELS[:3])
    aekit.open_data(folder)


@AREA.right("samples and labels without names in an .npz")
def _(folder: Path, listener: Listener) -> None:
    np.savez(folder / "a.npz", IMAGES, LABELS)
    assert aekit.open_data(folder / "a.npz").labels.tolist() == LABELS.tolist()


@AREA.refused("a folder whose path is not UTF-8", "the path is not UTF-8; rename the folder or file")
def _(folder: Path, listener: Listener) -> None:
    import os

    os.mkdir(os.fsencode(folder) + b"/d\xe9j\xe0")
    place = Path(os.fsdecode(os.fsencode(folder) + b"/d\xe9j\xe0"))
    np.save(place / "a.npy", IMAGES)
    aekit.open_data(place)


@AREA.changed("a file of `scipy.sparse.save_npz`", "a sparse matrix of 12 x 5 was made dense")
def _(folder: Path, listener: Listener) -> None:
    values = np.where(RNG.random((12, 5)) < 0.4, 1.5, 0.0)
    for form in ("csr", "csc", "coo", "bsr"):
        scipy.sparse.save_npz(folder / f"{form}.npz", getattr(scipy.sparse, f"{form}_matrix")(values))
        source = aekit.open_data(folder / f"{form}.npz")
        assert np.array_equal(source.read(np.arange(12))[0], values)
    listener.lines += source.notes


@AREA.refused("a sparse matrix whose columns lie outside of it, in a file", "damaged (indices must be < 12)")
def _(folder: Path, listener: Listener) -> None:
    scipy.sparse.save_npz(folder / "a.npz", scipy.sparse.csr_matrix(np.eye(12)))
    parts = {**np.load(folder / "a.npz")}
    np.savez(folder / "a.npz", **{**parts, "indices": parts["indices"] + 7})
    aekit.open_data(folder / "a.npz")


@AREA.refused("an array with named fields in a file", "pass the array itself, or a DataFrame of it")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "a.npy", np.zeros(12, [("a", "f8"), ("b", "f8")]))
    aekit.open_data(folder / "a.npy")


@AREA.refused("an array of complex numbers", "np.stack([array.real, array.imag], axis=1)")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(np.ones((12, 3), complex))


@AREA.changed("bytes without a sign in a NetCDF file, which has none of them", "as its attribute _Unsigned says")
def _(folder: Path, listener: Listener) -> None:
    h5py = pytest.importorskip("h5py")
    values = RNG.integers(0, 256, (12, 5), np.uint8)
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("x", data=values.view(np.int8)).attrs["_Unsigned"] = "true"
    source = aekit.open_data(folder / "a.h5")
    listener.lines += source.losses
    assert np.array_equal(source.read(np.arange(12))[0], values)


@AREA.right("the other order of bytes, as FITS has it, in an array, its fields and a DataFrame")
def _(folder: Path, listener: Listener) -> None:
    values = RNG.normal(size=(12, 3)).astype(">f8")
    fields = np.array([(*row, b"n") for row in values], [("a", ">f8"), ("b", ">f8"), ("c", ">f8"), ("label", "S1")])
    for data in (values, fields, pd.DataFrame(values), pd.DataFrame(fields)):
        assert np.array_equal(aekit.open_data(data).read(np.arange(12))[0], values)
    assert set(aekit.open_data(fields).labels) == {"n"}


@AREA.right("categories, views of text, bytes and runs of equal values, as polars and other programs hold them")
def _(folder: Path, listener: Listener) -> None:
    a = pa.array(np.arange(12.0) % 5)
    names = pa.array(["x", "y"] * 6)
    views = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 6, pa.uint32()), pa.array(["x", "y"], pa.string_view()))
    for label in (views, names.cast(pa.string_view()), names.cast(pa.binary()), names.cast(pa.binary_view())):
        source = aekit.open_data(pa.table({"a": a, "label": label}))
        assert source.labels.tolist() == ["x", "y"] * 6
    runs = pa.RunEndEncodedArray.from_arrays([6, 12], [1.0, 2.0])
    assert aekit.open_data(pa.table({"a": a, "b": runs})).read(np.arange(12))[0][:, 1].tolist() == [1] * 6 + [2] * 6


@AREA.right("a column whose name is empty, which is a feature")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(pd.DataFrame(RNG.normal(size=(12, 2)), columns=["", "b"]))
    assert source.spec.names == ["", "b"] and source.labels is None


@AREA.refused("a dict of columns of different lengths", "columns of different lengths ('a' has 3, 'b' has 2)")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data({"a": [1, 2, 3], "b": [1, 2]})
