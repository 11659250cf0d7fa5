"""The formats that are fuzzed: small valid files of each, and what is done with a mutated one."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from unusual import images, other_tables

import aekit
from aekit.registry.overrides import parse_override
from aekit.training.recipe import make_recipe, read_recipe

CORPUS = Path(__file__).with_name("corpus")
"""FORMAT/NAME: mutated files that once were no line but a traceback, a crash or a hang."""


@dataclass(frozen=True)
class Format:
    """A format, or a part of one.

    Attributes:
        reader: the code that reads it, and other formats with it.
        name: file name of a mutated file; of a folder, of the file in it that is mutated.
        seeds: valid files.
        use: opens a file and reads some of it.
        is_text: whether lines and words are mutated too.
        is_python: whether its code is Python, so that coverage can guide the mutations.
        folder: makes the folder around the mutated file.
    """

    reader: str
    name: str
    seeds: Callable[[], list[bytes]]
    use: Callable[[Path], None]
    is_text: bool = False
    is_python: bool = False
    folder: Callable[[Path], None] | None = None


def open_it(path: Path, options: dict | None = None, prefix: str = "") -> None:
    """Open data, read some samples, and describe it."""
    source = aekit.open_data(f"{prefix}{path}", options)
    rows = np.arange(min(4, len(source)))
    source.read(rows)
    source.fingerprints(rows)
    str(source.spec), list(source.ids)[:3], source.note


def open_recording(path: Path) -> None:
    open_it(path, {"recordings": {"steps": 8, "test": 0}}, "recordings:")


def open_clips(path: Path) -> None:
    open_it(path, {"clips": {"frames": 2, "test": 0}}, "clips:")


def open_patches(path: Path) -> None:
    open_it(path, {"patches": {"size": 4, "max_per_image": 100}}, "patches:")


def open_folder(path: Path) -> None:
    open_it(path.parent)


def open_zarr(path: Path, part: str) -> None:
    """Open the store that a file is a part of; which source reads it shows in the names of its files, which stay the same."""
    open_it(path.parents[len(Path(part).parts) - 1], prefix="zarr:")


def open_lance(path: Path) -> None:
    """Put a manifest into an otherwise valid data set, and open it."""
    name = [name for name in lance_files() if name.startswith("_versions")][-1]
    shutil.copyfile(path, path.parent / name)
    open_it(path.parent, prefix="lance:")


def open_workbook(path: Path, part: str) -> None:
    """Put a part into an otherwise valid workbook, and open it."""
    book = path.with_name("x.xlsx")
    with zipfile.ZipFile(book, "w") as archive:
        for name, content in workbook_parts().items():
            archive.writestr(name, path.read_bytes() if name == part else content)
    open_it(book)


def open_recipe(path: Path) -> None:
    read_recipe(path).to_toml()


def open_override(path: Path) -> None:
    name, value = parse_override(path.read_bytes().decode("utf-8", "surrogateescape"))
    make_recipe({"data": {"source": "x"}}, {name: value}).to_toml()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(save: Callable[..., None] = np.savez, **arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def parquet(table: pa.Table, **options: object) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def image(kind: str, mode: str = "L", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def animation(kind: str, mode: str = "L") -> bytes:
    stream = io.BytesIO()
    frames = [Image.fromarray(np.full((6, 6), number * 12, np.uint8)).convert(mode) for number in range(12)]
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def wide_tiff(**options: object) -> bytes:
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, np.arange(320, dtype=np.uint16).reshape(8, 8, 5), **options)
    return stream.getvalue()


def wav(kind: int = 1, channels: int = 1, bits: int = 16, body: bytes = b"\1\2" * 100) -> bytes:
    rate, frame = 8000, channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits)
    head = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(body))
    return b"RIFF" + struct.pack("<I", 4 + len(head) + len(body)) + head + body


def sound(kind: str) -> bytes:
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, np.sin(np.arange(400) / 5), 8000, format=kind)
    return stream.getvalue()


def video(kind: str, codec: str) -> bytes:
    import av

    stream = io.BytesIO()
    with av.open(stream, "w", format=kind) as container:
        track = container.add_stream(codec, rate=5)
        track.width = track.height = 16
        track.pix_fmt = "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), number * 12, np.uint8), format="rgb24")
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return stream.getvalue()


def matlab(**options: object) -> bytes:
    from scipy.io import savemat
    from scipy.sparse import csc_matrix

    content = {"X": np.arange(24.0).reshape(6, 4), "y": np.arange(6) % 2}
    if options.get("format") != "4":
        content |= {"names": np.array(["a", "bc"], object), "s": {"a": 1.0}, "sparse": csc_matrix(np.eye(3))}
    stream = io.BytesIO()
    savemat(stream, content, **options)
    return stream.getvalue()


def hdf5(**options: object) -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("group/x", data=np.zeros((6, 4), np.float32), **options)
        file["group/y"] = np.arange(6) % 2
        file["names"] = ["a", "bc"]
    return stream.getvalue()


def sparse_matlab() -> bytes:
    from scipy.io import savemat
    from scipy.sparse import csc_matrix

    stream = io.BytesIO()
    savemat(stream, {"X": csc_matrix(np.eye(6, 4)), "y": np.arange(6) % 2})
    return stream.getvalue()


def tar(mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for row in range(3):
            members = {"png": image("PNG"), "cls": b"%d" % row, "json": b'{"label": %d}' % row}
            for ending, content in members.items():
                about = tarfile.TarInfo(f"{row:03d}.{ending}")
                about.size = len(content)
                archive.addfile(about, io.BytesIO(content))
    return stream.getvalue()


def zarr_folder(folder: Path) -> None:
    import zarr

    group = zarr.open_group(str(folder), mode="w")
    group.create_array("x", data=np.ones((6, 4), np.float32))
    group.create_array("y", data=np.arange(6) % 2)


def workbook() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["id", "x", "when", "label"], ["a", 1.5, "2024-01-01", "u"], ["b", 2, None, "v"], ["c", 4, True, "u"]):
        book.active.append(row)
    book.create_sheet("other").append([1, "=A1"])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@cache
def workbook_parts() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(workbook())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@cache
def lance_files() -> dict[str, bytes]:
    """Return the files of a Lance data set, which another process writes: Lance starts threads."""
    table = "pa.table({'image': [image('PNG')] * 3, 'label': ['a', 'b', 'a']})"
    code = f"import lance, sys; from reliability.fuzz_formats import image, pa; lance.write_dataset({table}, *sys.argv[1:])"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "x.lance"
        environment = {"PYTHONPATH": ":".join([str(Path(__file__).parents[1]), *sys.path])}
        subprocess.run([sys.executable, "-c", code, str(place)], env=os.environ | environment, check=True)
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def lance_folder(folder: Path) -> None:
    for name, content in lance_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def zarr_file(name: str) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        zarr_folder(Path(folder))
        return [(Path(folder) / name).read_bytes()]


def saved_folder(folder: Path) -> None:
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (folder / "data.arrow").write_bytes(arrow())


def arrow() -> bytes:
    stream = io.BytesIO()
    table = pa.table({"image": [image("PNG")] * 3, "label": [0, 1, 0], "words": ["a", "bc", None]})
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def feather_file(**options: object) -> bytes:
    from pyarrow import feather

    stream = io.BytesIO()
    feather.write_feather(TABLE, stream, **options)
    return stream.getvalue()


def dicom_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return images.dicom(
            Path(folder) / "x.dcm", images.RAMP, RescaleSlope=1, RescaleIntercept=-9, WindowCenter=40, WindowWidth=400
        ).read_bytes()


def open_document() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return other_tables.ods(
            Path(folder) / "x.ods", [("h", "w", "class"), (1, 2.5, "a"), (3, 4.5, "b")]
        ).read_bytes()


def listed_folder(folder: Path) -> None:
    for name in ("x", "y"):
        (folder / f"{name}.png").write_bytes(image("PNG"))


TABLE = pa.table(
    {"id": ["a", "b", "c"], "x": [1.0, 2, 3], "w": ["u", "v", "u"], "label": [0, 1, 0], "split": ["train"] * 3}
)
LISTS = pa.table({"vector": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "label": ["a", "b", "a"]})
IDX = b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 3) + b"\1" * 18
CSV = [
    b"id,x,w,label,split\na,1,u,0,train\nb,2,v,1,test\nc,?,u,0,train\n",
    b"1;2;3\n4;5;6\n",
    b'"a b",c\n"1","x ""y"""\n2,z\n',
    "# é\nday\tvalue\n2024-01-01\t1,5\n2024-01-02\t2,5\n".encode("utf-16"),
    b"a,b\n1 000,5%\n2 000,6%\n",
]
TS = [
    b"#c\n@problemName x\n@timestamps false\n@univariate true\n@classLabel true a b\n@data\n1,2,3:a\n4,?,6:b\n",
    b"@targetLabel true\n@data\n1,2:3,4:0.5\n1,2:3,4:1\n",
    b"@classLabel true a\n@data\n1:2:3:a\n",
]
UCR = [
    b"".join(
        b"%d\t" % (row % 3 + 1) + b"\t".join(b"%.2f" % (row + step / 7) for step in range(10)) + b"\n"
        for row in range(12)
    ),
    b"1  " + b"  ".join([b"1.0e+00"] * 8) + b"  NaN  NaN\n" + b"1  " + b"  ".join([b"2.0e+00"] * 10) + b"\n",
]
ARFF = [
    b"% x\n@relation r\n@attribute 'a b' real\n@attribute c {u,'v w'}\n@attribute d date\n@attribute kind {p,q}\n@data\n"
    b"1,u,2020-01-01,p\n?,'v w',?,q\n% y\n3,u,2020-01-03,p, {2}\n",
    b"@relation r\n@attribute a numeric\n@attribute b string\n@attribute c {no,yes}\n@data\n{0 2}\n{1 'x', 2 yes}\n{}\n",
]
ORANGE = b"name\th\tsize\tkind\nstring\tc\tsmall large\td\nmeta\t\t\tclass\n" + b"n\t1\tsmall\ta\nm\t2\tlarge\tb\n" * 4
RECORDING = b"time,a,b,label\n" + b"".join(b"%d,%d,%d,x\n" % (row, row, -row) for row in range(30))
RECIPE = b"""[data]
source = "sklearn:digits"
split = "train"
[encoder]
backbone = "conv"
dim = 8
hidden = [3]
[encoder.conv]
channels = [8]
[objective]
variants = ["denoising"]
[objective.denoising]
level = 0.3
[layerwise]
epochs = 1
layers = [{epochs = 1, variants = ["plain"]}]
[train]
epochs = 3
lr = 1e-3
[evaluate]
evaluators = ["probe"]
groups = "a(.)"
"""
JSON_LINES = b'{"id": "a", "vector": [1, 2.5], "label": "x"}\n{"id": "b", "vector": [3, 4], "label": "y"}\n'
RECORDS = json.dumps([{"a": 1, "b": 2.5, "label": "x"}, {"a": 2, "b": None, "label": "y"}]).encode()
JSON_SHAPES = [
    b'{"next": null, "rows": [{"a": 1, "at": {"x": 2, "y": "3"}}, {"a": "n/a", "at": {"x": 4}}]}',
    b'{"a": {"0": 1, "1": 2}, "b": {"0": "1,5", "1": "x"}}',
    b'{"a": [1, 2], "b": ["3%", "4%"]}',
    b'{"columns": ["a", "b"], "index": [0, 1], "data": [[1, "u"], [2, "v"]]}',
]


def _formats() -> Iterator[tuple[str, Format]]:
    yield (
        "npy",
        Format("NumPy arrays", "x.npy", lambda: [npy(np.zeros((3, 4))), npy(np.arange(12).reshape(3, 2, 2))], open_it),
    )
    yield "npy.gz", Format("NumPy arrays", "x.npy.gz", lambda: [gzip.compress(npy(np.zeros((3, 4))))], open_it)
    arrays = {"X": np.zeros((3, 4)), "y": np.array(["a", "b", "a"])}
    yield "npz", Format("NumPy arrays", "x.npz", lambda: [npz(**arrays), npz(np.savez_compressed, **arrays)], open_it)
    doubles = b"\0\0\x0d\x02" + struct.pack(">2I", 2, 2) + b"\0" * 16
    yield "idx", Format("IDX", "x-idx3-ubyte", lambda: [IDX, doubles], open_it, is_python=True)
    yield "idx.gz", Format("IDX", "x-idx3-ubyte.gz", lambda: [gzip.compress(IDX)], open_it)
    yield "ucr", Format("time series", "x_TRAIN.tsv", lambda: UCR, open_it, True, True)
    yield "arff", Format("ARFF", "x.arff", lambda: ARFF, open_it, True, True)
    yield "orange", Format("CSV", "x.tab", lambda: [ORANGE], open_it, True)
    yield "ts", Format("time series", "x.ts", lambda: TS, open_it, True, True)
    yield "csv", Format("CSV", "x.csv", lambda: CSV, open_it, True, True)
    yield "csv.gz", Format("CSV", "x.csv.gz", lambda: [gzip.compress(text) for text in CSV], open_it)
    tables = lambda: [parquet(TABLE), parquet(TABLE, compression="zstd", use_dictionary=False)]  # noqa: E731
    yield "parquet", Format("Parquet tables", "x.parquet", tables, open_it)
    photos = pa.table({"image": [{"bytes": image("PNG"), "path": "a.png"}] * 3, "label": [0, 1, 0]})
    yield "arrow", Format("Arrow", "x.arrow", lambda: [arrow()], open_it)
    yield (
        "feather",
        Format("Arrow", "x.feather", lambda: [feather_file(), feather_file(compression="uncompressed")], open_it),
    )
    yield (
        "parquet-images",
        Format("Parquet of images", "x.parquet", lambda: [parquet(photos, row_group_size=2)], open_it),
    )
    yield "parquet-lists", Format("Parquet of vectors", "x.parquet", lambda: [parquet(LISTS)], open_it)
    yield "json-lines", Format("JSON", "x.jsonl", lambda: [JSON_LINES, RECORDS], open_it, True, True)
    yield "json-shapes", Format("JSON", "x.json", lambda: JSON_SHAPES, open_it, True, True)
    yield "json-lines.gz", Format("JSON", "x.jsonl.gz", lambda: [gzip.compress(JSON_LINES)], open_it)
    listed = b"path,label\nx.png,a\ny.png,b\n", b"x,1\ny,2\n", b"file_name\nelsewhere/x.png\n"
    yield "image-list", Format("lists of images", "list.csv", lambda: list(listed), open_it, True, True, listed_folder)
    for kind, modes in {
        "PNG": ("L", "RGBA", "P", "1", "I;16"), "JPEG": ("L", "CMYK"), "GIF": ("L",), "WEBP": ("RGB",), "BMP": ("RGB",),
        "PPM": ("L", "RGB"), "TGA": ("RGB",), "JPEG2000": ("L",), "AVIF": ("RGB",), "TIFF": ("L", "F", "RGB"),
    }.items():  # fmt: skip
        name = {"JPEG2000": "x.jp2"}.get(kind, f"x.{kind.lower()}")
        yield (
            kind.lower(),
            Format("images", name, lambda kind=kind, modes=modes: [image(kind, mode) for mode in modes], open_it),
        )
    if importlib.util.find_spec("pydicom") is not None:
        yield "dicom", Format("images", "x.dcm", lambda: [dicom_file()], open_it)
    if importlib.util.find_spec("python_calamine") is not None:
        yield "ods", Format("workbooks", "x.ods", lambda: [open_document()], open_it)
    yield "tiff-packed", Format("images", "x.tif", lambda: [image("TIFF", "RGB", compression="tiff_lzw")], open_it)
    yield (
        "tiff-wide",
        Format("images", "x.tif", lambda: [wide_tiff(), wide_tiff(tile=(16, 16), compression="zlib")], open_it),
    )
    floats = lambda: wav(3, 1, 32, struct.pack("<100f", *[0.1] * 100))  # noqa: E731
    yield "patches", Format("patches", "x.tif", lambda: [wide_tiff(), image("PNG"), image("JPEG")], open_patches)
    yield (
        "wav",
        Format(
            "recordings", "x.wav", lambda: [wav(), wav(bits=8), wav(channels=2), floats(), wav(bits=24)], open_recording
        ),
    )
    for kind in ("FLAC", "OGG", "AIFF", "AU", "MP3"):
        yield kind.lower(), Format("recordings", f"x.{kind.lower()}", lambda kind=kind: [sound(kind)], open_recording)
    yield "recording-csv", Format("recordings", "x.csv", lambda: [RECORDING], open_recording, True, True)
    yield (
        "recording-npy",
        Format("recordings", "x.npy", lambda: [npy(np.zeros((40, 2))), npy(np.zeros(40))], open_recording),
    )
    yield (
        "recording-parquet",
        Format("recordings", "x.parquet", lambda: [parquet(pa.table({"a": np.arange(40.0)}))], open_recording),
    )
    yield "clips-gif", Format("clips", "x.gif", lambda: [animation("GIF")], open_clips)
    yield "clips-webp", Format("clips", "x.webp", lambda: [animation("WEBP", "RGB")], open_clips)
    yield "clips-npy", Format("clips", "x.npy", lambda: [npy(np.zeros((20, 5, 5, 3), np.uint8))], open_clips)
    yield "clips-npz", Format("clips", "x.npz", lambda: [npz(frames=np.zeros((20, 5, 5), np.uint8))], open_clips)
    for kind, container, codec in (("mp4", "mp4", "mpeg4"), ("mkv", "matroska", "mpeg4"), ("avi", "avi", "mpeg4")):
        seeds = lambda container=container, codec=codec: [video(container, codec)]  # noqa: E731
        yield kind, Format("clips", f"x.{kind}", seeds, open_clips)
    yield "mat", Format("MATLAB", "x.mat", lambda: [matlab(), sparse_matlab()], open_it)
    yield "mat-packed", Format("MATLAB", "x.mat", lambda: [matlab(do_compression=True)], open_it)
    yield "mat-4", Format("MATLAB", "x.mat", lambda: [matlab(format="4")], open_it)
    yield "hdf5", Format("HDF5", "x.h5", lambda: [hdf5(), hdf5(compression="gzip")], open_it)
    for name, part in (("zarr", "zarr.json"), ("zarr-zarr.json", "x/zarr.json"), ("zarr-c", "x/c/0/0")):
        seeds = lambda part=part: zarr_file(part)  # noqa: E731
        use = lambda path, part=part: open_zarr(path, part)  # noqa: E731
        yield name, Format("Zarr", f"x.zarr/{part}", seeds, use, part.endswith("json"), False, zarr_folder)
    if importlib.util.find_spec("openpyxl"):
        yield "xlsx", Format("workbooks", "x.xlsx", lambda: [workbook()], open_it)
        for name in ("worksheets/sheet1", "workbook", "styles"):
            part = f"xl/{name}.xml"
            seeds = lambda part=part: [workbook_parts()[part]]  # noqa: E731
            use = lambda path, part=part: open_workbook(path, part)  # noqa: E731
            yield f"xlsx-{name.rpartition('/')[2]}", Format("workbooks", "part.xml", seeds, use, True)
    if importlib.util.find_spec("lance"):  # not its files of data: on some damaged ones Lance ends the process
        seeds = lambda: [content for name, content in lance_files().items() if name.startswith("_versions")][-1:]  # noqa: E731
        yield "lance", Format("Lance", "x.lance/changed", seeds, open_lance, folder=lance_folder)
    yield "tar", Format("tar shards", "x.tar", lambda: [tar()], open_it)
    yield "tar.gz", Format("tar shards", "x.tar.gz", lambda: [tar("w:gz")], open_it)
    yield (
        "saved-dataset",
        Format("saved data sets", "saved/data.arrow", lambda: [arrow()], open_folder, folder=saved_folder),
    )
    state = b'{"_data_files": [{"filename": "data.arrow"}], "_split": "train"}'
    yield (
        "saved-state",
        Format("saved data sets", "saved/state.json", lambda: [state], open_folder, True, True, saved_folder),
    )
    yield "recipe", Format("recipes", "recipe.toml", lambda: [RECIPE], open_recipe, True, True)
    settings = b"train.lr=1e-3", b"encoder.conv.channels=[1,2]", b"data.only_labels=['0']", b"train.epochs=2"
    yield "override", Format("recipes", "override", lambda: list(settings), open_override, True, True)


FORMATS = dict(_formats())


def prepare(kind: Format, folder: Path) -> Path:
    """Make the folder around a mutated file, and return the path of the file."""
    shutil.rmtree(folder, ignore_errors=True)
    path = folder / kind.name
    around = folder / Path(kind.name).parts[0] if "/" in kind.name else folder
    around.mkdir(parents=True, exist_ok=True)
    if kind.folder is not None:
        kind.folder(around)
    return path
