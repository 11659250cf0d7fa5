"""Write small data sets in common file formats, to test sources with."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

COUNT, WIDTH, SIDE = 12, 5, 8


def write_array(folder: Path) -> Path:
    """Write (12, 5) float32 to a .npy file."""
    np.save(folder / "samples.npy", _numbers())
    return folder / "samples.npy"


def write_archive(folder: Path) -> Path:
    """Write (12, 5) float32 and 12 labels to an .npz file."""
    np.savez(folder / "samples.npz", X=_numbers(), y=_classes())
    return folder / "samples.npz"


def write_table(folder: Path) -> Path:
    """Write ids, five columns of numbers and a column of labels to a .csv file."""
    lines = ["id," + ",".join(f"x{column}" for column in range(WIDTH)) + ",label"]
    for row, (numbers, label) in enumerate(zip(_numbers(), _classes())):
        lines.append(f"row-{row}," + ",".join(f"{number:.4f}" for number in numbers) + f",{label}")
    (folder / "samples.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "samples.csv"


def write_parquet(folder: Path) -> Path:
    """Write five columns of numbers and a column of labels to a .parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {f"x{column}": numbers for column, numbers in enumerate(_numbers().T)}
    pq.write_table(pa.table({**columns, "label": _classes().astype(str)}), folder / "samples.parquet")
    return folder / "samples.parquet"


def images(folder: Path) -> Path:
    """Write gray images to one folder per class, one of them damaged."""
    root = folder / "images"
    for row, (pixels, label) in enumerate(zip(_pixels(), _classes())):
        _write_image(root / f"class-{label}" / f"{row}.png", pixels)
    (root / "class-0" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    return root


def image_list(folder: Path) -> Path:
    """Write a .csv file with the paths, classes and splits of images."""
    lines = ["path,class,split"]
    for row, (pixels, label) in enumerate(zip(_pixels(), _classes())):
        _write_image(folder / "listed" / f"{row}.png", pixels)
        lines.append(f"listed/{row}.png,class-{label},{'test' if row % 3 == 0 else 'train'}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "list.csv"


def encoded_images() -> list[bytes]:
    """Return 12 gray images as the content of .png files."""
    from PIL import Image

    contents = []
    for pixels in _pixels():
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "png")
        contents.append(stream.getvalue())
    return contents


def image_table() -> pa.Table:
    """Return encoded images as Hugging Face data sets have them, with labels."""
    import pyarrow as pa

    images = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(encoded_images())]
    return pa.table({"image": images, "label": [f"class-{label}" for label in _classes()]})


def write_mnist(folder: Path) -> Path:
    """Write a folder ``MNIST/raw`` of MNIST's layout: IDX files of images and labels, of two splits."""
    root = folder / "MNIST" / "raw"
    root.mkdir(parents=True)
    for split, rows in {"train": slice(0, 8), "t10k": slice(8, None)}.items():
        pixels, labels = _pixels()[rows], _classes()[rows]
        sizes = np.asarray(pixels.shape, ">u4").tobytes()
        (root / f"{split}-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + sizes + pixels.tobytes())
        sizes = np.asarray(labels.shape, ">u4").tobytes()
        (root / f"{split}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + sizes + labels.astype("u1").tobytes())
    return root


def write_series(folder: Path) -> Path:
    """Write ``Waves/Waves_TRAIN.ts`` and ``Waves_TEST.ts``: series of two channels and 12 to 15 steps, one of them damaged."""
    root = folder / "Waves"
    root.mkdir()
    header = "# waves\n@problemName Waves\n@univariate false\n@dimensions 2\n@equalLength false\n@classLabel true a b c\n@data\n"
    lines = []
    for row, (phase, label) in enumerate(zip(_numbers()[:, 0], _classes())):
        steps = np.arange(12 + row % 4)
        channels = [",".join(f"{value:.4f}" for value in wave(steps + phase)) for wave in (np.sin, np.cos)]
        lines.append(":".join([*channels, "abc"[label]]))
    lines[-1] = "0.5,half:0.1,0.2:a"
    (root / "Waves_TRAIN.ts").write_text(header + "\n".join(lines[:8]), "utf-8")
    (root / "Waves_TEST.ts").write_text(header + "\n".join(lines[8:]), "utf-8")
    return root


def video(folder: Path) -> Path:
    """Write 24 gray frames of 8 x 8, in which a bright square moves, to an .npz file."""
    frames = np.zeros((2 * COUNT, SIDE, SIDE), np.uint8)
    for number, frame in enumerate(frames):
        frame[number % 6 : number % 6 + 3, number // 4 : number // 4 + 3] = 100 + 5 * number
    np.savez(folder / "video.npz", frames=frames)
    return folder / "video.npz"


def write_recording(folder: Path) -> Path:
    """Write 40 steps of two channels and a label to a .csv file."""
    steps = [f"{t},{np.sin(t):.4f},{np.cos(t / 2):.4f},{'ab'[t // 10 % 2]}" for t in range(40)]
    lines = ["time,left,right,label", *steps]
    (folder / "recording.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "recording.csv"


MAKERS: dict[str, list[Callable[[Path], Path]]] = {
    "folder": [images, write_mnist],
    ".npy": [write_array],
    ".npz": [write_archive],
    ".csv": [write_table, image_list],
    ".parquet": [write_parquet],
}
"""Tag of a source's entry -> functions that write data that such a source may be able to read."""


def _numbers() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((COUNT, WIDTH)).astype(np.float32)


def _pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE), np.uint8)


def _classes() -> np.ndarray:
    return np.arange(COUNT) % 3


def _write_image(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
