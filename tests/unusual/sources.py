"""Files of other programs: Parquet with images, vectors, Hugging Face, WebDataset, HDF5, Zarr, MATLAB, JSON lines."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
import scipy.sparse
import zarr
from PIL import Image
from pyarrow import feather
from unusual.containers import COLORS, LABELS, PIXELS, ROWS, holds, samples
from unusual.harness import Area, Listener

import aekit

AREA = Area(__name__)
NAMES = ["cat", "dog", "eel"]


def encoded(pixels: np.ndarray, kind: str = "png") -> bytes:
    """Return the content of an image file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


CELLS = [{"bytes": encoded(pixels), "path": f"{row}.png"} for row, pixels in enumerate(PIXELS)]


def hugging_face(rows: slice = slice(None), image: str = "image", **columns: list[Any]) -> pa.Table:
    """Return rows as Hugging Face's `datasets` writes them to Parquet."""
    features = {
        image: {"_type": "Image"},
        "label": {"names": NAMES, "_type": "ClassLabel"},
    }
    table = pa.table({image: CELLS[rows], "label": LABELS[rows].tolist(), **columns})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    """Write a tar file."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def pairs(rows: range = range(6)) -> dict[str, bytes]:
    """Return members of a WebDataset."""
    return {
        name: content
        for row in rows
        for name, content in ((f"{row:03d}.png", encoded(PIXELS[row])), (f"{row:03d}.cls", str(LABELS[row]).encode()))
    }


# Parquet files with images


@AREA.right("a Parquet file of Hugging Face, image: {bytes, path}, with class names in its metadata")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(hugging_face(), folder / "train-00000-of-00001.parquet")
    source = aekit.open_data(folder / "train-00000-of-00001.parquet")
    holds(source, PIXELS[:, None], NAMES * 2, [f"{row}.png" for row in range(6)])


@AREA.right("CIFAR's Parquet layout, img: {bytes, path}, whose paths are missing")
def _(folder: Path, listener: Listener) -> None:
    cells = [{"bytes": encoded(pixels), "path": None} for pixels in COLORS]
    pq.write_table(pa.table({"img": cells, "label": LABELS}), folder / "a.parquet")
    holds(aekit.open_data(folder / "a.parquet"), COLORS.transpose(0, 3, 1, 2), LABELS.tolist(), list("012345"))


@AREA.right("a folder of Parquet shards of two splits, in subfolders as on the hub")
def _(folder: Path, listener: Listener) -> None:
    (folder / "data").mkdir()
    shards = {"train-00000-of-00002": slice(2), "train-00001-of-00002": slice(2, 4), "test-00000-of-00001": slice(4, 6)}
    for name, rows in shards.items():
        pq.write_table(hugging_face(rows), folder / "data" / f"{name}.parquet")
    (folder / "README.md").write_text("a card")
    source = aekit.open_data(folder)
    order = [4, 5, 0, 1, 2, 3]
    holds(source, PIXELS[order][:, None], [NAMES[LABELS[row]] for row in order], [f"{row}.png" for row in order])
    assert source.splits is not None and source.splits.tolist() == ["test"] * 2 + ["train"] * 4


@AREA.changed("a folder of Parquet shards, one of which is missing", "1 of 3 files of 'train' are missing")
def _(folder: Path, listener: Listener) -> None:
    for number in (0, 2):
        pq.write_table(hugging_face(slice(number, number + 1)), folder / f"train-{number:05d}-of-00003.parquet")
    holds(aekit.open_data(folder), PIXELS[[0, 2], None], ["cat", "eel"])


@AREA.refused("Parquet shards with different columns", "b.parquet: its columns differ from those of a.parquet")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(hugging_face(), folder / "a.parquet")
    pq.write_table(hugging_face(image="img"), folder / "b.parquet")
    aekit.open_data(folder)


@AREA.right("a Parquet file with a column of plain bytes of JPEG files")
def _(folder: Path, listener: Listener) -> None:
    contents = [encoded(pixels, "jpeg") for pixels in COLORS]
    pq.write_table(pa.table({"jpg": contents, "class": list("abcabc")}), folder / "a.parquet")
    source = aekit.open_data(folder / "a.parquet")
    expected = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in contents]).transpose(0, 3, 1, 2)
    holds(source, expected, list("abcabc"))


@AREA.right("a Parquet file with images that are read in any order, in many row groups")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(hugging_face(), folder / "a.parquet", row_group_size=2)
    rows, ok = aekit.open_data(folder / "a.parquet").read(np.array([5, 0, 3, 5]))
    assert ok.all() and np.array_equal(rows[:, 0], PIXELS[[5, 0, 3, 5]])


@AREA.changed("a Parquet file in which an image is damaged and one is missing", "2 of 6 images cannot be read")
def _(folder: Path, listener: Listener) -> None:
    cells = [dict(cell) for cell in CELLS]
    cells[1]["bytes"], cells[2]["bytes"], cells[2]["path"] = b"\x89PNG\r\n\x1a\n", None, None
    pq.write_table(pa.table({"image": cells, "label": LABELS}), folder / "a.parquet")
    rows, ok = (source := aekit.open_data(folder / "a.parquet")).read(np.arange(6))
    assert ok.tolist() == [True, False, False, True, True, True] and np.array_equal(
        rows[ok][:, 0], PIXELS[[0, 3, 4, 5]]
    )
    assert source.skipped["2"] == "no image"


@AREA.right("a Parquet file whose images are files next to it")
def _(folder: Path, listener: Listener) -> None:
    for row, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{row}.png")
    cells = [{"bytes": None, "path": f"{row}.png"} for row in range(6)]
    table = pa.table({"image": pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))})
    pq.write_table(table, folder / "a.parquet")
    holds(aekit.open_data(folder / "a.parquet"), PIXELS[:, None])


@AREA.right("withheld labels of Hugging Face, which are -1")
def _(folder: Path, listener: Listener) -> None:
    table = hugging_face()
    pq.write_table(table.set_column(1, "label", pa.array([0, 1, -1, None, 2, 2])), folder / "a.parquet")
    source = aekit.open_data(folder / "a.parquet")
    assert source.labels is not None and source.labels.tolist() == ["cat", "dog", "", "", "eel", "eel"]


@AREA.refused("a label beyond the class names", "column 'label' holds 7, but names 3 classes")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(hugging_face().set_column(1, "label", pa.array([0, 1, 7, 0, 2, 2])), folder / "a.parquet")
    aekit.open_data(folder / "a.parquet")


@AREA.refused(
    "a Parquet file with two columns of images of no usual name",
    "2 columns hold samples; choose one by column: left, right",
)
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"left": CELLS, "right": CELLS}), folder / "a.parquet")
    aekit.open_data(folder / "a.parquet")


@AREA.right("a Parquet file with two columns of images, one of which is chosen")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"left": CELLS, "right": CELLS[::-1]}), folder / "a.parquet")
    holds(aekit.open_data(folder / "a.parquet", {"parquet-images": {"column": "right"}}), PIXELS[::-1, None])


@AREA.refused("a misspelled column of images", "no column 'imgae'; did you mean 'image'?")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(hugging_face(), folder / "a.parquet")
    aekit.open_data(folder / "a.parquet", {"parquet-images": {"column": "imgae"}})


@AREA.changed("a Parquet file with further columns", "columns that are not part of the samples: caption, width")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(hugging_face(caption=list("abcdef"), width=[8] * 6), folder / "a.parquet")
    source = aekit.open_data(folder / "a.parquet")
    source.report_notes(listener)
    holds(source, PIXELS[:, None], NAMES * 2)


@AREA.changed(
    "ids that repeat next to images", "column 'id' is not an id, as values repeat ('a' in 6 rows): rows are numbered"
)
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(hugging_face(id=["a"] * 6), folder / "a.parquet")
    holds(aekit.open_data(folder / "a.parquet"), PIXELS[:, None], NAMES * 2, list("012345"))


@AREA.refused("a Parquet file of images that is cut off", "a.parquet: not a readable table")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(hugging_face(), folder / "a.parquet")
    content = (folder / "a.parquet").read_bytes()
    (folder / "a.parquet").write_bytes(content[: len(content) // 2])
    aekit.open_data(f"parquet-images:{folder / 'a.parquet'}")


@AREA.refused("a Parquet file of images without rows", "no samples in it")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(hugging_face(slice(0)).cast(hugging_face().schema), folder / "a.parquet")
    aekit.open_data(folder / "a.parquet")


@AREA.refused("a numeric Parquet file opened as images", "no column of encoded images, lists of numbers or paths")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"a": [1.0, 2.0]}), folder / "a.parquet")
    aekit.open_data(f"parquet-images:{folder / 'a.parquet'}")


@AREA.right("a numeric Parquet file, which stays a table")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": [3.0, 5.0]}), folder / "a.parquet")
    source = aekit.open_data(folder / "a.parquet")
    holds(source, np.array([[1.0, 3.0], [2.0, 5.0]]))
    assert source.origin is not None and source.origin["source"] == "arrays"


# Vectors of other programs


@AREA.right("a Parquet file with a column of lists of numbers")
def _(folder: Path, listener: Listener) -> None:
    table = pa.table({"id": list("abcdef"), "embedding": list(ROWS), "label": list("uvuvuv")})
    pq.write_table(table, folder / "v.parquet")
    holds(aekit.open_data(folder / "v.parquet"), ROWS, list("uvuvuv"), list("abcdef"))


@AREA.right("a Parquet file with lists of a fixed size, in float16")
def _(folder: Path, listener: Listener) -> None:
    half = ROWS.astype(np.float16)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(half.ravel()), 4)
    pq.write_table(pa.table({"vector": vectors}), folder / "v.parquet")
    holds(aekit.open_data(folder / "v.parquet"), half.astype(np.float32))


@AREA.right("a Parquet file with nested lists, as Hugging Face writes arrays of two dimensions")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"image": pa.array(PIXELS.tolist(), pa.list_(pa.list_(pa.uint8())))}), folder / "v.parquet")
    holds(aekit.open_data(folder / "v.parquet"), PIXELS[:, None])


@AREA.refused("lists that differ in length", "a list has 3 entries, the first has 2 (row 1)")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"vector": [[1.0, 2.0], [1.0, 2.0, 3.0]]}), folder / "v.parquet")
    aekit.open_data(folder / "v.parquet")


@AREA.refused("a list that is missing", "row 1 has no list; leave such rows out")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"vector": [[1.0, 2.0], None]}), folder / "v.parquet")
    aekit.open_data(folder / "v.parquet")


@AREA.refused("two columns of lists of no usual name", "2 columns hold samples; choose one by column: left, right")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"left": ROWS.tolist(), "right": ROWS.tolist()}), folder / "v.parquet")
    aekit.open_data(folder / "v.parquet")


@AREA.changed(
    "precomputed vectors in .npy, indexed and searched by one of them",
    "6 precomputed vectors of 4 entries, used as they are",
)
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "v.npy", ROWS)
    np.save(folder / "q.npy", ROWS[3])
    listener.command("index", folder / "v.npy", "-o", folder / "index")
    hits = json.loads(listener.command("search", folder / "index", folder / "q.npy", "-k", 1, "--json"))
    assert hits[0]["id"] == "3" and hits[0]["score"] > 0.999


@AREA.right("precomputed vectors with ids and labels, which neighbors keep")
def _(folder: Path, listener: Listener) -> None:
    table = pa.table({"id": list("abcdef"), "vector": list(ROWS), "label": list("uvuvuv")})
    pq.write_table(table, folder / "v.parquet")
    index = aekit.build_index(folder / "v.parquet")
    scores, rows = index.search_ids(["b"], 2)
    assert {hit["id"] for hit in index.hits(["b"], scores, rows)} < set("acdef")
    assert all(hit["label"] == "uv"["abcdef".index(hit["id"]) % 2] for hit in index.hits(["b"], scores, rows))


@AREA.refused("queries of another length in an index of precomputed vectors", "expected such vectors")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "v.npy", ROWS)
    aekit.build_index(folder / "v.npy", folder / "index")
    aekit.open_index(folder / "index").search_data(ROWS[:, :3])


@AREA.refused("other vectors added to an index of precomputed vectors", "holds precomputed vectors")
def _(folder: Path, listener: Listener) -> None:
    aekit.build_index(ROWS, folder / "index")
    aekit.build_index(ROWS + 1, folder / "index")


@AREA.refused("precomputed vectors added to the index of an encoder", "holds vectors of encoder")
def _(folder: Path, listener: Listener) -> None:
    encoder = aekit.fit(ROWS, dim=2, epochs=1, backbone="mlp")
    aekit.build_index(encoder.embed(ROWS), folder / "index")
    aekit.build_index(ROWS[:, :2], folder / "index")


@AREA.refused(
    "an encoder's embeddings as queries of precomputed vectors",
    "this index holds precomputed vectors, the queries are an encoder's",
)
def _(folder: Path, listener: Listener) -> None:
    encoder = aekit.fit(ROWS, dim=2, epochs=1, backbone="mlp")
    aekit.build_index(ROWS[:, :2]).search(encoder.embed(ROWS))


@AREA.refused("an encoder for queries of precomputed vectors", "this index holds precomputed vectors; encoder")
def _(folder: Path, listener: Listener) -> None:
    encoder = aekit.fit(ROWS, dim=2, epochs=1, backbone="mlp")
    aekit.build_index(ROWS[:, :2]).search_data(ROWS, encoder=encoder)


@AREA.refused("images in place of precomputed vectors", "samples are image 1x8x8 uint8: expected vectors (N, D)")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "v.npy", PIXELS)
    listener.command("cluster", folder / "v.npy", "-o", folder / "out")


@AREA.refused("precomputed vectors with a value that is not finite", "1 of 6 vectors cannot be used, e.g. '2': nan")
def _(folder: Path, listener: Listener) -> None:
    rows = ROWS.copy()
    rows[2, 1] = np.nan
    np.save(folder / "v.npy", rows)
    aekit.find_clusters(folder / "v.npy")


@AREA.refused("precomputed vectors beyond float32", "1 of 6 embeddings are not finite, the first in row 4")
def _(folder: Path, listener: Listener) -> None:
    rows = ROWS.astype(np.float64)
    rows[4, 0] = 1e39
    np.save(folder / "v.npy", rows)
    aekit.build_index(folder / "v.npy")


@AREA.right("precomputed vectors: evaluated, clustered and mapped from the command line")
def _(folder: Path, listener: Listener) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    vectors = (np.eye(4)[labels] * 9 + rng.normal(size=(60, 4))).astype(np.float32)
    table = pa.table({"vector": list(vectors), "label": labels})
    pq.write_table(table, folder / "v.parquet")
    text = listener.command("evaluate", folder / "v.parquet", "--evaluator", "knn", "--no-checks", "--json")
    results = json.loads(text)
    assert results["results"]["encoder"]["knn"]["metrics"]["accuracy"]["value"] == 1.0
    assert (folder / "v.results.json").is_file() and "the vectors are precomputed" in " ".join(results["notes"])
    assert "60 samples form 2 clusters" in listener.command("cluster", folder / "v.parquet", "-o", folder / "clusters")
    listener.command("map", folder / "v.parquet", "-o", folder / "map.png", "--method", "pca")
    assert pq.read_table(folder / "map.parquet").num_rows == 60


@AREA.right("precomputed vectors in HDF5, indexed by name of the source")
def _(folder: Path, listener: Listener) -> None:
    with h5py.File(folder / "v.h5", "w") as file:
        file["features"] = ROWS
    assert len(aekit.build_index(folder / "v.h5")) == len(aekit.build_index(f"hdf5:{folder / 'v.h5'}")) == 6


@AREA.right("an index of precomputed vectors: browsed")
def _(folder: Path, listener: Listener) -> None:
    from aekit.serving.catalog import Catalog

    catalog = Catalog(aekit.build_index(ROWS), method="pca")
    assert catalog.about()["count"] == 6 and not catalog.about()["files"]
    assert len(catalog.neighbors_of_row(0, 3)) == 3


# Data sets of Hugging Face


@AREA.right("a folder that save_to_disk wrote")
def _(folder: Path, listener: Listener) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    images = [Image.fromarray(pixels) for pixels in PIXELS]
    data = datasets.Dataset.from_dict({"image": images, "label": LABELS.tolist()}, features=features)
    data.select([5, 1, 2]).save_to_disk(folder / "saved", num_shards=2)
    holds(aekit.open_data(folder / "saved"), PIXELS[[5, 1, 2], None], ["eel", "dog", "eel"])


@AREA.changed(
    "a folder that save_to_disk of a DatasetDict wrote, with a split of another name",
    "split 'extra' with 1 samples is left out",
)
def _(folder: Path, listener: Listener) -> None:
    import datasets

    parts = {"train": ROWS[:3], "test": ROWS[3:5], "extra": ROWS[5:]}
    made = {name: datasets.Dataset.from_dict({"vector": rows.tolist()}) for name, rows in parts.items()}
    datasets.DatasetDict(made).save_to_disk(folder / "saved")
    source = aekit.open_data(folder / "saved")
    assert np.allclose(samples(source), ROWS[:5])
    assert source.splits is not None and source.splits.tolist() == ["train"] * 3 + ["test"] * 2


@AREA.refused("a saved data set that lacks a file", "is missing, but state.json names it")
def _(folder: Path, listener: Listener) -> None:
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    aekit.open_data(folder)


@AREA.refused("a saved data set whose file is damaged", "data.arrow: damaged")
def _(folder: Path, listener: Listener) -> None:
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    (folder / "data.arrow").write_bytes(b"good morning")
    aekit.open_data(folder)


@AREA.refused("a saved data set whose state.json is cut off", "state.json: damaged")
def _(folder: Path, listener: Listener) -> None:
    (folder / "state.json").write_text('{"_data_files": [')
    aekit.open_data(folder)


@AREA.refused("a data set of the hub that is not in the cache, without download", "neither cached nor downloadable")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data("huggingface:nobody/nothing", {"huggingface": {"download": False}})


# WebDataset


@AREA.right("a tar file of WebDataset, with .cls")
def _(folder: Path, listener: Listener) -> None:
    tar(folder / "a.tar", pairs())
    holds(aekit.open_data(folder / "a.tar"), PIXELS[:, None], LABELS.tolist(), [f"{row:03d}" for row in range(6)])


@AREA.right("a tar file of WebDataset, with .json and folders inside")
def _(folder: Path, listener: Listener) -> None:
    members = {}
    for row in range(6):
        members[f"./a/{row}.png"] = encoded(PIXELS[row])
        members[f"./a/{row}.json"] = json.dumps({"label": NAMES[LABELS[row]], "width": 8}).encode()
    holds(aekit.open_data(tar(folder / "a.tar", members)), PIXELS[:, None], NAMES * 2, [f"a/{row}" for row in range(6)])


@AREA.right("a range of tar files, {000..002}")
def _(folder: Path, listener: Listener) -> None:
    for number in range(3):
        tar(folder / f"shard-{number:03d}.tar", pairs(range(2 * number, 2 * number + 2)))
    holds(aekit.open_data(folder / "shard-{000..002}.tar"), PIXELS[:, None], LABELS.tolist())
    holds(aekit.open_data(f"webdataset:{folder}/shard-{{000..002}}.tar"), PIXELS[:, None], LABELS.tolist())


@AREA.refused("a range of tar files, one of which is missing", "shard-001.tar: no such file")
def _(folder: Path, listener: Listener) -> None:
    tar(folder / "shard-000.tar", pairs())
    aekit.open_data(folder / "shard-{000..001}.tar")


@AREA.right("a folder of tar files of two splits")
def _(folder: Path, listener: Listener) -> None:
    tar(folder / "train-000.tar", pairs(range(4)))
    tar(folder / "val-000.tar", pairs(range(4, 6)))
    source = aekit.open_data(folder)
    holds(source, PIXELS[:, None], LABELS.tolist())
    assert source.splits is not None and source.splits.tolist() == ["train"] * 4 + ["validation"] * 2


@AREA.right("tar files that number their samples from 0 each")
def _(folder: Path, listener: Listener) -> None:
    for name in ("a", "b"):
        tar(folder / f"{name}.tar", pairs(range(2)))
    assert list(aekit.open_data(folder).ids) == ["a/000", "a/001", "b/000", "b/001"]


@AREA.right("a compressed tar file")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(tar(folder / "a.tar.gz", pairs(), "w:gz")), PIXELS[:, None], LABELS.tolist())


@AREA.changed("a tar file that is cut off", "a.tar is cut off after 3 samples")
def _(folder: Path, listener: Listener) -> None:
    path = tar(folder / "a.tar", pairs())
    with tarfile.open(path) as archive:
        end = archive.getmember("003.png").offset_data + 20
    path.write_bytes(path.read_bytes()[:end])
    holds(aekit.open_data(path), PIXELS[:3, None], LABELS[:3].tolist())


@AREA.changed("a sample of a tar file without an image", "1 of 6 samples without .png are left out, e.g. '002'")
def _(folder: Path, listener: Listener) -> None:
    members = pairs()
    del members["002.png"]
    holds(aekit.open_data(tar(folder / "a.tar", members)), PIXELS[[0, 1, 3, 4, 5], None], [0, 1, 0, 1, 2])


@AREA.right("a tar file of arrays")
def _(folder: Path, listener: Listener) -> None:
    members = {}
    for row in range(6):
        stream = io.BytesIO()
        np.save(stream, ROWS[row])
        members[f"{row}.npy"] = stream.getvalue()
    holds(aekit.open_data(tar(folder / "a.tar", members)), ROWS, None, list("012345"))


@AREA.refused(
    "a tar file of samples with two images each",
    "each sample has several of them; choose one by member: .left.png, .right.png",
)
def _(folder: Path, listener: Listener) -> None:
    members = {f"0.{side}.png": encoded(PIXELS[0]) for side in ("left", "right")}
    aekit.open_data(tar(folder / "a.tar", members))


@AREA.refused("a tar file of text", "no images or arrays; choose one by member: .txt")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(tar(folder / "a.tar", {"0.txt": b"good morning"}))


@AREA.refused("an empty tar file", "no samples in it; expected files such as 000.jpg")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(tar(folder / "a.tar", {}))


AREA.refused_file("a file that is no tar file", "a.tar: not a readable tar file", "a.tar", b"good morning" * 100)


@AREA.refused("a tar file with a damaged .json", "000.json: damaged")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(tar(folder / "a.tar", {"000.png": encoded(PIXELS[0]), "000.json": b"{"}))


# HDF5, Zarr and MATLAB


def hdf5(folder: Path, **arrays: Any) -> Path:
    """Write arrays to an HDF5 file; ``__`` stands for ``/``."""
    with h5py.File(folder / "a.h5", "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return folder / "a.h5"


@AREA.right("an HDF5 file with x and y")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(hdf5(folder, x=ROWS, y=LABELS)), ROWS, LABELS.tolist())


@AREA.right("an HDF5 file with a single array of another name")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(hdf5(folder, measurement=ROWS, serial=np.arange(6))), ROWS)


@AREA.right("an HDF5 file with groups for the splits, and class names as text")
def _(folder: Path, listener: Listener) -> None:
    path = hdf5(folder, train__x=ROWS[:4], train__y=list("abca"), test__x=ROWS[4:], test__y=list("bc"))
    source = aekit.open_data(path)
    holds(source, ROWS, list("abcabc"))
    assert source.splits is not None and source.splits.tolist() == ["train"] * 4 + ["test"] * 2


@AREA.right("the HDF5 files of PatchCamelyon: one array of images")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(hdf5(folder, x=COLORS)), COLORS.transpose(0, 3, 1, 2))


@AREA.refused(
    "an HDF5 file with two arrays that may be the samples",
    "2 arrays may be the samples; choose one by x: data (6 x 4), images (6 x 8 x 8)",
)
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(hdf5(folder, data=ROWS, images=PIXELS))


@AREA.right("an HDF5 file with two arrays, one of which is chosen by its path")
def _(folder: Path, listener: Listener) -> None:
    path = hdf5(folder, a__data=ROWS, b__data=ROWS + 1, a__truth=LABELS)
    holds(aekit.open_data(path, {"hdf5": {"x": "b/data", "y": "a/truth"}}), ROWS + 1, LABELS.tolist())


@AREA.refused("a path that an HDF5 file lacks", "no array 'b/x'; did you mean 'a/x'?")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(hdf5(folder, a__x=ROWS), {"hdf5": {"x": "b/x"}})


@AREA.refused("an HDF5 file with too few labels", "y has 3 labels for the 6 samples of x")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(hdf5(folder, x=ROWS, y=LABELS[:3]))


@AREA.refused("an HDF5 file without arrays", "no array of numbers with two axes or more; it holds no arrays")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(hdf5(folder))


@AREA.changed(
    "an HDF5 file with the fill value of NetCDF",
    "x: values that are its _FillValue, -999, are missing values (2 of 24)",
)
def _(folder: Path, listener: Listener) -> None:
    rows = ROWS.astype(np.float32)
    rows[1, :2] = -999
    path = hdf5(folder, x=rows)
    with h5py.File(path, "a") as file:
        file["x"].attrs["_FillValue"] = np.float32(-999)
    read, _ = aekit.open_data(path).read(np.arange(6))
    assert np.isnan(read[1, :2]).all() and np.isnan(read).sum() == 2


@AREA.changed("an HDF5 file of scaled whole numbers", "x: scale_factor is not applied")
def _(folder: Path, listener: Listener) -> None:
    path = hdf5(folder, x=np.arange(12).reshape(6, 2))
    with h5py.File(path, "a") as file:
        file["x"].attrs.update({"scale_factor": 0.1, "missing_value": 3})
    source = aekit.open_data(path)
    assert "values that are its missing_value, 3, are used as numbers (1 of 12)" in source.losses[-1]


@AREA.refused("an HDF5 file with nothing but a table of PyTables", "it holds table (5)")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(hdf5(folder, table=np.zeros(5, [("a", "i4"), ("b", "f8")])))


@AREA.refused("an HDF5 file that is cut off", "not a readable HDF5 file")
def _(folder: Path, listener: Listener) -> None:
    path = hdf5(folder, x=np.zeros((1000, 10)))
    path.write_bytes(path.read_bytes()[:5000])
    aekit.open_data(path)


AREA.refused_file("text that is named as HDF5", "not a readable HDF5 file", "a.h5", "good morning")


@AREA.right("a Zarr group with arrays")
def _(folder: Path, listener: Listener) -> None:
    group = zarr.open_group(str(folder / "a.zarr"), mode="w")
    group.create_array("images", data=PIXELS)
    group.create_array("labels", data=LABELS)
    holds(aekit.open_data(folder / "a.zarr"), PIXELS[:, None], LABELS.tolist())


@AREA.right("a Zarr store with a single array")
def _(folder: Path, listener: Listener) -> None:
    zarr.save_array(str(folder / "a.zarr"), ROWS)
    holds(aekit.open_data(folder / "a.zarr"), ROWS)


@AREA.refused("a folder named as a Zarr store", "not a readable Zarr store")
def _(folder: Path, listener: Listener) -> None:
    (folder / "a.zarr").mkdir()
    aekit.open_data(folder / "a.zarr")


@AREA.right("a MATLAB file, with labels as a column")
def _(folder: Path, listener: Listener) -> None:
    scipy.io.savemat(folder / "a.mat", {"X": ROWS, "y": LABELS[:, None]})
    holds(aekit.open_data(folder / "a.mat"), ROWS, LABELS.tolist())


@AREA.changed("the MATLAB layout of SVHN, whose last axis counts the samples", "the last axis of X counts the samples")
def _(folder: Path, listener: Listener) -> None:
    scipy.io.savemat(folder / "a.mat", {"X": COLORS.transpose(1, 2, 3, 0), "y": LABELS[:, None]})
    source = aekit.open_data(folder / "a.mat")
    source.report_notes(listener)
    holds(source, COLORS.transpose(0, 3, 1, 2), LABELS.tolist())


@AREA.right("a MATLAB file with class names in a cell array")
def _(folder: Path, listener: Listener) -> None:
    scipy.io.savemat(folder / "a.mat", {"features": ROWS, "labels": np.array(NAMES * 2, object)})
    holds(aekit.open_data(folder / "a.mat"), ROWS, NAMES * 2)


@AREA.changed("a MATLAB file with a sparse matrix", "a sparse matrix of 6 x 4 was made dense")
def _(folder: Path, listener: Listener) -> None:
    scipy.io.savemat(folder / "a.mat", {"X": scipy.sparse.csc_matrix(ROWS.astype(float))})
    source = aekit.open_data(folder / "a.mat")
    source.report_notes(listener)
    holds(source, ROWS.astype(float))


@AREA.right("a MATLAB file of version 7.3, whose axes are stored in reverse")
def _(folder: Path, listener: Listener) -> None:
    with h5py.File(folder / "a.mat", "w", userblock_size=512) as file:
        file["X"], file["y"] = ROWS.T, LABELS[None]
    with (folder / "a.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    holds(aekit.open_data(folder / "a.mat"), ROWS, LABELS.tolist())


@AREA.refused(
    "a MATLAB file with two matrices of no usual name",
    "2 arrays may be the samples; choose one by x: left (6 x 4), right (6 x 4)",
)
def _(folder: Path, listener: Listener) -> None:
    scipy.io.savemat(folder / "a.mat", {"left": ROWS, "right": ROWS})
    aekit.open_data(folder / "a.mat")


@AREA.refused("a MATLAB file that is cut off", "not a readable MATLAB file")
def _(folder: Path, listener: Listener) -> None:
    scipy.io.savemat(folder / "a.mat", {"X": np.ones((50, 50))})
    (folder / "a.mat").write_bytes((folder / "a.mat").read_bytes()[:900])
    aekit.open_data(folder / "a.mat")


AREA.refused_file("text that is named as a MATLAB file", "not a readable MATLAB file", "a.mat", "good morning")


AREA.refused_file("an empty MATLAB file", "not a readable MATLAB file", "a.mat", b"")


# JSON lines


def json_lines(folder: Path, records: list[Any]) -> Path:
    """Write records, one a line."""
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return folder / "a.jsonl"


@AREA.right("JSON lines with lists of numbers")
def _(folder: Path, listener: Listener) -> None:
    records = [
        {"id": f"r{row}", "vector": ROWS[row].astype(float).tolist(), "label": "ab"[row % 2]} for row in range(6)
    ]
    source = aekit.open_data(json_lines(folder, records))
    holds(source, ROWS.astype(float), list("ababab"), [f"r{row}" for row in range(6)])


@AREA.right("JSON lines with plain numbers")
def _(folder: Path, listener: Listener) -> None:
    records = [{"a": 1, "b": 2.5, "label": "u"}, {"a": 2, "b": 0.5, "label": "v"}]
    holds(aekit.open_data(json_lines(folder, records)), np.array([[1.0, 2.5], [2.0, 0.5]]), ["u", "v"])


@AREA.right("metadata.jsonl of an image folder, with file_name")
def _(folder: Path, listener: Listener) -> None:
    (folder / "images").mkdir()
    for row, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / "images" / f"{row}.png")
    records = [{"file_name": f"images\\{row}.png", "label": NAMES[LABELS[row]]} for row in range(6)]
    holds(aekit.open_data(json_lines(folder, records)), PIXELS[:, None], NAMES * 2)


@AREA.right("JSON lines with a byte order mark, Windows line ends and a blank line")
def _(folder: Path, listener: Listener) -> None:
    (folder / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1, "b": 2}\r\n\r\n{"a": 3, "b": 5}\r\n')
    holds(aekit.open_data(folder / "a.jsonl"), np.array([[1.0, 2.0], [3.0, 5.0]]))


@AREA.right("compressed JSON lines")
def _(folder: Path, listener: Listener) -> None:
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1, "b": 2}\n{"a": 3, "b": 5}'))
    holds(aekit.open_data(folder / "a.jsonl.gz"), np.array([[1.0, 2.0], [3.0, 5.0]]))


@AREA.right("a JSON file with a list of records")
def _(folder: Path, listener: Listener) -> None:
    (folder / "a.json").write_text('[\n{"x": [1, 2]},\n{"x": [3, 5]}\n]')
    holds(aekit.open_data(folder / "a.json"), np.array([[1, 2], [3, 5]]))


@AREA.right("a line of JSON that is longer than a block of the reader")
def _(folder: Path, listener: Listener) -> None:
    wide = [{"x": [row + 0.5] * 400_000} for row in range(2)]
    assert aekit.open_data(json_lines(folder, wide)).spec.shape == (400_000,)


@AREA.right("a key that a record lacks, a missing number")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(json_lines(folder, [{"a": 1.0, "b": 2.0}, {"a": 3.0}, {"a": 4.0, "b": 1.0}]))
    rows, _ = source.read(np.arange(3))
    assert np.isnan(rows[1, 1]) and rows[2].tolist() == [4.0, 1.0]


AREA.refused_file("JSON lines with a damaged line", "not readable as JSON lines", "a.jsonl", '{"a": 1}\n{"a": \n')


@AREA.changed(
    "JSON lines whose key is a number here and text there", "'n.k.' (row 3) among the numbers of 'a' is a missing"
)
def _(folder: Path, listener: Listener) -> None:
    records = [{"a": "n.k." if row == 3 else row / 2, "b": row % 5} for row in range(6)]
    rows, _ = aekit.open_data(json_lines(folder, records)).read(np.arange(6))
    assert np.isnan(rows[:, 0]).tolist() == [False] * 3 + [True] + [False] * 2 and rows[4].tolist() == [2.0, 4.0]


@AREA.refused("JSON lines whose key is a list here and a number there", "not readable as JSON lines")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(json_lines(folder, [{"a": [1, 2]}, {"a": 3}]))


RECORDS = [{"a": row, "b": row / 2, "label": NAMES[row % 3]} for row in range(6)]
TABLE = np.array([[record["a"], record["b"]] for record in RECORDS])


@AREA.right("a JSON list whose first record lacks a key")
def _(folder: Path, listener: Listener) -> None:
    records = [{"a": 7}, *({"a": row, "b": row / 2} for row in range(3))]
    (folder / "a.json").write_text(json.dumps(records))
    rows, _ = aekit.open_data(folder / "a.json").read(np.arange(4))
    assert np.isnan(rows[0, 1]) and rows[:, 0].tolist() == [7, 0, 1, 2] and rows[3, 1] == 1


def _shaped(folder: Path, content: object, listener: Listener) -> None:
    (folder / "a.json").write_text(json.dumps(content, indent=1))
    source = aekit.open_data(folder / "a.json")
    source.report_notes(listener)
    holds(source, TABLE, [record["label"] for record in RECORDS])


@AREA.changed("a JSON object with its records under a key", "the records are the list in 'results'; left out: next")
def _(folder: Path, listener: Listener) -> None:
    _shaped(folder, {"next": None, "results": RECORDS}, listener)


@AREA.changed("a JSON object of columns by row, as pandas writes it by default", "its objects are columns, by row")
def _(folder: Path, listener: Listener) -> None:
    _shaped(folder, {key: {str(row): r[key] for row, r in enumerate(RECORDS)} for key in RECORDS[0]}, listener)


@AREA.changed("a JSON object of lists, which are columns", "its lists are columns")
def _(folder: Path, listener: Listener) -> None:
    _shaped(folder, {key: [record[key] for record in RECORDS] for key in RECORDS[0]}, listener)


@AREA.changed("a JSON object of names and rows, as pandas splits a table", "its rows are the lists in 'data'")
def _(folder: Path, listener: Listener) -> None:
    rows = [list(record.values()) for record in RECORDS]
    _shaped(folder, {"columns": list(RECORDS[0]), "index": [*range(6)], "data": rows}, listener)


@AREA.right("records inside records, whose numbers are columns")
def _(folder: Path, listener: Listener) -> None:
    records = [{"at": {"x": row + 0.5, "more": {"y": row % 2}}, "z": row % 3} for row in range(6)]
    source = aekit.open_data(json_lines(folder, records))
    assert [column.name for column in source.spec.columns] == ["at.x", "at.more.y", "z"]
    assert source.read(np.arange(6))[0][3].tolist() == [3.5, 1, 0]


@AREA.changed(
    "numbers that JSON and DataFrames hold as text", "numbers written as text are read as numbers in 'a', 'b'"
)
def _(folder: Path, listener: Listener) -> None:
    texts = {"a": [f"{1000 + row:,}.5" for row in range(6)], "b": [f"{row}%" for row in range(6)], "id": list("abcdef")}
    records = [dict(zip(texts, values)) for values in zip(*texts.values())]
    expected = np.array([[1000.5 + row, row] for row in range(6)])
    for source in (aekit.open_data(json_lines(folder, records)), aekit.open_data(pa.table(texts))):
        holds(source, expected, None, list("abcdef"))


# Arrow and Feather


@AREA.right("a Feather file, and a stream of Arrow")
def _(folder: Path, listener: Listener) -> None:
    table = pa.Table.from_pylist(RECORDS)
    feather.write_feather(table, folder / "a.feather")
    with pa.OSFile(str(folder / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    for name in ("a.feather", "a.arrow"):
        holds(aekit.open_data(folder / name), TABLE, [record["label"] for record in RECORDS])


@AREA.right("an Arrow file of encoded images, as Hugging Face caches them")
def _(folder: Path, listener: Listener) -> None:
    table = hugging_face()
    with pa.OSFile(str(folder / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    holds(aekit.open_data(folder / "a.arrow"), PIXELS[:, None], NAMES * 2)


@AREA.refused("an Arrow file that is cut off", "not a readable Arrow file")
def _(folder: Path, listener: Listener) -> None:
    feather.write_feather(pa.Table.from_pylist(RECORDS), folder / "a.feather")
    (folder / "a.feather").write_bytes((folder / "a.feather").read_bytes()[:-30])
    aekit.open_data(folder / "a.feather")


AREA.refused_file(
    "a Feather file of version 1", "Feather of version 1, which is out of use", "a.feather", b"FEA1" + bytes(40)
)


AREA.refused_file(
    "JSON lines whose first line is null", "its first line is not a record", "a.jsonl", 'null\n{"a": 1}\n'
)


AREA.refused_file("an empty file of JSON lines", "a.jsonl: empty file", "a.jsonl", b"")


AREA.refused_file("a JSON file with a list of numbers", "entry 0 of the list is not a record", "a.json", "[1, 2, 3]")


@AREA.refused("JSON lines of text", "")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(json_lines(folder, [{"text": f"sentence {row}"} for row in range(30)]))


@AREA.refused("JSON lines with paths of images that do not exist", "none of 2 images can be read: the file is missing")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(json_lines(folder, [{"path": "a.png"}, {"path": "b.png"}]))


# What could be taken for another format


@AREA.right("a numeric Parquet table with a column of lists of no usual name, which stays a table")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": [3.0, 5.0], "tags": [[1, 2], [3]]}), folder / "a.parquet")
    holds(aekit.open_data(folder / "a.parquet"), np.array([[1.0, 3.0], [2.0, 5.0]]))


@AREA.right("a folder of images with a Parquet file of vectors beside them, which stays a folder of images")
def _(folder: Path, listener: Listener) -> None:
    for row, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{row}.png")
    pq.write_table(pa.table({"vector": list(ROWS)}), folder / "vectors.parquet")
    tar(folder / "backup.tar", pairs())
    holds(aekit.open_data(folder), PIXELS[:, None])


@AREA.changed("a tar file of folders of images", "the folders inside the tar files are the labels")
def _(folder: Path, listener: Listener) -> None:
    members = {f"images/{NAMES[LABELS[row]]}/{row}.png": encoded(PIXELS[row]) for row in range(6)}
    source = aekit.open_data(tar(folder / "a.tar", members))
    source.report_notes(listener)
    holds(source, PIXELS[:, None], NAMES * 2)


@AREA.right("labels in a MATLAB file, which are floats there, as classes")
def _(folder: Path, listener: Listener) -> None:
    scipy.io.savemat(folder / "a.mat", {"X": ROWS, "y": LABELS.astype(float)})
    source = aekit.open_data(folder / "a.mat")
    assert source.labels is not None and source.labels.dtype.kind == "i" and source.labels.tolist() == LABELS.tolist()


@AREA.right("precomputed vectors in a CSV table with ids and labels")
def _(folder: Path, listener: Listener) -> None:
    lines = [f"s{row},{','.join(map(str, ROWS[row].tolist()))},{'ab'[row % 2]}" for row in range(6)]
    (folder / "v.csv").write_text("\n".join(["id,e0,e1,e2,e3,label", *lines]))
    index = aekit.build_index(folder / "v.csv")
    assert index.ids == [f"s{row}" for row in range(6)] and index.metadata["label"].to_pylist() == list("ababab")
    assert index.search(ROWS[4], 1)[1].tolist() == [[4]]


@AREA.right("a Lance data set of images with classes")
def _(folder: Path, listener: Listener) -> None:
    from aekit_plugins.sources.lance_dataset import example

    source = aekit.open_data(example(folder))
    assert source.spec.is_image and list(source.labels[:3]) == ["class-0", "class-1", "class-2"]
    assert source.read(np.arange(3))[1].all()


@AREA.right("a Lance data set with a column of vectors, as embeddings")
def _(folder: Path, listener: Listener) -> None:
    import lance

    vectors = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
    lance.write_dataset(pa.table({"vector": lists}), str(folder / "v.lance"))
    index = aekit.build_index(folder / "v.lance")
    assert index.search(vectors[2], k=1)[1].tolist() == [[2]]


@AREA.refused("a folder named like a Lance data set that is none", "no samples; looked for")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x.lance").mkdir()
    (folder / "x.lance" / "notes.txt").write_text("nothing")
    aekit.open_data(folder / "x.lance")


@AREA.refused("a damaged Lance data set", "not a readable Lance data set")
def _(folder: Path, listener: Listener) -> None:
    from aekit_plugins.sources.lance_dataset import example

    path = Path(example(folder))
    for manifest in (path / "_versions").iterdir():
        manifest.write_bytes(b"damaged")
    aekit.open_data(path)
