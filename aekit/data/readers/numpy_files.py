"""Read .npy and .npz files, without unpickling, and find their arrays of samples, labels and splits."""

from __future__ import annotations

import errno
import gzip
import io
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from aekit.data._arrays import densify
from aekit.data.readers.tables import splits_of
from aekit.data.reading import ByteStream, read_all, reading
from aekit.errors import DataError, closest_name
from aekit.io.memory import check_memory

SAMPLE_NAMES = ("x", "data", "images", "imgs", "frames", "features", "samples", "fea", "arr_0")
LABEL_NAMES = ("y", "labels", "label", "targets", "target", "gnd")
_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_SPLIT_SAMPLES = ("x_{}", "{}_x", "{}_images", "images_{}", "{}_data", "data_{}", "{}_set_x")
_SPLIT_LABELS = ("y_{}", "{}_y", "{}_labels", "labels_{}", "{}_targets", "targets_{}", "{}_set_y")
_SPLIT_NAMES = ("split", "splits", "subset", "partition")
_NPY = b"\x93NUMPY"
"""What a .npy file begins with."""
_NO_MAPS = {errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP}
"""What file systems say that cannot map files into memory, as some of FUSE."""
_SPARSE_PARTS = {"format", "shape", "data"}
"""Arrays of the files of `scipy.sparse.save_npz`, among others."""
_Parts = list[tuple[str, str, str | None]]
"""For each split: its name, the array of its samples, and the array of its labels."""


def read_npy(path: Path) -> np.ndarray:
    """Read the array of a .npy file, memory-mapped where the file system can, or of a .npy.gz file, in memory.

    Raises:
        DataError: it is damaged, not a .npy file, or an array of Python objects.
    """
    with reading(path):
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                head = file.read(6)
                _check_magic(path, head)
                return array_of(head, file, f"{path}: its array")
        with path.open("rb") as file:
            head = file.read(6)
            _check_magic(path, head)
            if not head.startswith(_NPY):
                raise DataError(f"{path}: damaged (an archive, whose name should end in .npz)")
            shape, _, dtype = _header_of(head, file, str(path))
        if math.prod(shape) * dtype.itemsize > path.stat().st_size:
            raise DataError(f"{path}: damaged (its header says {dtype} of shape {shape}, more than the file has)")
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            if error.errno not in _NO_MAPS:
                raise
        check_memory(math.prod(shape) * dtype.itemsize, f"{path}, which its file system cannot map into memory")
        return np.load(path, allow_pickle=False)


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
    with reading(path), path.open("rb") as file:
        head = file.read(6)
        _check_magic(path, head)
        if not head.startswith(b"PK"):
            raise DataError(f"{path}: damaged (a single array, not an archive of arrays; its name should end in .npy)")
        with zipfile.ZipFile(file) as archive:
            named = _Archive(path, archive)
            if x == "auto" and set(named) >= _SPARSE_PARTS:
                samples, note = densify(_sparse(path, named), str(path))
                return samples, None, None, note
            chosen = _only_samples(named) if x == "auto" else None
            samples, labels, splits, note = join_arrays(path, named, chosen or x, y)
            notes = [f"samples are the array {chosen!r}" if chosen else "", note]
            if unused := [name for name in named if name not in named.used]:
                notes.append(f"arrays not used: {', '.join(unused[:10])}")
            return samples, labels, splits, "; ".join(filter(None, notes))


def _sparse(path: Path, named: Mapping[str, np.ndarray]) -> Any:
    """Return the matrix that `scipy.sparse.save_npz` wrote."""
    import scipy.sparse

    kind = named["format"].item()
    form, shape = (kind.decode() if isinstance(kind, bytes) else str(kind)), tuple(named["shape"].tolist())
    if form in ("csr", "csc", "bsr") and {"indices", "indptr"} <= set(named):
        parts = named["data"], named["indices"], named["indptr"]
        matrix = getattr(scipy.sparse, f"{form}_matrix")(parts, shape=shape)
        matrix.check_format()
        return matrix
    if form == "coo" and {"row", "col"} <= set(named):
        return scipy.sparse.coo_matrix((named["data"], (named["row"], named["col"])), shape=shape)
    raise DataError(f"{path}: a sparse matrix of format {form!r}; save it as csr")


def _only_samples(named: _Archive) -> str | None:
    """Return the only array that can be the samples, where none has a usual name."""
    known = {name.lower() for name in named}
    usual = {*SAMPLE_NAMES, *(form.format(split) for split in _SPLITS for form in _SPLIT_SAMPLES)}
    if len(known) < 2 or known & usual:
        return None
    candidates = [name for name in named if name.lower() not in LABEL_NAMES and named.axes(name) > 1]
    return candidates[0] if len(candidates) == 1 else None


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
    if parts[0][0]:
        splits: np.ndarray | None = np.repeat([split for split, _, _ in parts], [len(array) for array in arrays])
    else:
        splits, about = _splits_beside(named, len(arrays[0]))
        note = "; ".join(filter(None, [note, about]))
    # np.concatenate loses masks.
    join = np.ma.concatenate if any(isinstance(a, np.ma.MaskedArray) for a in [*arrays, *labels]) else np.concatenate
    all_labels = join(labels) if labels else None
    if all_labels is not None and all_labels.dtype.kind == "S":
        all_labels = all_labels.astype(str)
    if all_labels is not None and _is_one_hot(all_labels):
        count, all_labels = all_labels.shape[1], all_labels.argmax(axis=1)
        note = "; ".join(filter(None, [note, f"one-hot labels are read as classes 0 to {count - 1}"]))
    return arrays[0] if len(arrays) == 1 else join(arrays), all_labels, splits, note


def _splits_beside(named: Mapping[str, np.ndarray], count: int) -> tuple[np.ndarray | None, str]:
    """Return the splits (N,) in an array of names such as ``train`` and ``val``, if there is one, and a note on it."""
    name = _first({name.lower(): name for name in reversed(list(named))}, _SPLIT_NAMES)
    if name is None:
        return None, ""
    values = named[name]
    if values.shape == (count,) and values.dtype.kind in "US":
        with suppress(DataError):
            return splits_of(values.astype(str), name), f"the array {name!r} holds the splits"
    return None, f"array {name!r} not used: expected {count:,} names of splits, such as train and test"


def _is_one_hot(labels: np.ndarray) -> bool:
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "uifb":
        return False
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


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
    # X_a and y_a, train_set_x and train_set_y
    beside = re.sub(r"(^|_)x(_|$)", r"\1y\2", samples.lower())
    usual = _first(known, (*LABEL_NAMES, *([beside] if beside != samples.lower() else [])))
    return [("", samples, usual if y == "auto" else None if y == "none" else y)]


def _first(known: dict[str, str], candidates: list[str] | tuple[str, ...]) -> str | None:
    return next((known[name] for name in candidates if name in known), None)


def _check_magic(path: Path, head: bytes) -> None:
    # Before np.load, which reports every unknown file as a pickle.
    if not head.startswith((_NPY, b"PK")):
        raise DataError(f"{path}: not a NumPy file; it begins with {head.hex() or 'nothing'}")


class _Archive(Mapping[str, np.ndarray]):
    """The arrays of an .npz file, of which each is unpacked when it is asked for, after a look at its size."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive, self._unpacked = path, archive, 0
        self.used: list[str] = []
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def axes(self, name: str) -> int:
        """Return the number of axes of an array; 0 if it holds Python objects."""
        with self._archive.open(self._members[name]) as member:
            try:
                return len(_header_of(member.read(6), member, f"{self._path}: array {name!r}")[0])
            except DataError:
                return 0

    def __getitem__(self, name: str) -> np.ndarray:
        info, place = self._members[name], f"{self._path}: array {name!r}"
        self.used.append(name)
        self._unpacked += info.file_size
        check_memory(self._unpacked, f"{place}, unpacked,")
        with self._archive.open(info) as member:
            head = member.read(6)
            if not head.startswith(_NPY):
                raise DataError(f"{place}: not an array in NumPy's format; it begins with {head.hex() or 'nothing'}")
            return array_of(head, member, place, info.file_size)


def array_of(head: bytes, stream: ByteStream, place: str, size: int | None = None) -> np.ndarray:
    """Read the array of a .npy file from a stream of its unpacked bytes, after a look at its size.

    Args:
        head: the first 6 bytes, which have been read.
        stream: the following ones.
        place: what it is, for messages.
        size: bytes of the whole file; None: unknown.

    Raises:
        DataError: it would not fit in memory, has other than `size` bytes, or holds Python objects.
        ValueError: it is damaged.
    """
    shape, is_fortran, dtype = _header_of(head, stream, place)
    expected = math.prod(shape) * dtype.itemsize
    if size is not None and expected > size:
        raise DataError(f"{place} is damaged: its header says {expected:,} bytes, and it has {size:,}")
    check_memory(expected, f"{place}, unpacked,")
    content = read_all(stream, place, expected)
    if len(content) != expected:
        raise DataError(f"{place} is damaged: its header says {expected:,} bytes, and it has {len(content):,}")
    flat = np.frombuffer(content, dtype) if expected else np.zeros(math.prod(shape), dtype)
    return flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)


def _header_of(head: bytes, stream: ByteStream, place: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a .npy file behind its first 6 bytes."""
    version = np.lib.format.read_magic(io.BytesIO(head + stream.read(2)))
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise DataError(f"{place}: damaged (version {version[0]}.{version[1]} of the format; expected 1 to 3)")
    shape, is_fortran, dtype = read(stream)
    if any(side < 0 for side in shape):
        raise DataError(f"{place}: damaged (an array of shape {shape})")
    if dtype.hasobject:
        expected = "numbers, all rows of one shape, or text as array.astype(str)"
        raise DataError(f"{place}: it holds Python objects, which are never loaded; save {expected}")
    return shape, is_fortran, dtype
