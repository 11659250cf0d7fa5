"""NumPy's files, .npy and .npz, without ever unpickling: which arrays are samples, which labels, which splits."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from aekit.errors import DataError, closest_name

_SAMPLES = ("x", "data", "images", "frames", "features", "samples", "arr_0")
_LABELS = ("y", "labels", "label", "targets", "target")
_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_SPLIT_SAMPLES = ("x_{}", "{}_x", "{}_images", "images_{}", "{}_data", "data_{}")
_SPLIT_LABELS = ("y_{}", "{}_y", "{}_labels", "labels_{}", "{}_targets", "targets_{}")
_Parts = list[tuple[str, str, str | None]]
"""Split, name of its samples, name of its labels."""


def read_npy(path: Path) -> np.ndarray:
    """The array in a .npy file, memory-mapped, or in a .npy.gz file, in memory.

    Raises:
        DataError: it is damaged, no .npy file, or an array of Python objects.
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
    """The samples in an .npz file.

    Args:
        path: the file.
        x: name of the array of samples; ``auto``: the usual names (X, data, images, x_train with x_test, arr_0, ...).
        y: name of the array of labels; ``auto``: the usual names (y, labels, y_train with y_test, ...), ``none``: none.

    Returns:
        samples (N, ...); labels (N,) or None; splits (N,) or None; a note on what is left out, or "".

    Raises:
        DataError: damaged, no array of a usual or the given name, Python objects, or labels that do not match.
    """
    with _numpy_reads(path), path.open("rb") as file:
        _check_magic(path, file.read(6))
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            parts = _parts(path, archive.files, x, y)
            arrays = [archive[name] for _, name, _ in parts]
            labels = [archive[name] for _, _, name in parts if name]
    for array, (_, name, _) in zip(arrays, parts):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(f"{path}: {name} is of shape {array.shape}, {parts[0][1]} of {arrays[0].shape}")
    note = ""
    if 0 < len(labels) < len(parts):
        labels, note = [], f"only {len(labels)} of {len(parts)} splits have labels: none are used"
    for array, found, (_, name, label) in zip(arrays, labels, parts):
        if found.ndim == 0 or len(found) != len(array):
            count = len(found) if found.ndim else 1
            raise DataError(f"{path}: {label} has {count} labels for the {len(array)} samples of {name}")
    splits = np.repeat([split for split, _, _ in parts], [len(array) for array in arrays]) if parts[0][0] else None
    together = np.concatenate(labels) if labels else None
    if together is not None and together.dtype.kind == "S":
        together = together.astype(str)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays), together, splits, note


def _parts(path: Path, names: list[str], x: str, y: str) -> _Parts:
    known = {name.lower(): name for name in reversed(names)}
    for wanted in (x, y):
        if wanted not in ("auto", "none", *names):
            raise DataError(f"{path}: no array {wanted!r}{closest_name(wanted, names)}")
    if x == "auto" and y in ("auto", "none"):
        parts: _Parts = []
        for spelt, split in _SPLITS.items():
            samples = _first(known, [form.format(spelt) for form in _SPLIT_SAMPLES])
            if samples:
                labels = _first(known, [form.format(spelt) for form in _SPLIT_LABELS]) if y == "auto" else None
                parts.append((split, samples, labels))
        if parts:
            return parts
    samples = _first(known, _SAMPLES) or (names[0] if len(names) == 1 else None) if x == "auto" else x
    if samples is None:
        there, usual = ", ".join(names) or "nothing", ", ".join(("X", *_SAMPLES[1:]))
        raise DataError(f"{path}: holds {there}, none of a usual name ({usual}); x chooses one")
    return [("", samples, _first(known, _LABELS) if y == "auto" else None if y == "none" else y)]


def _first(known: dict[str, str], wanted: list[str] | tuple[str, ...]) -> str | None:
    return next((known[name] for name in wanted if name in known), None)


def _check_magic(path: Path, head: bytes) -> None:
    # Before np.load, which takes anything that it does not know for a pickle and says so.
    if not head.startswith((b"\x93NUMPY", b"PK")):
        raise DataError(f"{path}: not a NumPy file: it begins with {head.hex() or 'nothing'}")


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
