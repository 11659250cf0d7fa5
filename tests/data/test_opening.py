"""Opening data: arrays in memory and in files, images, tables, data sets by name; and all that can be bad in them."""

from __future__ import annotations

import errno
import gzip
import json
import mmap
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import aekit
from aekit.data.axes import infer_axes
from aekit.data.cache import decode_once
from aekit.data.in_memory import from_array
from aekit.data.opening import open_data, reopen
from aekit.data.readers import image_headers
from aekit.data.readers.endings import DICOM_ENDINGS, IMAGE_ENDINGS
from aekit.data.reading import hash_content
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource, Source
from aekit.data.spec import Column, SampleSpec
from aekit.errors import DataError, DataWarning, OutputError, PluginError, RecipeError
from aekit.io import memory
from aekit.progress import SILENT
from aekit.registry.discovery import registry

GRAY = SampleSpec("image", (1, 28, 28), "uint8", "crop")


def everything(source: Source) -> tuple[np.ndarray, np.ndarray]:
    return source.read(np.arange(len(source)))


def save_image(path: Path, color: object = (200, 100, 50), size: tuple[int, int] = (12, 8), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)  # type: ignore[arg-type]
    return path


def save_idx(path: Path, array: np.ndarray) -> Path:
    raw = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def save_png_header(path: Path, side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


# What the axes of an array are


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((5, 7), "float32", "vector 7 float32"),
        ((5, 8, 9), "uint8", "image 1x8x9 uint8"),
        ((5, 8, 9), "uint16", "image 1x8x9 uint16"),
        ((5, 8, 9), "float32", "series 8x9 float32"),
        ((5, 8, 9, 3), "uint8", "image 3x8x9 uint8"),
        ((5, 3, 8, 9), "uint8", "image 3x8x9 uint8"),
        ((5, 8, 9, 1), "uint16", "image 1x8x9 uint16"),
        ((5, 6, 8, 9), "float32", "image 6x8x9 float32"),
        ((5, 2, 8, 9, 3), "uint8", "clip 3x2x8x9 uint8"),
        ((5, 3, 2, 8, 9), "float32", "clip 3x2x8x9 float32"),
        ((5, 16, 16, 12), "uint16", "image 12x16x16 uint16"),
        ((5, 12, 16, 16), "uint16", "image 12x16x16 uint16"),
        ((5, 64, 8, 8), "float32", "image 64x8x8 float32"),
        ((5, 3, 16, 16), "float32", "image 3x16x16 float32"),
        ((5, 4, 16, 16, 2), "uint8", "clip 2x4x16x16 uint8"),
        ((5, 4, 2, 16, 16), "uint8", "clip 4x2x16x16 uint8"),
    ],
)
def test_the_axes_and_dtype_decide_what_a_sample_is(shape: tuple[int, ...], dtype: str, expected: str) -> None:
    assert str(open_data(np.zeros(shape, dtype)).spec) == expected


def test_unusual_numbers_of_channels_are_told() -> None:
    for shape, said in {
        (5, 16, 16, 12): (
            "read as images of 12 channels, which come last; layout = 'channels-first' reads 16 channels",
        ),
        (5, 9, 12, 6): ("read as images of 9 channels, which come first; layout = 'channels-last' reads 6 channels",),
        (5, 12, 16, 16): (),
        (5, 3, 16, 9): (),
    }.items():
        assert from_array(np.zeros(shape, np.uint8)).notes == said
    assert from_array(np.zeros((5, 9, 12, 6), np.uint8), layout="channels-last").notes == ()


def test_columns_without_names_are_taken_in_the_order_of_the_training() -> None:
    trained_on = open_data(pa.table({name: np.eye(6)[i] for i, name in enumerate("abcdef")})).spec
    assert open_data(np.eye(6), like=trained_on).notes == (
        "columns without names are taken in the order of those of the training: a, b, c, d, e and 1 more",
    )
    assert open_data(np.eye(6), like=open_data(np.eye(6)).spec).notes == ()


def test_channels_last_moves_values_rather_than_reshaping_them() -> None:
    array = np.arange(2 * 6 * 5 * 3, dtype=np.uint8).reshape(2, 6, 5, 3)
    rows, _ = everything(from_array(array))
    assert rows[1, 2, 3, 4] == array[1, 3, 4, 2]
    series, kind, _ = infer_axes(np.zeros((2, 9, 5)), "series", "channels-last")
    assert (series.shape, kind) == ((2, 5, 9), "series")


def test_an_encoder_settles_what_is_ambiguous() -> None:
    floats = SampleSpec("image", (1, 8, 9), "float32")
    assert open_data(np.zeros((5, 8, 9), np.float64), like=floats).spec.kind == "image"
    assert len(open_data(np.zeros((28, 28), np.uint8), like=GRAY)) == 1
    assert len(open_data(np.zeros(7), like=SampleSpec("vector", (7,), "float64"))) == 1
    assert "'image' reads gray images" in open_data(np.zeros((5, 8, 9))).notes[0]


def test_kinds_can_be_forced() -> None:
    assert from_array(np.zeros((5, 8, 9), np.uint8), kind="vector").spec.shape == (72,)
    assert from_array(np.zeros((5, 8)), kind="series").spec.shape == (1, 8)
    assert from_array(np.zeros((5, 4, 8, 9)), kind="clip").spec.shape == (1, 4, 8, 9)
    with pytest.raises(DataError, match="cannot be read as kind 'clip'"):
        from_array(np.zeros((5, 8)), kind="clip")


def test_tensors_lists_and_sources() -> None:
    assert open_data(torch.ones(3, 2, dtype=torch.bfloat16)).spec.dtype == "float32"
    assert open_data([[1.0, 2.0], [3.0, 4.0]]).spec.shape == (2,)
    source = ArraySource(np.zeros((2, 2)))
    assert open_data(source) is source
    assert source.origin is None


def test_data_in_memory_takes_the_options_of_arrays() -> None:
    array = np.arange(5 * 8 * 9, dtype=np.float32).reshape(5, 8, 9)
    for data in (array, list(array), torch.from_numpy(array)):
        source = open_data(data, {"arrays": {"kind": "image"}})
        assert str(source.spec) == "image 1x8x9 float32" and source.origin is None
        assert np.array_equal(everything(source)[0][:, 0], array)
    last = open_data(array, {"arrays": {"kind": "series", "layout": "channels-last"}})
    assert np.array_equal(everything(last)[0], array.transpose(0, 2, 1))
    table = pa.table({"a": [1.0, 2.0, None], "b": [4.0, 5.0, 6.0], "label": ["x", "y", "x"]})
    source = open_data(table, {"arrays": {"missing": "median", "y": "none", "x": ["a", "b"]}})
    assert source.labels is None and everything(source)[0][2].tolist() == [1.5, 6.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"images": {"size": 32}},
            "data.images: source 'images' does not open data in memory; expected options of 'arr",
        ),
        ({"arrays": {"kid": "image"}}, "data.arrays.kid: no such option; did you mean 'kind'"),
        ({"arrays": {"labels": "y.npy"}}, "data.arrays.labels = 'y.npy': names a file, but the data is in memory"),
        ({"arrays": {"x": "pixels"}}, "data.arrays: x and y are for .npz files and tables, not for arrays"),
        ({"arrays": {}, "images": {}}, "data: options of arrays and images; expected those of one source"),
        ({"arrays": 3}, "data.arrays = 3: expected a table of options"),
    ],
)
def test_options_that_do_not_apply_in_memory_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        open_data(np.zeros((5, 8, 9)), options)


def test_an_open_source_takes_no_options() -> None:
    with pytest.raises(RecipeError, match="options do not apply to a source that is already open"):
        open_data(ArraySource(np.zeros((2, 2))), {"arrays": {"kind": "vector"}})


def test_settings_of_fit_reach_an_array_in_memory() -> None:
    array = np.random.default_rng(0).random((10, 8, 9), np.float32)
    encoder = aekit.fit(array, dim=2, epochs=1, overrides={"data.arrays.kind": "image", "encoder.backbone": "mlp"})
    assert str(encoder.spec) == "image 1x8x9 float32"
    assert len(encoder.embed(array)) == 10


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([np.zeros(3), np.zeros(3), np.zeros(4)], r"row 2 of the list has shape \(4,\), row 0 has \(3,\)"),
        ([[1, [2]], [3, 4]], "row 0 of the list is ragged"),
        (np.array([np.zeros(2), np.zeros(3)], dtype=object), "row 1 of the list has shape"),
        ([], "an empty list"),
        (np.zeros(5), r"array of shape \(5,\): expected 2 dimensions"),
        (np.array([["a", "b"]]), "expected numbers"),
        (np.zeros((0, 3)), "no samples"),
        (3.5, "data of type float"),
    ],
)
def test_bad_data_in_memory(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_data(data)


def test_samples_that_do_not_fit_the_encoder_are_refused() -> None:
    with pytest.raises(DataError, match="samples are image 1x28x28 float32, the encoder takes image 1x28x28 uint8"):
        open_data(np.zeros((2, 1, 28, 28), np.float32), like=GRAY)
    with pytest.raises(DataError, match="samples are vector 5 float64, the encoder takes vector 6"):
        open_data(np.zeros((2, 5)), like=SampleSpec("vector", (6,), "float64"))
    assert open_data(np.zeros((2, 6), np.float32), like=SampleSpec("vector", (6,), "float64")).spec.dtype == "float32"


def test_ids_that_are_not_unique_are_named() -> None:
    with pytest.raises(DataError, match="id 'b' occurs more than once"):
        open_data(from_array(np.zeros((3, 2)), ids=["a", "b", "b"]))


# Names, paths, options


def test_a_path_that_exists_wins_over_a_source_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(tmp_path / "sklearn:digits" / "a.png")
    monkeypatch.chdir(tmp_path)
    source = open_data("sklearn:digits")
    assert source.origin == {"data": str(tmp_path / "sklearn:digits"), "source": "images", "options": {}}
    assert reopen(source.origin).ids == ["a.png"]


def test_relative_paths_start_at_the_base_and_a_source_can_be_named(tmp_path: Path) -> None:
    save_image(tmp_path / "photos" / "a.png")
    for data in ("photos", "images:photos", Path("photos")):
        source = open_data(data, {"images": {"size": 5}}, base=tmp_path)
        assert source.spec.shape == (3, 5, 5)
        assert reopen(source.origin or {}).spec == source.spec
    assert (source.origin or {})["data"] == str(tmp_path / "photos")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photo", "no such file or folder; did you mean 'photos'"),
        ("zzz", "no such file or folder; expected a folder, a file or SOURCE:NAME"),
        ("not/here", "not does not exist"),
        ("clip.xyz", "no source reads files ending in '.xyz'; if it is a table of text, open arrays:.*clip.xyz"),
        ("clip.numbers", r"no source reads files ending in '.numbers'; save it as .xlsx or CSV"),
        ("a.jpgg", r"no source reads files ending in '.jpgg'; did you mean '.jpg'"),
        ("empty", r"an empty folder; looked for .*images: .*\.png"),
        ("texts", r"no samples; looked for .*images: .*\.png"),
    ],
)
def test_paths_without_data(tmp_path: Path, name: str, message: str) -> None:
    save_image(tmp_path / "photos" / "a.png")
    for other in ("clip.xyz", "clip.numbers", "a.jpgg"):
        (tmp_path / other).write_text("?")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("?")
    with pytest.raises(DataError, match=message) as error:
        open_data(name, base=tmp_path)
    assert "\n" not in str(error.value)


def test_an_unknown_source_is_answered_with_the_nearest() -> None:
    with pytest.raises(PluginError, match="no source 'image'; did you mean 'images'"):
        open_data("image:photos")


def test_options_are_checked(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    with pytest.raises(RecipeError, match=r"data\.arrays: .* is opened by source 'images'"):
        open_data(tmp_path, {"arrays": {"x": "a"}})
    with pytest.raises(RecipeError, match=r"data\.images\.sise: no such option; did you mean 'size'"):
        open_data(tmp_path, {"images": {"sise": 3}})
    with pytest.raises(RecipeError, match=r"data\.images\.size"):
        open_data(tmp_path, {"images": {"size": 0}})
    with pytest.raises(RecipeError, match=r"data\.images = 3: expected a table"):
        open_data(tmp_path, {"images": 3})  # type: ignore[dict-item]


def test_a_folder_that_two_sources_claim_asks_which(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    save_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((2, 4, 4)))
    with pytest.raises(DataError, match=r"can be opened by 2 sources; write arrays:.* or images:"):
        open_data(tmp_path)
    assert len(open_data(f"arrays:{tmp_path}")) == 2
    assert len(open_data(tmp_path, {"images": {}})) == 1


def test_the_registered_endings_are_those_that_are_read() -> None:
    tags = set(registry().get("source", "images").entry.tags)
    assert tags >= set(IMAGE_ENDINGS)


# Arrays in files


def test_npy_is_memory_mapped_and_its_bytes_are_kept(tmp_path: Path) -> None:
    array = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)
    np.save(tmp_path / "x.npy", array)
    (tmp_path / "x.npy.gz").write_bytes(gzip.compress((tmp_path / "x.npy").read_bytes()))
    source = open_data(tmp_path / "x.npy")
    assert isinstance(source, ArraySource)
    assert isinstance(source.array, np.memmap)
    np.testing.assert_array_equal(everything(source)[0][:, 0], array)
    np.testing.assert_array_equal(everything(open_data(tmp_path / "x.npy.gz"))[0][:, 0], array)


@pytest.mark.parametrize(
    "names",
    [
        "X y",
        "x labels",
        "data target",
        "images label",
        "arr_0 y",
        "frames targets",
        "only y",
        "X_train y_train X_test y_test",
    ]
    + ["train_x train_y test_x test_y", "train_images train_labels test_images test_labels"],
)
def test_the_usual_names_in_an_npz(tmp_path: Path, names: str) -> None:
    arrays = {name: np.full((3, 2), 7.0) if n % 2 == 0 else np.arange(3) for n, name in enumerate(names.split())}
    if names == "only y":
        arrays.pop("y")
    np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
    source = open_data(tmp_path / "d.npz")
    assert len(source) == (6 if "test" in names else 3)
    assert (source.labels is None) == (names == "only y")
    if "test" in names:
        assert source.splits is not None
        assert source.splits.tolist() == ["train"] * 3 + ["test"] * 3
        assert source.labels is not None
        assert source.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_other_names_in_an_npz_are_chosen_by_options(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", good=np.ones((3, 2)), bad=np.zeros((3, 2)), mark=np.array([b"u", b"v", b"u"]))
    with pytest.raises(DataError, match="holds good, bad, mark; expected one of X, data, images"):
        open_data(tmp_path / "d.npz")
    with pytest.raises(DataError, match="no array 'goood'; did you mean 'good'"):
        open_data(tmp_path / "d.npz", {"arrays": {"x": "goood"}})
    source = open_data(tmp_path / "d.npz", {"arrays": {"x": "good", "y": "mark"}})
    assert source.labels is not None
    assert source.labels.tolist() == ["u", "v", "u"]
    assert everything(source)[0].all()


def test_labels_are_not_read_when_told_so_nor_where_a_split_lacks_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=np.arange(3))
    assert open_data(tmp_path / "a.npz", {"arrays": {"y": "none"}}).labels is None
    np.savez(tmp_path / "b.npz", x_train=np.ones((3, 2)), y_train=np.arange(3), x_test=np.ones((2, 2)))
    source = open_data(tmp_path / "b.npz")
    assert source.labels is None
    assert "only 1 of 2 splits" in "; ".join(source.notes)


def test_bad_array_files_are_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, 3], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", X=np.array([[1], [1, 2]], dtype=object))
    np.savez(tmp_path / "count.npz", X=np.ones((4, 2)), y=np.arange(3))
    np.savez(tmp_path / "shapes.npz", x_train=np.ones((4, 2)), x_test=np.ones((4, 3)))
    np.save(tmp_path / "whole.npy", np.ones((100, 100)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:500])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "count.npz").read_bytes()[:200])
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "nothing.npy").write_bytes(b"")
    (tmp_path / "cut.npy.gz").write_bytes(gzip.compress((tmp_path / "whole.npy").read_bytes())[:60])
    (tmp_path / "x-ubyte").write_bytes(b"\1\2\3\4")
    for name, message in {
        "objects.npy": "Python objects, which are never loaded",
        "objects.npz": "Python objects, which are never loaded",
        "count.npz": "y has 3 labels for the 4 samples of X",
        "shapes.npz": r"x_test is of shape \(4, 3\), x_train of \(4, 2\)",
        "cut.npy": "damaged",
        "cut.npz": "damaged",
        "text.npy": "not a NumPy file",
        "nothing.npy": "not a NumPy file; it begins with nothing",
        "cut.npy.gz": "damaged",
        "x-ubyte": "not an IDX file; it begins with 01020304",
    }.items():
        with pytest.raises(DataError, match=f"{name}: .*{message}") as error:
            open_data(tmp_path / name)
        assert "\n" not in str(error.value)


def test_idx_finds_the_labels_beside_it(tmp_path: Path) -> None:
    pixels = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    for name in ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"):
        save_idx(tmp_path / name, pixels)
    save_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([2, 0, 1]))
    for name in ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"):
        source = open_data(tmp_path / name)
        assert source.labels is not None
        assert source.labels.tolist() == [2, 0, 1]
        np.testing.assert_array_equal(everything(source)[0][:, 0], pixels)
    with pytest.raises(DataError, match=r"mine\.npy: cannot be read \(No such file"):
        open_data(tmp_path / "train-images-idx3-ubyte", {"arrays": {"labels": "mine.npy"}})
    np.save(tmp_path / "mine.npy", np.array([5, 6, 7]))
    source = open_data(tmp_path / "train-images-idx3-ubyte", {"arrays": {"labels": "mine.npy"}})
    assert source.labels is not None
    assert source.labels.tolist() == [5, 6, 7]


def test_a_folder_of_idx_files_is_one_data_set(tmp_path: Path) -> None:
    for prefix, count in {"train": 3, "t10k": 2}.items():
        save_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", np.zeros((count, 4, 4)))
        save_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count))
    source = open_data(tmp_path)
    assert list(source.ids) == ["train-0", "train-1", "train-2", "test-0", "test-1"]
    save_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.arange(5))
    with pytest.raises(DataError, match="5 labels for the 2 samples of t10k-images"):
        open_data(tmp_path)


def test_an_idx_file_shorter_than_its_header_is_refused(tmp_path: Path) -> None:
    path = save_idx(tmp_path / "a-ubyte", np.zeros((3, 4, 4)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"says 48 bytes of shape \(3, 4, 4\), the file has 47"):
        open_data(path)


# Tables


def test_a_table_has_labels_ids_splits_and_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "id,a,b,class,split,y\nr1,1,0.5,cat,train,3\nr2,,2,dog,val,4\nr3,3,true,cat,test,5\n".replace("true", "1")
    )
    source = open_data(path)
    assert source.spec == SampleSpec("vector", (2,), "float64", columns=(Column("a"), Column("b")))
    assert SampleSpec.from_dict(json.loads(json.dumps(source.spec.to_dict()))) == source.spec
    assert list(source.ids) == ["r1", "r2", "r3"]
    assert source.labels is not None
    assert source.labels.tolist() == ["cat", "dog", "cat"]
    assert source.splits is not None
    assert source.splits.tolist() == ["train", "validation", "test"]
    assert "; ".join((*source.notes, *source.losses)) == (
        "column 'class' is the label; column 'id' holds the ids; columns ignored: y; "
        "1 row has missing values and cannot be used; "
        "data.arrays.missing = 'median' imputes them"
    )
    assert load_samples(source, np.arange(3), torch.device("cpu")).rows.tolist() == [0, 2]
    assert source.skipped == {"r2": "nan in column 'a'"}


def test_tables_of_other_makes(tmp_path: Path) -> None:
    (tmp_path / "nameless.csv").write_text("1,2\n3,4\n")
    (tmp_path / "semicolons.csv").write_text("a;b\n3;4.5\n")
    (tmp_path / "tabs.tsv").write_text("a\tb\n3\t4\n")
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(b"a,b\n3,4\n"))
    pq.write_table(pa.table({"a": np.ones(2, np.float32), "target": [4, 5]}), tmp_path / "t.parquet")
    assert len(open_data(tmp_path / "nameless.csv")) == 2
    assert everything(open_data(tmp_path / "semicolons.csv"))[0].tolist() == [[3, 4.5]]
    assert open_data(tmp_path / "tabs.tsv").spec.shape == open_data(tmp_path / "packed.csv.gz").spec.shape == (2,)
    parquet = open_data(tmp_path / "t.parquet")
    assert parquet.spec.dtype == "float32"
    assert parquet.labels is not None
    assert parquet.labels.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("name,town\nx,y\n", {}, "no numbers in 'name', 'town'; aekit does not embed text"),
        ("a,name\n1,x\n", {"x": ["a", "name"]}, "no numbers in 'name'; choose columns by x"),
        ("a,b\n1,2\n", {"y": "aa"}, "no column 'aa'; did you mean 'a'"),
        ("a,b\n", {}, "the table has no rows"),
        ("", {}, "empty file"),
        ("a,b\n1,2\n1\n", {}, "not a readable table"),
        ("label\n1\n", {}, "no columns of numbers"),
        ("a,split\n1,other\n", {}, "row 0 has split 'other'; expected train"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, options: dict[str, Any], message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        open_data(tmp_path / "t.csv", {"arrays": options})


def test_columns_of_words_are_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,a,town,target\nx,1,y,0\nz,2,y,1\n")
    source = open_data(tmp_path / "t.csv")
    assert source.spec.shape == (1,)
    assert source.notes == ("column 'target' is the label",)
    assert source.losses == ("columns without numbers ignored: 'name', 'town'",)


PEOPLE = "name,age,town,smokes,class\nann,30,Rome,yes,a\nbob,,Oslo,no,b\ncid,50,,no,a\ndan,44,Rome,yes,b\n"


def table_of(text: str, path: Path) -> Path:
    path.write_text(text)
    return path


def test_few_words_become_entries_of_0_and_1_and_gaps_are_filled(tmp_path: Path) -> None:
    path = table_of(PEOPLE.replace("ann,30", "ann,?"), tmp_path / "people.csv")
    source = open_data(path, {"arrays": {"missing": "median"}})
    town, smokes = Column("town", ("Oslo", "Rome")), Column("smokes", ("no", "yes"))
    assert source.spec.columns == (Column("age", impute_value=47.0), town, smokes)
    assert everything(source)[0].tolist() == [
        [47, 0, 1, 0, 1], [47, 1, 0, 1, 0], [50, 0, 0, 1, 0], [44, 0, 1, 0, 1],
    ]  # fmt: skip
    assert "columns without numbers ignored: 'name'" in "; ".join(source.losses), "another one in every row"
    assert "missing values are replaced by the median in 'age' (2 of 4)" in "; ".join(source.losses)
    assert open_data(path, {"arrays": {"categories": "none"}}).spec.columns == (Column("age"),)


def test_pages_and_cards_name_the_entries(tmp_path: Path) -> None:
    path = table_of("age,<town>\n" + "30,Rome\n40,Oslo\n" * 20, tmp_path / "people.csv")
    aekit.fit(path, dim=2, overrides={"train.epochs": 1}, out=tmp_path / "run")
    assert aekit.load(tmp_path / "run").spec.names == ["age", "<town>: Oslo", "<town>: Rome"]
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "The bars are, from the left: age, &lt;town&gt;: Oslo, &lt;town&gt;: Rome." in page
    card = (tmp_path / "run" / "encoder" / "README.md").read_text("utf-8")
    assert "| entries, in this order | age, <town>: Oslo, <town>: Rome |" in card


def test_words_and_medians_are_of_the_training_part(tmp_path: Path) -> None:
    text = "a,b,split\n1,x,train\n3,y,train\n2,x,train\n2,y,train\n,z,test\n900,z,test\n"
    source = open_data(table_of(text, tmp_path / "t.csv"), {"arrays": {"missing": "median"}})
    assert source.spec.columns == (Column("a", impute_value=2.0), Column("b", ("x", "y")))
    assert everything(source)[0].tolist()[4] == [2, 0, 0]


def test_an_encoder_finds_its_columns_by_name(tmp_path: Path) -> None:
    first = open_data(table_of(PEOPLE, tmp_path / "people.csv"), {"arrays": {"missing": "median"}})
    like = SampleSpec.from_dict(first.spec.to_dict())
    rows = everything(first)[0]
    other = "more,town,age,smokes\n1,Rome,30,yes\n2,Paris,,no\n"
    second = open_data(table_of(other, tmp_path / "other.csv"), like=like)
    assert everything(second)[0].tolist() == [rows[0].tolist(), [44, 0, 0, 1, 0]]
    assert "categories in 'town' unknown to the encoder: 'Paris'" in "; ".join(second.losses)
    assert second.spec.columns == like.columns
    for text, message in {
        "agee,town,smokes\n1,a,b\n": "no column 'age', expected by the encoder; did you mean 'agee'",
        "age,town,smokes\nold,a,b\n": "column 'age' does not hold numbers; expected numbers",
    }.items():
        with pytest.raises(DataError, match=message):
            open_data(table_of(text, tmp_path / "bad.csv"), like=like)


def test_tables_in_a_folder_are_its_splits(tmp_path: Path) -> None:
    table_of("a,town,class\n1,x,p\n2,y,q\n3,x,p\n4,y,q\n", tmp_path / "train.csv")
    table_of("town,a\nz,5.5\n", tmp_path / "test.csv")
    source = open_data(tmp_path)
    assert source.splits is not None and source.splits.tolist() == 4 * ["train"] + ["test"]
    assert source.labels is not None and source.labels.tolist() == ["p", "q", "p", "q", ""]
    assert everything(source)[0].tolist() == [[1, 1, 0], [2, 0, 1], [3, 1, 0], [4, 0, 1], [5.5, 0, 0]]
    assert list(source.ids)[3:] == ["train-3", "test-0"]
    table_of("town,a\nz,old\n", tmp_path / "test.csv")
    with pytest.raises(DataError, match=r"train\.csv, test\.csv: their columns are of different types"):
        open_data(tmp_path)
    table_of("a\n1\n", tmp_path / "more.csv")
    with pytest.raises(DataError, match=r"train\.csv and test\.csv"):
        open_data(tmp_path)


def test_three_directions_are_no_label(tmp_path: Path) -> None:
    assert open_data(table_of("x,y\n1,2\n3,4\n", tmp_path / "a.csv")).labels is not None
    three = open_data(table_of("x,y,z\n1,2,3\n4,5,6\n", tmp_path / "b.csv"))
    assert three.labels is None and three.spec.shape == (3,)


def test_columns_without_names_are_taken_in_order(tmp_path: Path) -> None:
    like = open_data(table_of("a,b\n1,2\n3,4\n", tmp_path / "t.csv")).spec
    assert everything(open_data(table_of("5,6\n7,8\n", tmp_path / "nameless.csv"), like=like))[0].tolist() == [
        [5, 6],
        [7, 8],
    ]
    assert everything(open_data(np.array([[5.0, 6.0]]), like=like))[0].tolist() == [[5, 6]]
    other = table_of("c,d,e\n1,2,3\n", tmp_path / "other.csv")
    assert everything(open_data(other, {"arrays": {"x": ["e", "c"]}}, like=like))[0].tolist() == [[3, 1]]
    with pytest.raises(DataError, match="1 columns, expected 2: a, b"):
        open_data(other, {"arrays": {"x": ["e"]}}, like=like)


def test_tables_that_cannot_be_taken_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'a' names more than one column"):
        open_data(table_of("a,a\n1,2\n3,4\n", tmp_path / "twice.csv"))
    like = open_data(pa.table({"a": np.arange(4.0), "town": list("xyxy")})).spec
    with pytest.raises(DataError, match="column 'town' holds lists or records; expected categories"):
        open_data(pa.table({"a": [1.0, 2.0], "town": [[1], [2]]}), like=like)

    class Mixed:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            raise pa.ArrowInvalid("Could not convert 'x' with type str")

    with pytest.raises(DataError, match="the table: a column of mixed or unknown values"):
        open_data(Mixed())


def test_tables_in_memory() -> None:
    table = pa.table(
        {"b": np.arange(4.0), "town": pa.array(list("xyxy")).dictionary_encode(), "y": list("pqpq"), "none": [None] * 4}
    )
    source = open_data(table)
    assert source.spec.columns == (Column("b"), Column("town", ("x", "y")))
    assert source.labels is not None and source.labels.tolist() == list("pqpq")
    assert "empty columns ignored: 'none'" in "; ".join(source.losses)
    encoder = aekit.fit(
        pa.table({"a": np.arange(20.0), "b": np.arange(20.0) % 3}), dim=2, overrides={"train.epochs": 1}
    )
    turned = encoder.embed(pa.table({"b": np.arange(20.0) % 3, "a": np.arange(20.0)}))
    straight = encoder.embed(np.column_stack([np.arange(20.0), np.arange(20.0) % 3]))
    assert np.array_equal(turned.vectors, straight.vectors)


# Images


def test_folders_are_classes_in_natural_order(tmp_path: Path) -> None:
    for name in (
        "cat/10.png",
        "cat/2.png",
        "dog/deep/1.png",
        "dog/x.txt",
        ".hidden/1.png",
        "__MACOSX/1.png",
        "Thumbs.db",
    ):
        save_image(tmp_path / name) if name.endswith("png") else (tmp_path / name).write_text("?")
    source = open_data(tmp_path)
    assert source.ids == ["cat/2.png", "cat/10.png", "dog/deep/1.png"]
    assert source.labels is not None
    assert source.labels.tolist() == ["cat", "cat", "dog"]
    assert source.splits is None
    assert "4 files that are not images are ignored" in "; ".join(source.notes)
    assert open_data(tmp_path / "cat").labels is None


def test_split_folders_give_splits(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "test/dog/1.png"):
        save_image(tmp_path / name)
    source = open_data(tmp_path)
    assert source.splits is not None
    assert dict(zip(source.ids, source.splits.tolist()))["val/cat/1.png"] == "validation"
    assert source.labels is not None
    assert source.labels.tolist() == ["dog", "cat", "dog", "cat"]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_list_of_images(tmp_path: Path, ending: str) -> None:
    for name in "ab":
        save_image(tmp_path / "in" / f"{name}.png")
    columns = {"file": ["in/b.png", "in/a.png"], "class": ["u", "v"], "split": ["train", "test"], "id": ["7", "9"]}
    if ending == ".csv":
        lines = [",".join(columns), *(",".join(row) for row in zip(*columns.values()))]
        (tmp_path / "list.csv").write_text("\n".join(lines))
    else:
        pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    source = open_data(tmp_path / f"list{ending}")
    assert list(source.ids) == ["7", "9"]
    assert source.labels is not None
    assert source.labels.tolist() == ["u", "v"]
    assert source.rows_of("test").tolist() == [1]
    assert everything(source)[1].all()


def test_a_list_with_a_missing_file_skips_it_and_with_a_doubled_one_is_refused(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("path\na.png\nb.png\n")
    source = open_data(tmp_path / "list.csv")
    assert everything(source)[1].tolist() == [True, False]
    assert source.skipped == {"b.png": "the file is missing"}
    (tmp_path / "list.csv").write_text("path\na.png\na.png\n")
    with pytest.raises(DataError, match=r"id 'a\.png' occurs more than once"):
        open_data(tmp_path / "list.csv")


def test_a_common_size_is_kept_exactly_and_others_become_64(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    source = open_data(tmp_path)
    assert "; ".join(source.notes) == ""
    np.testing.assert_array_equal(everything(source)[0][0], pixels.transpose(2, 0, 1))
    save_image(tmp_path / "b.png", size=(40, 20))
    source = open_data(tmp_path)
    assert source.spec.shape == (3, 64, 64)
    assert "resized to 64x64" in "; ".join(source.notes)


def test_resizing_crops_pads_or_stretches(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200  # the middle third is bright
    Image.fromarray(pixels).save(tmp_path / "a.png")
    bright = {}
    for resize in ("crop", "pad", "stretch"):
        rows, _ = everything(open_data(tmp_path, {"images": {"size": 30, "resize": resize}}))
        bright[resize] = (rows[0, 0] > 100).mean()
    assert bright["crop"] == pytest.approx(1, abs=0.1)
    assert bright["pad"] == pytest.approx(1 / 9, abs=0.03)
    assert bright["stretch"] == pytest.approx(1 / 3, abs=0.05)


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    checks = np.indices((256, 256)).sum(0) % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "a.png")
    rows, _ = everything(open_data(tmp_path, {"images": {"size": 32}}))
    assert np.abs(rows.astype(int) - 127).max() <= 3


@pytest.mark.parametrize(
    ("mode", "color", "channels", "expected"),
    [
        ("1", 1, 1, [255]),
        ("L", 77, 1, [77]),
        ("LA", (77, 255), 1, [77]),
        ("LA", (77, 0), 1, [255]),
        ("RGB", (9, 8, 7), 3, [9, 8, 7]),
        ("RGBA", (9, 8, 7, 255), 3, [9, 8, 7]),
        ("RGBA", (9, 8, 7, 0), 3, [255, 255, 255]),
        ("CMYK", (0, 255, 255, 0), 3, [255, 0, 0]),
        ("F", 0.25, 1, [0.25]),
        ("I;16", 40000, 1, [40000]),
    ],
)
def test_every_mode_is_converted_properly(
    tmp_path: Path, mode: str, color: object, channels: int, expected: list
) -> None:
    save_image(tmp_path / "a.tif", color, mode=mode)
    source = open_data(tmp_path)
    rows, ok = everything(source)
    assert ok.all(), source.skipped
    assert source.spec.shape[0] == channels
    assert rows[0, :, 3, 3].tolist() == expected
    assert source.spec.dtype == {"F": "float32", "I;16": "uint16"}.get(mode, "uint8")


def test_palettes_are_gray_or_colored_by_their_colors(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 0, 0)).quantize(4).save(tmp_path / "a.png")
    assert everything(open_data(tmp_path))[0][0, :, 2, 2].tolist() == [200, 0, 0]
    gray = Image.new("P", (8, 8), 1)
    gray.putpalette([0, 0, 0, 90, 90, 90])
    gray.save(tmp_path / "a.png")
    assert everything(open_data(tmp_path))[0][0, :, 2, 2].tolist() == [90]


@pytest.mark.parametrize("ending", [one for one in IMAGE_ENDINGS if one not in DICOM_ENDINGS])
def test_every_ending_is_read(tmp_path: Path, ending: str) -> None:
    mode = {".pbm": "1", ".pgm": "L"}.get(ending, "RGB")
    if ending.startswith((".he", ".hi")):
        pytest.importorskip("pillow_heif").register_heif_opener()
    kind = "HEIF" if ending.startswith((".he", ".hi")) else "JPEG" if ending.startswith(".pj") else None
    Image.new(mode, (12, 8), "white").save(tmp_path / f"a{ending}", format=kind)
    assert (everything(open_data(tmp_path))[0] > 250).all()


def test_sixteen_bits_survive_resizing_and_meet_eight_bits_at_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), 65535, np.uint16)).save(tmp_path / "a.png")
    save_image(tmp_path / "b.png", 255, (20, 20), "L")
    source = open_data(tmp_path, {"images": {"size": 10}})
    rows, _ = everything(source)
    assert source.spec == SampleSpec("image", (1, 10, 10), "uint16", "crop")
    assert (rows == 65535).all()
    eight = open_data(tmp_path, like=SampleSpec("image", (1, 10, 10), "uint8", "pad"))
    assert (everything(eight)[0] == 255).all()


def test_images_conform_to_the_encoder_but_whole_numbers_never_become_floats(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    assert open_data(tmp_path, {"images": {"size": 99}}, like=GRAY).spec == GRAY
    with pytest.raises(DataError, match="samples are image 1x28x28 uint8, the encoder takes image 1x28x28 float32"):
        open_data(tmp_path, like=SampleSpec("image", (1, 28, 28), "float32", "crop"))
    with pytest.raises(DataError, match="the encoder takes vector 5"):
        open_data(tmp_path, like=SampleSpec("vector", (5,), "uint8"))


def test_exif_turns_images_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    image.paste((255, 255, 255), (0, 0, 20, 20))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    image.save(tmp_path / "a.jpg", exif=exif)
    source = open_data(tmp_path)
    rows, _ = everything(source)
    assert source.spec.shape == (3, 40, 20)
    assert rows[0, :, 5].min() > 200
    assert rows[0, :, 35].max() < 50


def test_bad_images_are_skipped_with_their_reasons(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "good.jpg")
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "zero.png").write_bytes(b"")
    save_png_header(tmp_path / "bomb.png", 100_000)
    save_png_header(tmp_path / "large.png", 10_000)  # where Pillow only warns
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    source = open_data(tmp_path)
    rows, ok = everything(source)
    assert ok.sum() == 1
    assert not rows[~ok].any()
    assert len(source.skipped) == 6
    for name, reason in {
        "cut.jpg": "truncated",
        "text.jpg": "not an image",
        "zero.png": "empty file",
        "bomb.png": "10000000000 pixels: refused as a decompression bomb",
        "large.png": "100000000 pixels: refused as a decompression bomb",
        "gone.jpg": "the file is missing",
    }.items():
        assert reason in source.skipped[name], name
    assert len(load_samples(source, np.arange(7), torch.device("cpu"))) == 1
    assert len(source.fingerprints(np.arange(7))) == 7


def test_a_single_bad_query_is_skipped_not_raised(tmp_path: Path) -> None:
    (tmp_path / "q.jpg").write_text("no")
    source = open_data(tmp_path / "q.jpg", like=GRAY)
    assert not everything(source)[1].any()
    assert source.skipped == {"q.jpg": "not an image that Pillow reads"}


def test_links_that_go_in_circles_end(tmp_path: Path) -> None:
    save_image(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    source = open_data(tmp_path)
    assert "in/a.png" in source.ids
    assert everything(source)[1].sum() == 1


def test_a_device_among_listed_files_is_missing_and_is_not_read_for_its_fingerprint(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("path,label\n/dev/zero,x\na.png,y\n")
    with pytest.warns(DataWarning, match="1 of 2 files in 'path' are missing, e.g. '/dev/zero'"):
        source = open_data(tmp_path / "list.csv")
    assert source.fingerprints(np.arange(2))[0] == "unreadable"
    assert hash_content(tmp_path / "a.png") == hash_content((tmp_path / "a.png").read_bytes())
    assert everything(source)[1].tolist() == [False, True]


def test_fingerprints_change_with_the_file(tmp_path: Path) -> None:
    for name in "ab":
        save_image(tmp_path / f"{name}.png")
    source = open_data(tmp_path)
    a, b = source.fingerprints(np.arange(2))
    assert a == b
    save_image(tmp_path / "b.png", (1, 2, 3))
    assert source.fingerprints(np.array([1])) != [b]
    assert source.fingerprints(np.array([0])) == [a]


def test_an_unreadable_folder_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root can read everything")
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(DataError, match="cannot be read"):
        open_data(tmp_path / "closed")


# Data sets by name


def test_sklearn_digits_are_floats_between_0_and_1() -> None:
    source = open_data("sklearn:digits")
    rows, _ = everything(source)
    assert str(source.spec) == "image 1x8x8 float32"
    assert (rows.min(), rows.max(), len(source)) == (0, 1, 1797)
    iris = open_data("sklearn:iris")
    assert iris.labels is not None
    assert set(iris.labels.tolist()) == {"setosa", "versicolor", "virginica"}
    with pytest.raises(DataError, match="did you mean 'digits'"):
        open_data("sklearn:digit")


def test_torchvision_sets_are_read_from_where_their_files_lie(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        save_idx(raw / f"{prefix}-images-idx3-ubyte", np.zeros((2, 28, 28)))
        save_idx(raw / f"{prefix}-labels-idx1-ubyte", np.array([9, 0]))
    source = open_data("torchvision:FashionMNIST", {"torchvision": {"root": str(tmp_path), "download": False}})
    assert source.labels is not None
    assert source.labels.tolist() == ["Ankle boot", "T-shirt/top"] * 2
    assert reopen(source.origin or {}).ids[3] == "test-1"


def test_torchvision_sets_are_looked_for_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEKIT_DATA", raising=False)
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    raw = tmp_path / "torchvision" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    save_idx(raw / "train-images-idx3-ubyte", np.zeros((3, 28, 28)))
    assert len(open_data("torchvision:MNIST", {"torchvision": {"download": False}})) == 3


def test_torchvision_sets_that_are_not_there(tmp_path: Path) -> None:
    options = {"torchvision": {"root": str(tmp_path), "download": False}}
    with pytest.raises(DataError, match=r"files are missing and data\.torchvision\.download = false"):
        open_data("torchvision:MNIST", options)
    with pytest.raises(DataError, match="no such data set; did you mean 'FashionMNIST'"):
        open_data("torchvision:FashionMNITS", options)


def test_torchvision_sets_of_single_images(tmp_path: Path) -> None:
    source = open_data("torchvision:FakeData", {"torchvision": {"root": str(tmp_path)}}, like=GRAY)
    rows, ok = source.read(np.arange(3))
    assert ok.all()
    assert rows.std() > 1


class Pets:
    """A set of torchvision's that calls its parts otherwise, and whose images differ in size."""

    classes = ("cat", "dog")

    def __init__(self, root: str, split: str = "trainval", download: bool = False) -> None:
        if split not in ("trainval", "test"):
            raise ValueError(f"unknown split {split}")
        self._labels = [0, 1, 1] if split == "trainval" else [0]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (40 + 10 * row, 50), "white"), self._labels[row]


def test_torchvision_sets_of_files_are_brought_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets, "Pets", Pets, raising=False)
    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Pets"))
    options = {"root": str(tmp_path), "size": 24, "resize": "torchvision", "crop_pct": 0.875}
    source = open_data("torchvision:Pets", {"torchvision": options})
    assert source.spec == SampleSpec("image", (3, 24, 24), "uint8", "torchvision", 0.875)
    assert (everything(source)[0] == 255).all()
    assert source.labels is not None and source.labels.tolist() == ["cat", "dog", "dog", "cat"]
    assert source.splits is not None and source.splits.tolist() == ["train", "train", "train", "test"]


# Real data


def test_fashion_mnist(data_dir: Path) -> None:
    source = open_data("torchvision:FashionMNIST", {"torchvision": {"root": str(data_dir)}})
    assert str(source.spec) == "image 1x28x28 uint8"
    assert (len(source.rows_of("train")), len(source.rows_of("test"))) == (60_000, 10_000)
    assert source.labels is not None
    assert source.labels[0] == "Ankle boot"


def test_caltech10(data_dir: Path) -> None:
    source = open_data(data_dir / "caltech10")
    assert (len(source), source.spec.shape) == (800, (3, 64, 64))
    assert source.labels is not None
    assert len(set(source.labels.tolist())) == 10
    rows, ok = everything(source)
    assert ok.all()
    assert (rows == rows[:, :1]).all(axis=(1, 2, 3)).sum() >= 14  # the gray ones, their channels equal
    listed = open_data(data_dir / "caltech10" / "index.csv")
    assert (len(listed.rows_of("train")), len(listed.rows_of("test"))) == (600, 200)
    assert set(listed.ids) == set(source.ids)


def test_the_anomaly_tables_and_the_frames(data_dir: Path) -> None:
    source = open_data(data_dir / "anomaly" / "6_cardio.npz")
    assert str(source.spec) == "vector 21 float64"
    assert source.labels is not None
    assert source.labels.sum() == 176
    assert str(open_data(data_dir / "video" / "cockatoo_96x54_10fps.npz").spec) == "image 3x54x96 uint8"
    assert str(open_data(data_dir / "dirty-documents").spec) == "image 1x64x64 uint8"


def test_an_error_in_a_block_is_raised_once(tmp_path: Path) -> None:
    with (
        pytest.raises(image_headers.BadImage, match="in the block"),
        image_headers.open_image(save_image(tmp_path / "a.tif")),
    ):
        raise ValueError("in the block")


def test_records_of_plain_numbers_take_the_options_of_tables(tmp_path: Path) -> None:
    """They were said, `y = 'kind'` and `missing = 'median'`, but none of them existed, and `label` was not listened to."""
    rows = [{"a": row, "b": row / 2 if row % 5 else None, "kind": "uv"[row % 2]} for row in range(20)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    plain = aekit.open_data(path)
    said = " ".join([*plain.notes, *plain.losses])
    assert "data.json-lines.label = 'kind' says so" in said and "data.json-lines.missing = 'median'" in said
    options = {"json-lines": {"label": "kind", "missing": "median", "x": ["b"]}}
    chosen = aekit.open_data(path, options)
    assert len(chosen) == 20 and chosen.spec.names == ["b"] and list(chosen.labels[:3]) == ["u", "v", "u"]
    path.write_text("\n".join(json.dumps({"v": [row, 1.0], "kind": "u"}) for row in range(20)))
    with pytest.raises(RecipeError, match=r"data\.json-lines\.missing = 'median': is of records of plain numbers"):
        aekit.open_data(path, {"json-lines": {"missing": "median"}})


@pytest.mark.parametrize(("values", "said"), [(["train", "val"], "holds the splits"), ([0, 1], "'split' not used")])
def test_an_array_of_splits_beside_the_samples(tmp_path: Path, values: list[Any], said: str) -> None:
    names = np.repeat(values, 10)
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).random((20, 3)), y=np.arange(20) % 2, split=names)
    source = aekit.open_data(tmp_path / "a.npz")
    assert said in " ".join(source.notes)
    expected = np.repeat(["train", "validation"], 10).tolist() if values[0] == "train" else None
    assert (None if source.splits is None else source.splits.tolist()) == expected


@pytest.mark.parametrize("name", ["$HOME", "a$b", "~", "~root", "${PATH}"])
def test_a_folder_that_exists_is_opened_by_its_own_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "x.csv").write_text("a,b\n1,2\n3,4\n5,7\n")
    monkeypatch.chdir(tmp_path)
    assert len(open_data(f"{name}/x.csv")) == len(open_data(tmp_path / name / "x.csv")) == 3


def test_variables_and_home_folders_are_expanded_where_no_such_name_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n5,7\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_data("$HOME/x.csv")) == len(open_data("~/x.csv")) == 3


def test_a_file_system_that_cannot_map_files_is_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)

    class Refused(mmap.mmap):
        def __new__(cls, *arguments: Any, **options: Any) -> Any:
            raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mmap, "mmap", Refused)
    values, usable = everything(open_data(tmp_path / "x.npy"))
    assert usable.all() and np.array_equal(values, array)
    samples, rows = open_data(tmp_path / "x.npy"), np.arange(50)
    with pytest.raises(OutputError, match="cannot map files into memory; set AEKIT_CACHE to use another folder"):
        decode_once(samples, rows, lambda out: rows, tmp_path / "cache", SILENT)
    monkeypatch.setattr(memory, "SMALL", 100)
    monkeypatch.setenv("AEKIT_MEMORY", "500")
    with pytest.raises(DataError, match=r"x.npy, which its file system cannot map into memory"):
        open_data(tmp_path / "x.npy")


def test_a_link_to_nothing_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "photos").symlink_to("nowhere")
    with pytest.raises(DataError, match="photos: is a link to nowhere, which does not exist or leads back to itself"):
        open_data(tmp_path / "photos")


@pytest.mark.parametrize("other", ["id", "split"])
def test_ids_and_splits_beside_the_images_of_a_list_are_no_labels(other: str, tmp_path: Path) -> None:
    values = {"id": "abcd", "split": ["train", "train", "test", "test"]}[other]
    for row in range(4):
        save_image(tmp_path / f"{row}.png")
    (tmp_path / "list.csv").write_text("\n".join([f"path,{other}", *(f"{n}.png,{v}" for n, v in enumerate(values))]))
    source = open_data(tmp_path / "list.csv")
    assert source.labels is None
    assert (list(source.ids) if other == "id" else source.splits.tolist()) == list(values)  # type: ignore[union-attr]
