"""Read the binary version of CIFAR-10 and CIFAR-100: records of one or two labels and the 3,072 values of a color image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aekit.data.reading import read_all, reading
from aekit.data.source import ArraySource
from aekit.errors import DataError

_SHAPE, _VALUES = (3, 32, 32), 3072
_NAMES = ("batches.meta.txt", "fine_label_names.txt")


def find_cifar_files(folder: Path) -> dict[Path, str]:
    """Return the files of records in a folder, and the split of each; empty if there are none."""
    batches = sorted(folder.glob("data_batch_[0-9].bin"))
    if batches:
        return dict.fromkeys(batches, "train") | _present({folder / "test_batch.bin": "test"})
    records = _present({folder / "train.bin": "train", folder / "test.bin": "test"})
    return records if records and (folder / _NAMES[1]).is_file() else {}


def _present(files: dict[Path, str]) -> dict[Path, str]:
    return {path: split for path, split in files.items() if path.is_file()}


def read_cifar_folder(folder: Path) -> ArraySource:
    """Read color images (N, 3, 32, 32) uint8 with splits, and labels: names from the file of names, or else numbers.

    Args:
        folder: folder of ``data_batch_1.bin`` and ``test_batch.bin``, or of CIFAR-100's ``train.bin`` and ``test.bin``, whose
            fine labels are used.

    Raises:
        DataError: there are no such files, or one is not of whole records with labels below 10, or 100.
    """
    files = find_cifar_files(folder)
    if not files:
        raise DataError(f"{folder}: no files of CIFAR; looked for data_batch_1.bin")
    classes, label_bytes = (10, 1) if next(iter(files)).name.startswith("data_batch") else (100, 2)
    parts = [_read_records(path, label_bytes, classes) for path in files]
    records = np.concatenate(parts)
    labels = records[:, label_bytes - 1].astype(np.int64)
    names = _class_names(folder)
    return ArraySource(
        records[:, label_bytes:].reshape(-1, *_SHAPE),
        kind="image",
        labels=np.array(names)[labels] if len(names) == classes else labels,
        splits=np.repeat(list(files.values()), list(map(len, parts))),
    )


def _read_records(path: Path, label_bytes: int, classes: int) -> np.ndarray:
    """Return the records (N, labels and values) of a file."""
    width = label_bytes + _VALUES
    with reading(path), path.open("rb") as file:
        size = path.stat().st_size
        if not size or size % width:
            raise DataError(f"{path}: {size:,} bytes: expected a multiple of {width:,}, as a record of CIFAR has")
        records = np.frombuffer(read_all(file, path, size), np.uint8).reshape(-1, width)
    if (highest := records[:, label_bytes - 1].max()) >= classes:
        raise DataError(f"{path}: label {highest}: expected 0 to {classes - 1}, as CIFAR has them")
    return records


def _class_names(folder: Path) -> list[str]:
    for path in (folder / name for name in _NAMES):
        if path.is_file():
            with reading(path):
                return path.read_text("utf-8").split()
    return []
