"""Read folders of .npy and .npz files: one array, samples and labels of several splits, or one sample a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from aekit.data.readers._folder_layouts import find_layout
from aekit.data.readers._folder_walk import WRITTEN
from aekit.data.readers.folders import files_in, holds_no_other, natural_key, readable_ids
from aekit.data.readers.numpy_files import read_npy, read_npz
from aekit.data.readers.table_columns import Tabular
from aekit.errors import DataError

NUMPY_ENDINGS = (".npy", ".npz")
_TEXTS = ("hidden", "without an ending", ".txt", ".md", ".json", ".yaml", ".yml", ".csv", ".db", ".pdf", ".html")
"""Endings of files that may describe arrays."""
_SAMPLES = {"x", "xs", "data", "images", "image", "imgs", "img", "features", "samples", "inputs", "frames", "vectors"}
_LABELS = {"y", "ys", "labels", "label", "lbls", "targets", "target", "classes"}
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
_SHARDS = {"part", "parts", "shard", "chunk", "batch", "of"}

Role = Literal["samples", "labels", ""]


class _Name(NamedTuple):
    """What the name of a file says: the data set, the split and what it holds."""

    base: str
    split: str
    role: Role


def holds_arrays(folder: Path) -> bool:
    """Return whether a folder holds .npy or .npz files, and no other data."""
    return holds_no_other(folder, NUMPY_ENDINGS, lambda reason: reason not in (*_TEXTS, WRITTEN))


def find_labels_beside(path: Path) -> Path | None:
    """Return the file of labels of a file of samples, such as ``kmnist-train-labels.npz`` or ``y.npy``; None if absent."""
    name = _parse(Path(path.name))
    if name.role != "samples":
        return None
    others = [
        other
        for other in sorted(path.parent.iterdir())
        if other.suffix.lower() in NUMPY_ENDINGS and other.name[0] != "."
    ]
    labels = [other for other in others if _parse(Path(other.name)) == name._replace(role="labels")]
    return labels[0] if len(labels) == 1 else None


def read_labels_file(path: Path) -> np.ndarray:
    """Read labels (N,) from a .npy file, or from the only array of an .npz file."""
    values = np.array(read_npy(path) if path.suffix.lower() == ".npy" else read_npz(path, y="none")[0])
    return values.reshape(len(values)) if values.ndim and values.size == len(values) else values


def read_numpy_folder(folder: Path, x: str = "auto", y: str = "auto") -> Tabular:
    """Read the arrays of a folder.

    Args:
        folder: a folder of .npy and .npz files.
        x: array of samples in each .npz, as in `aekit.data.readers.numpy_files.read_npz`.
        y: likewise for the labels; ``none``: no labels.

    Raises:
        DataError: there are several data sets, or arrays of different shapes.
    """
    files = sorted((path.relative_to(folder) for path in files_in(folder, NUMPY_ENDINGS)), key=natural_key)
    if len(files) == 1:
        return _read(folder / files[0], x, y)
    names = {path: _parse(path) for path in files}
    samples = {path: name for path, name in names.items() if name.role == "samples"}
    if not samples and len({(name.base, name.split) for name in names.values()}) == len(files):
        samples = {path: name for path, name in names.items() if not name.role and name.split}
    if samples and (len(samples) > 1 or any(name.role == "labels" for name in names.values())):
        bases = sorted({name.base for name in samples.values()})
        if len(bases) == 1 and len({name.split for name in samples.values()}) == len(samples):
            return _read_splits(folder, names, samples, x, y)
        if len(bases) > 1 and all(name.role for name in names.values()):
            raise DataError(f"{folder}: holds {len(bases)} data sets ({', '.join(bases)}); choose a file of one")
    return _read_samples(folder, files, x)


def _parse(path: Path) -> _Name:
    words = re.findall(r"[a-z]+|\d+", "/".join([*path.parent.parts, path.stem]).lower().replace("t10k", "test"))
    split, role, base = "", "", []
    for word in words:
        joined = re.fullmatch(r"([xy])(train|test|val|valid|validation)|(train|test|val)([xy])", word)
        if joined:
            letter, part = (joined[1], joined[2]) if joined[1] else (joined[4], joined[3])
            split, role = _SPLITS[part], "samples" if letter == "x" else "labels"
        elif word in _SPLITS:
            split = _SPLITS[word]
        elif word in _SAMPLES:
            role = "samples"
        elif word in _LABELS:
            role = "labels"
        else:
            base.append(word)
    return _Name(" ".join(base), split, role)  # type: ignore[arg-type]


def _read(path: Path, x: str, y: str) -> Tabular:
    if path.suffix.lower() == ".npy":
        return Tabular(read_npy(path), note=f"read from {path.name}")
    array, labels, splits, note = read_npz(path, x, y)
    return Tabular(array, labels=labels, splits=splits, note="; ".join(filter(None, [f"read from {path.name}", note])))


def _read_splits(folder: Path, names: dict[Path, _Name], samples: dict[Path, _Name], x: str, y: str) -> Tabular:
    """Read a file of samples for each split, with files of labels."""
    order = ["train", "validation", "test", ""]
    ordered = sorted(samples, key=lambda path: order.index(samples[path].split))
    arrays, labels, used = [], [], []
    for path in ordered:
        read = _read(folder / path, x, y)
        values = read.labels
        beside = [other for other, name in names.items() if name == samples[path]._replace(role="labels")]
        if beside and values is None and y != "none":
            values = read_labels_file(folder / beside[0])
            if values.ndim == 0 or len(values) != len(read.array):
                count = len(values) if values.ndim else 1
                raise DataError(
                    f"{folder / beside[0]}: {count} labels for the {len(read.array)} samples of {path.name}"
                )
            used.append(beside[0])
        arrays.append(read.array)
        labels.append(values)
        if arrays[0].shape[1:] != read.array.shape[1:]:
            raise DataError(
                f"{folder}: {path.name} is of shape {read.array.shape}, {ordered[0].name} of {arrays[0].shape}"
            )
    labeled = [values for values in labels if values is not None]
    note = f"read together: {', '.join(path.as_posix() for path in [*ordered, *used])}"
    if 0 < len(labeled) < len(labels):
        note += f"; only {len(labeled)} of {len(labels)} splits have labels, so that none are used"
    splits = [samples[path].split for path in ordered]
    return Tabular(
        arrays[0] if len(arrays) == 1 else np.concatenate(arrays),
        labels=np.concatenate(labeled) if len(labeled) == len(labels) else None,
        splits=np.repeat(splits, [len(array) for array in arrays]) if all(splits) else None,
        note=note,
    )


def _read_samples(folder: Path, files: list[Path], x: str) -> Tabular:
    """Read a folder where each file is a sample, or a part of the samples."""
    layout = find_layout(files, "arrays", masks=True)
    files = [files[row] for row in layout.kept]
    arrays = [np.asarray(_read(folder / path, x, "none").array) for path in files]
    if all(_SHARDS & set(re.findall("[a-z]+", path.stem.lower())) for path in files):
        if len({array.shape[1:] for array in arrays}) > 1:
            raise DataError(
                f"{folder}: the parts differ in shape: {', '.join(str(array.shape) for array in arrays[:3])} ..."
            )
        return Tabular(np.concatenate(arrays), splits=None, note=f"{len(files)} files are parts of one array")
    for path, array in zip(files, arrays):
        if array.shape != arrays[0].shape:
            raise DataError(
                f"{folder}: {path.name} is of shape {array.shape}, {files[0].name} of {arrays[0].shape}; expected samples of "
                f"one shape, or recordings:{folder} for series of different lengths"
            )
    ids, renamed = readable_ids(files)
    note = f"each of {len(files)} files is a sample of shape {arrays[0].shape}" + (f"; {renamed}" if renamed else "")
    return Tabular(np.stack(arrays), labels=layout.labels, ids=ids, splits=layout.splits, note=note)
