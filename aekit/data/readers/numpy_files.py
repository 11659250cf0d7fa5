"""Read .npy and .npz files, without unpickling, and find their arrays of samples, labels and splits."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from aekit.errors import DataError, closest_name

SAMPLE_NAMES = ("x", "data", "images", "imgs", "frames", "features", "samples", "arr_0")
LABEL_NAMES = ("y", "labels", "label", "targets", "target")
_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_SPLIT_SAMPLES = ("x_{}", "{}_x", "{}_images", "images_{}", "{}_data", "data_{}")
_SPLIT_LABELS = ("y_{}", "{}_y", "{}_labels", "labels_{}", "{}_targets", "targets_{}")
_Parts = list[tuple[str, str, str | None]]
"""For each split: its name, the array of its samples, and the array of its labels."""


def read_npy(path: Path) -> np.ndarray:
    """Read the array of a .npy file, memory-mapped, or of a .npy.gz file, in memory.

    Raises:
        DataError: it is damaged, not a .npy file, or an array of Python objects.
    """
    with _numpy_reads(path):
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                raw = file.read()
            _check_magic(path, raw[:6])
            return np.load(io.BytesIO(raw), allow_pickle=False)
        with path.open("rb") as file:
            _check_magic(path, file.read(6))
        return np.load(path, mmap_mode="r", allow_pickle=False)


def read_npz(
    path: Path, x: str = "auto", y: str = "auto"
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, str]:
    """Read the samples of an .npz file.

    Args:
        path: the file.
        x: name of the array of samples; ``auto``: common names (X, data, images, x_train with x_test, arr_0, ...).
        y: name of the array of labels; ``auto``: common names (y, labels, y_train with y_test, ...); ``none``: no labels.

    Returns:
        samples (N, ...); labels (N,) or None; splits (N,) or None; a note on arrays that are not used, or "".

    Raises:
        DataError: the file is damaged or holds Python objects, an array is missing, or the number of labels does not match.
    """
    with _numpy_reads(path), path.open("rb") as file:
        _check_magic(path, file.read(6))
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return join_arrays(path, archive, x, y)


def join_arrays(
    path: Path | str, named: Mapping[str, np.ndarray], x: str = "auto", y: str = "auto"
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, str]:
    """Choose the samples and labels among arrays with names, and join those of several splits.

    Args:
        path: where they come from, for messages.
        named: name -> array, or something that reads the array when it is asked for.
        x: as in `read_npz`.
        y: as in `read_npz`.

    Returns:
        as `read_npz`.

    Raises:
        DataError: an array is missing, or the number of labels does not match.
    """
    parts = _parts(path, list(named), x, y)
    arrays = [named[name] for _, name, _ in parts]
    labels = [named[name] for _, _, name in parts if name]
    for array, (_, name, _) in zip(arrays, parts):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(f"{path}: {name} is of shape {array.shape}, {parts[0][1]} of {arrays[0].shape}")
    note = ""
    if 0 < len(labels) < len(parts):
        labels, note = [], f"only {len(labels)} of {len(parts)} splits have labels, so that none are used"
    for array, values, (_, name, label) in zip(arrays, labels, parts):
        if values.ndim == 0 or len(values) != len(array):
            count = len(values) if values.ndim else 1
            raise DataError(f"{path}: {label} has {count} labels for the {len(array)} samples of {name}")
    splits = np.repeat([split for split, _, _ in parts], [len(array) for array in arrays]) if parts[0][0] else None
    all_labels = np.concatenate(labels) if labels else None
    if all_labels is not None and all_labels.dtype.kind == "S":
        all_labels = all_labels.astype(str)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays), all_labels, splits, note


def _parts(path: Path | str, names: list[str], x: str, y: str) -> _Parts:
    known = {name.lower(): name for name in reversed(names)}
    for name in (x, y):
        if name not in ("auto", "none", *names):
            raise DataError(f"{path}: no array {name!r}{closest_name(name, names)}")
    if x == "auto" and y in ("auto", "none"):
        parts: _Parts = []
        for spelling, split in _SPLITS.items():
            samples = _first(known, [form.format(spelling) for form in _SPLIT_SAMPLES])
            if samples:
                labels = _first(known, [form.format(spelling) for form in _SPLIT_LABELS]) if y == "auto" else None
                parts.append((split, samples, labels))
        if parts:
            return parts
    samples = _first(known, SAMPLE_NAMES) or (names[0] if len(names) == 1 else None) if x == "auto" else x
    if samples is None:
        content, expected = ", ".join(names) or "nothing", ", ".join(("X", *SAMPLE_NAMES[1:]))
        raise DataError(f"{path}: holds {content}; expected one of {expected}, or choose an array by x")
    if samples == "arr_0" and y == "auto" and names == ["arr_0", "arr_1"]:
        return [("", samples, "arr_1")]  # as numpy names samples and labels
    return [("", samples, _first(known, LABEL_NAMES) if y == "auto" else None if y == "none" else y)]


def _first(known: dict[str, str], candidates: list[str] | tuple[str, ...]) -> str | None:
    return next((known[name] for name in candidates if name in known), None)


def _check_magic(path: Path, head: bytes) -> None:
    # Before np.load, which reports every unknown file as a pickle.
    if not head.startswith((b"\x93NUMPY", b"PK")):
        raise DataError(f"{path}: not a NumPy file; it begins with {head.hex() or 'nothing'}")


@contextmanager
def _numpy_reads(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if "pickle" in reason or "Python objects" in reason:
            reason = "it holds Python objects, which are never loaded; save numbers, all rows of one shape"
            raise DataError(f"{path}: {reason}") from None
        raise DataError(f"{path}: damaged ({reason})") from None
