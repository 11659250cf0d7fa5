"""Files and settings that lie, explode, block, or are no files: each is refused before it costs memory or time."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from unusual.harness import Area, Listener

import aekit
from aekit.data.readers import _parquet_files
from aekit.evaluation import id_groups

AREA = Area(__name__)
ROWS = np.arange(48, dtype=np.float32).reshape(12, 4)
LARGE = 200 << 20
"""Bytes that a packed file unpacks to, more than `little_memory` allows."""


@contextlib.contextmanager
def little_memory(size: str = "100MB") -> Iterator[None]:
    with mock.patch.dict(os.environ, {"AEKIT_MEMORY": size}):
        yield


def packed(path: Path, head: bytes, size: int = LARGE) -> Path:
    """Write a small gzipped file of many zeros, or blanks."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return path


def npy_header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    return header.getvalue()


def wav(rate: int = 8000, channels: int = 1, size: int = 400) -> bytes:
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * 2, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 436)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
    )


# Headers that lie


@AREA.refused("a .npy file whose header says 2^40 numbers", "more than the file has")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x.npy").write_bytes(npy_header((1 << 40, 4)) + bytes(64))
    aekit.open_data(folder / "x.npy")


@AREA.refused("an array in an .npz whose header says 2^40 numbers", "array 'x' is damaged: its header says")
def _(folder: Path, listener: Listener) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("x.npy", npy_header((1 << 40, 4)) + bytes(64))
    aekit.open_data(folder / "x.npz")


@AREA.refused("a .npy file with a header that is no Python", "x.npy: damaged (")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x.npy").write_bytes(npy_header((12, 4)).replace(b"{", b"(") + bytes(192))
    aekit.open_data(folder / "x.npy")


@AREA.refused("an IDX file whose header says 2^96 bytes", "the file has 10 bytes")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + b"\xff" * 12 + bytes(10))
    aekit.open_data(folder / "x-idx3-ubyte")


@AREA.refused("an IDX file of 255 axes", "its header says 255 axes")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x-idx3-ubyte").write_bytes(b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0")
    aekit.open_data(folder / "x-idx3-ubyte")


@AREA.refused("an array of a billion samples without values", "its samples hold no values")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "x.npy", np.zeros((1_000_000_000, 0)))
    aekit.open_data(folder / "x.npy")


@AREA.refused("a WAV file with a sampling rate of 0", "a sampling rate of 0 Hz: expected 1 to 10,000,000")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x.wav").write_bytes(wav(rate=0) + bytes(400))
    with mock.patch("importlib.util.find_spec", return_value=None):  # without soundfile
        aekit.open_data(folder / "x.wav", {"recordings": {"steps": 8}})


@AREA.refused("a WAV file that ends after its header", "not a readable .wav file")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x.wav").write_bytes(wav()[:36])
    with mock.patch("importlib.util.find_spec", return_value=None):
        aekit.open_data(folder / "x.wav", {"recordings": {"steps": 8}})


@AREA.refused("a TIFF file of 60,000 channels of 4 million pixels", "60000 channels of the image would take")
def _(folder: Path, listener: Listener) -> None:
    import tifffile

    from aekit.data.readers._image_files import open_image

    tifffile.imwrite(folder / "x.tif", np.zeros((8, 8, 5), np.uint16))
    with tifffile.TiffFile(folder / "x.tif", mode="r+") as file:
        for name, value in (("ImageWidth", 2000), ("ImageLength", 2000), ("SamplesPerPixel", 60000)):
            file.pages[0].tags[name].overwrite(value)
    with open_image(folder / "x.tif"):
        pass


@AREA.refused("a MATLAB file with a sparse matrix whose rows lie outside", "not a readable MATLAB file")
def _(folder: Path, listener: Listener) -> None:
    from scipy.io import savemat
    from scipy.sparse import csc_matrix

    matrix = csc_matrix(np.eye(6, 4))
    matrix.indices[0] = 1_000_000
    savemat(folder / "x.mat", {"X": matrix})
    aekit.open_data(folder / "x.mat")


@AREA.refused("a MATLAB file with a sparse matrix whose columns overlap", "a sparse variable whose columns overlap")
def _(folder: Path, listener: Listener) -> None:
    from scipy.io import savemat
    from scipy.sparse import csc_matrix

    savemat(folder / "x.mat", {"X": csc_matrix(np.eye(6, 4))})
    starts = struct.pack("<5i", 0, 1, 2, 3, 4)
    (folder / "x.mat").write_bytes((folder / "x.mat").read_bytes().replace(starts, struct.pack("<5i", 0, 1, 2, 3, 0)))
    aekit.open_data(folder / "x.mat")


@AREA.refused("a MATLAB file whose variable is shorter than its shape", "a variable of shape (12, 40) with 48 values")
def _(folder: Path, listener: Listener) -> None:
    from scipy.io import savemat

    savemat(folder / "x.mat", {"X": ROWS.astype(float)})
    content = (folder / "x.mat").read_bytes()
    (folder / "x.mat").write_bytes(content.replace(struct.pack("<2i", 12, 4), struct.pack("<2i", 12, 40)))
    aekit.open_data(folder / "x.mat")


# Files that explode


@AREA.refused("a small .npy.gz that unpacks to more than AEKIT_MEMORY", "95.4 MiB are allowed (set by AEKIT_MEMORY)")
def _(folder: Path, listener: Listener) -> None:
    packed(folder / "x.npy.gz", npy_header((LARGE // 16, 4)))
    with little_memory():
        aekit.open_data(folder / "x.npy.gz")


@AREA.refused("a small .npz that unpacks to more than AEKIT_MEMORY", "set AEKIT_MEMORY, such as 64GB, to allow more")
def _(folder: Path, listener: Listener) -> None:
    np.savez_compressed(folder / "x.npz", x=np.zeros((LARGE // 32, 4)))
    with little_memory():
        aekit.open_data(folder / "x.npz")


@AREA.refused(
    "a small gzipped IDX file that unpacks to more", "its unpacked array of shape (200, 1024, 1024) would take"
)
def _(folder: Path, listener: Listener) -> None:
    packed(folder / "x-idx3-ubyte.gz", b"\0\0\x08\x03" + struct.pack(">3I", 200, 1024, 1024))
    with little_memory():
        aekit.open_data(folder / "x-idx3-ubyte.gz")


@AREA.refused("a small gzipped CSV that unpacks to more", "its unpacked content would take more memory")
def _(folder: Path, listener: Listener) -> None:
    packed(folder / "x.csv.gz", b"a,b\n1,2\n" * 100)
    with little_memory():
        aekit.open_data(folder / "x.csv.gz")


@AREA.refused("a CSV of 200,000 columns", "200,000 columns; expected at most 100,000: transpose it, or save it as .npy")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x.csv").write_text(",".join(["1"] * 200_000) + "\n")
    aekit.open_data(folder / "x.csv")


@AREA.refused("small gzipped JSON lines that unpack to more", "its unpacked content would take more memory")
def _(folder: Path, listener: Listener) -> None:
    packed(folder / "x.jsonl.gz", b'{"a": 1}\n')
    with little_memory():
        aekit.open_data(folder / "x.jsonl.gz")


@AREA.refused("a small .tar.gz that unpacks to more", "x.tar.gz: its unpacked content would take")
def _(folder: Path, listener: Listener) -> None:
    with tarfile.open(folder / "x.tar.gz", "w:gz", compresslevel=1) as archive:
        about = tarfile.TarInfo("0.png")
        about.size = LARGE
        archive.addfile(about, io.BytesIO(bytes(LARGE)))
    with little_memory():
        aekit.open_data(folder / "x.tar.gz")


@AREA.refused("a small Parquet file of many equal numbers", "its 30,000,000 rows would take 228.9 MiB")
def _(folder: Path, listener: Listener) -> None:
    pq.write_table(pa.table({"a": np.zeros(30_000_000)}), folder / "x.parquet", compression="zstd")
    assert (folder / "x.parquet").stat().st_size < 1_000_000
    with little_memory():
        aekit.open_data(folder / "x.parquet")


@AREA.refused("a small Parquet file of many equal long texts", "rows would take more memory")
def _(folder: Path, listener: Listener) -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), ["a" * 20_000])
    with pq.ParquetWriter(folder / "x.parquet", pa.schema([("a", words.type)]), store_schema=False) as writer:
        writer.write_table(pa.table({"a": words}))
    assert (folder / "x.parquet").stat().st_size < 100_000
    with little_memory():
        aekit.open_data(folder / "x.parquet")


@AREA.refused(
    "a small Parquet file with a text that unpacks to most of the memory", "1 rows would take 2 MiB each, unpacked"
)
def _(folder: Path, listener: Listener) -> None:
    text = "a" * (2 << 20)
    pq.write_table(
        pa.table({"a": [text], "b": [1.0]}), folder / "x.parquet", compression="brotli", use_dictionary=False
    )
    with mock.patch.object(_parquet_files, "MOST_PER_ROW", 1 << 20):
        aekit.open_data(folder / "x.parquet")


@AREA.refused("an HDF5 file of a large array that was never written", "an array of shape (1099511627776, 4) would take")
def _(folder: Path, listener: Listener) -> None:
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("x", (1 << 40, 4), np.float32, chunks=(1024, 4))
    aekit.open_data(folder / "x.h5")


@AREA.refused("an HDF5 file whose values are in another file", "its values are in other files, which are not opened")
def _(folder: Path, listener: Listener) -> None:
    import h5py

    (folder / "secret").write_bytes(bytes(64))
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("x", (4, 4), np.float32, external=str(folder / "secret"))
    aekit.open_data(folder / "x.h5")


@AREA.refused("a Zarr store of a large array that was never written", "an array of shape (1099511627776, 4) would take")
def _(folder: Path, listener: Listener) -> None:
    import zarr

    group = zarr.open_group(str(folder / "x.zarr"), mode="w")
    group.create_array("x", shape=(1 << 40, 4), chunks=(1024, 4), dtype=np.float32)
    aekit.open_data(folder / "x.zarr")


@AREA.refused("AEKIT_MEMORY that is no size", "AEKIT_MEMORY = 'plenty': expected a size such as 2GB, 512MiB or 1000000")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "x.npy", ROWS)
    with little_memory("plenty"):
        listener.command("fit", folder / "x.npy", "-o", folder / "run", "--dim", "2")


@AREA.right("AEKIT_MEMORY = 2GB, 512MiB, 1.5 GB or a number of bytes")
def _(folder: Path, listener: Listener) -> None:
    from aekit.io.memory import stated_memory

    for text, expected in {"2GB": 2 * 10**9, "512MiB": 2**29, "1.5 gb": 1_500_000_000, "1000000": 10**6}.items():
        with little_memory(text):
            assert stated_memory() == expected
    np.savez_compressed(folder / "x.npz", x=ROWS)
    with little_memory("0"):  # small files are always read
        assert np.array_equal(aekit.open_data(folder / "x.npz").read(np.arange(12))[0], ROWS)


# What is no file


@AREA.refused("a pipe that is named as a .npy file", "x.npy: is a pipe; expected a file")
def _(folder: Path, listener: Listener) -> None:
    os.mkfifo(folder / "x.npy")
    listener.command("data", folder / "x.npy")


@AREA.refused("a pipe that is named as a CSV, for recordings", "x.csv: is a pipe; expected a file")
def _(folder: Path, listener: Listener) -> None:
    os.mkfifo(folder / "x.csv")
    listener.command("data", f"recordings:{folder / 'x.csv'}")


@AREA.refused("a link to /dev/zero that is named as a WAV file", "x.wav: is a device; expected a file")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x.wav").symlink_to("/dev/zero")
    listener.command("data", folder / "x.wav")


@AREA.refused("a socket that is named as a .ts file", "x.ts: is a socket; expected a file")
def _(folder: Path, listener: Listener) -> None:
    with contextlib.chdir(folder), socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind("x.ts")
        listener.command("data", "x.ts")


@AREA.right("pipes and links to devices among images")
def _(folder: Path, listener: Listener) -> None:
    Image.new("L", (8, 8)).save(folder / "a.png")
    os.mkfifo(folder / "b.png")
    (folder / "c.png").symlink_to("/dev/zero")
    assert list(aekit.open_data(folder).ids) == ["a.png"]


@AREA.refused("labels that are a pipe", "y.npy: is a pipe")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "x.npy", ROWS)
    os.mkfifo(folder / "y.npy")
    aekit.open_data(folder / "x.npy")


@AREA.refused("a .npy file that shrinks while it is read", "has shrunk from 320,128 to 1,000 bytes while it was read")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "x.npy", np.ones((10_000, 4), np.float64))
    source = aekit.open_data(folder / "x.npy")
    os.truncate(folder / "x.npy", 1000)
    source.read(np.arange(10_000))


@AREA.refused("an EPS file that is named as an animated GIF", "not an animated image that Pillow reads")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x.gif").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(%pipe%touch x) (w) file\n")
    aekit.open_data(f"clips:{folder / 'x.gif'}")


@AREA.refused("a playlist that is named as a video", "not a video that PyAV reads")
def _(folder: Path, listener: Listener) -> None:
    (folder / "x.avi").write_text("#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/passwd\n")
    aekit.open_data(folder / "x.avi")


@AREA.refused("a video file that holds only sound", "no video stream")
def _(folder: Path, listener: Listener) -> None:
    import av

    with av.open(str(folder / "x.mkv"), "w") as container:
        track = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(track.encode(frame))
        container.mux(track.encode())
    aekit.open_data(folder / "x.mkv")


@AREA.refused("a file name with escape sequences and line breaks", r"red\x1b[31m\n.npy: not a NumPy file")
def _(folder: Path, listener: Listener) -> None:
    (folder / "red\x1b[31m\n.npy").write_text("text")
    aekit.open_data(folder / "red\x1b[31m\n.npy")


# Settings


@AREA.refused(
    "a recipe with an embedding of 10^12 dimensions", "encoder.dim = 1000000000000: expected less than or equal"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.fit(ROWS, dim=10**12)


@AREA.refused("a recipe with a seed of 2^64", "train.seed = 0x10000000000000000: expected a number below 2^63")
def _(folder: Path, listener: Listener) -> None:
    aekit.fit(ROWS, dim=2, overrides={"train.seed": 2**64})


@AREA.refused("a plugin's option of 2^64", "conv.channels = 0x10000000000000000: expected a number below 2^63")
def _(folder: Path, listener: Listener) -> None:
    aekit.fit(np.zeros((12, 8, 8), np.uint8), dim=2, overrides={"encoder.conv.channels": [2**64]})


@AREA.refused("a recipe of tables in tables in tables", "recipe.toml: is not TOML")
def _(folder: Path, listener: Listener) -> None:
    (folder / "recipe.toml").write_text("a = " + "[" * 50_000)
    listener.command("fit", folder / "recipe.toml", "-o", folder / "run")


@AREA.refused(
    "a regular expression that takes for ever", "takes more than 0.5 s; write it without repetitions inside of"
)
def _(folder: Path, listener: Listener) -> None:
    with mock.patch.object(id_groups, "MATCHING_SECONDS", 0.5):
        id_groups.groups_from_ids(["a" * 60 + "b"], "(a|aa)+$")


@AREA.refused(
    "a network that does not fit in memory", "out of memory: could not allocate 4,000,000,000,000 bytes; lower"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.fit(ROWS, dim=2, overrides={"encoder.hidden": [1_000_000, 1_000_000]}, backbone="linear")


@AREA.refused(
    "a network that does not fit in memory, on the command line",
    "out of memory: could not allocate 4,000,000,000,000 bytes;",
)
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "x.npy", ROWS)
    hidden = "encoder.hidden=[1000000,1000000]"
    listener.command(
        "fit", folder / "x.npy", "-o", folder / "run", "--dim", "2", "--backbone", "linear", "--set", hidden
    )
