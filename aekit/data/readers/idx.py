"""Read IDX files, the format of MNIST: a magic number, big-endian sizes, then raw values."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np

from aekit.data.reading import read_all, reading
from aekit.data.source import ArraySource
from aekit.errors import DataError
from aekit.io.memory import check_memory

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_AXES = 32
"""Most axes of an array."""
_SPLITS = {"train": "train", "t10k": "test", "test": "test"}


def read_idx(path: Path) -> np.ndarray:
    """Read the array of an IDX file, gzipped or not.

    Raises:
        DataError: it is not an IDX file, or its size does not match its header.
    """
    with reading(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES:
            other = "; unpack it first if it is something else" if path.suffix == ".gz" else ""
            raise DataError(f"{path}: not an IDX file; it begins with {head.hex() or 'nothing'}{other}")
        sizes = file.read(4 * head[3])
        shape, dtype = tuple(int(n) for n in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4")), _DTYPES[head[2]]
        expected = math.prod(shape) * np.dtype(dtype).itemsize
        if len(shape) != head[3] or len(shape) > _AXES:
            problem = f"expected at most {_AXES}" if head[3] > _AXES else f"{len(shape)} sizes follow"
            raise DataError(f"{path}: not an IDX file; its header says {head[3]} axes, {problem}")
        if path.suffix == ".gz":
            check_memory(expected, f"{path}: its unpacked array of shape {shape}")
            # One byte more than expected detects longer files, and limits the memory that a wrong header can cost.
            raw = read_all(file, path, expected + 1)
            size = len(raw)
        else:
            size = path.stat().st_size - file.tell()
            raw = read_all(file, path, expected) if size == expected else b""
        if size != expected:
            has = f"{size} bytes" if size < expected else "more"
            raise DataError(f"{path}: its header says {expected} bytes of shape {shape}, the file has {has}")
        return np.frombuffer(raw, dtype).reshape(shape).astype(np.dtype(dtype).newbyteorder("="), copy=False)


def find_labels_file(path: Path) -> Path | None:
    """Return the file of labels of a file of images, such as ``train-labels-idx1-ubyte``, gzipped or not; None if absent."""
    name = path.name.removesuffix(".gz")
    stem = name.replace("images", "labels").replace("idx3", "idx1")
    if stem != name:
        for candidate in (path.with_name(stem + ".gz"), path.with_name(stem)):
            if candidate.is_file():
                return candidate
    return None


def find_image_files(folder: Path) -> dict[str, Path]:
    """Return the files of images in a folder of MNIST's layout, by split; empty if there are none."""
    files: dict[str, Path] = {}
    for prefix, split in _SPLITS.items():
        for name in (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-images-idx3-ubyte"):
            if (folder / name).is_file():
                files[split] = folder / name
    return files


def read_mnist_folder(folder: Path, classes: list[str] | None = None) -> ArraySource:
    """Read gray images (N, 1, H, W) uint8 of a folder of MNIST's layout, train and test together, with splits and labels.

    Args:
        folder: folder of ``train-images-idx3-ubyte``, ``t10k-images-idx3-ubyte`` and their labels, each gzipped or not.
        classes: names of the labels 0, 1, ...; None: the labels stay numbers.

    Raises:
        DataError: there are no such files, they are damaged, or the number of labels does not match.
    """
    files = find_image_files(folder)
    if not files:
        raise DataError(f"{folder}: no IDX files; looked for train-images-idx3-ubyte(.gz)")
    images, labels = [], []
    for path in files.values():
        images.append(read_idx(path))
        labels_path = find_labels_file(path)
        if labels_path:
            labels.append(read_idx(labels_path))
            if len(labels[-1]) != len(images[-1]):
                counts = f"{len(labels[-1])} labels for the {len(images[-1])} samples"
                raise DataError(f"{labels_path}: {counts} of {path.name}")
    all_labels = np.concatenate(labels).astype(np.int64) if len(labels) == len(images) else None
    if all_labels is not None and classes and all_labels.max(initial=0) < len(classes):
        all_labels = np.array(classes)[all_labels]
    splits = np.repeat(list(files), [len(part) for part in images])
    return ArraySource(np.concatenate(images)[:, None], kind="image", labels=all_labels, splits=splits)
