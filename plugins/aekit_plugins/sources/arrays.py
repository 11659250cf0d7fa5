"""Arrays and tables in files: .npy, .npz, IDX, each gzipped or not, and numeric CSV, TSV and Parquet tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np

from aekit.data import KindOption, Layout, arrange
from aekit.errors import DataError, nearest
from aekit.options import Field
from aekit.reading import idx, tables
from aekit.reading.npfiles import read_npy, read_npz
from aekit.samples import ArraySource, SampleSpec

_X = Field(description="the array in an .npz, or the columns of a table; auto: the usual names")
_Y = Field(description="the labels in an .npz or a table; auto: the usual names; none: there are none")
_LABELS = Field(description="file of labels, relative to the data; auto: in the same file, or beside an IDX file")
_LAYOUT = Field(description="where the channels are; auto: first, but last where only that axis is 1, 3 or 4 long")
_KIND = Field(description="what a sample is; auto: by the number of axes and the dtype")


class Arrays(ArraySource):
    """Samples (N, ...) of a file: memory-mapped from .npy, read whole from the rest. The usual names of arrays in an
    .npz, a folder of MNIST's layout, and a table's ``label``, ``id`` and ``split`` columns are understood.

    Raises:
        DataError: nothing usable, arrays of Python objects, or labels that do not match the samples.
    """

    looks_for = "IDX files such as train-images-idx3-ubyte.gz"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        x: Annotated[str | list[str], _X] = "auto",
        y: Annotated[str, _Y] = "auto",
        labels: Annotated[str, _LABELS] = "auto",
        layout: Annotated[Layout, _LAYOUT] = "auto",
        kind: Annotated[KindOption, _KIND] = "auto",
    ) -> None:
        path = Path(where)
        self.note = ""
        array, found, ids, splits = self._load(path, x, y)
        if labels != "auto":
            found = _read_labels(path.parent / labels, y)
        if found is not None and len(found) != len(array):
            raise DataError(f"{path}: {len(found)} labels for {len(array)} samples; expected as many")
        array, arranged_kind, note = arrange(array, kind, layout, like)
        super().__init__(array, kind=arranged_kind, labels=found, ids=ids, splits=splits)
        self.note = "; ".join(filter(None, [self.note, note]))

    @staticmethod
    def claims(path: Path) -> bool:
        """Whether it is a folder of MNIST's layout, a table without a column of file paths, or another file."""
        if path.is_dir():
            return bool(idx.pictures_in(path))
        names = tables.column_names(path) if path.name.lower().endswith(tables.ENDINGS) else []
        return tables.find_column(names, tables.PATHS) is None

    def _load(self, path: Path, x: str | list[str], y: str) -> _Loaded:
        name = path.name.lower()
        if path.is_dir():
            whole = idx.read_mnist_folder(path)
            return whole.array, whole.labels if y != "none" else None, None, whole.splits
        if name.endswith(tables.ENDINGS):
            return self._load_table(path, x, y)
        if name.endswith(".npz"):
            if isinstance(x, list):
                raise DataError(f"{path}: x = {x!r}: one array of an .npz is expected")
            array, labels, splits, self.note = read_npz(path, x, y)
            return array, labels, None, splits
        if x != "auto" or y not in ("auto", "none"):
            raise DataError(f"{path}: holds one array; x and y are for .npz files and tables")
        if name.endswith((".npy", ".npy.gz")):
            return read_npy(path), None, None, None
        beside = idx.labels_beside(path) if y != "none" else None
        return idx.read_idx(path), idx.read_idx(beside).astype(np.int64) if beside else None, None, None

    def _load_table(self, path: Path, x: str | list[str], y: str) -> _Loaded:
        table = tables.read_table(path)
        names = table.column_names
        label = None if y == "none" else tables.find_column(names, tables.LABELS) if y == "auto" else y
        ids, split = tables.find_column(names, ["id"]), tables.find_column(names, ["split"])
        # A second column of labels among the features would tell the encoder what it is judged by.
        kept_out = {label, ids, split} | ({n for n in names if n.lower() in tables.LABELS} if label else set())
        features = [n for n in names if n not in kept_out] if x == "auto" else [x] if isinstance(x, str) else x
        for name in [*features, *([label] if label else [])]:
            if name not in names:
                raise DataError(f"{path}: no column {name!r}{nearest(name, names)}")
        words = [n for n in features if not tables.is_numeric(table[n])]
        if x == "auto":
            features = [n for n in features if n not in words]
        if not features or (words and x != "auto"):
            found = f"not numbers in {', '.join(map(repr, words))}" if words else "no columns of numbers"
            raise DataError(f"{path}: {found}; x chooses columns, y names the labels")
        others = sorted(n for n in kept_out - {label, ids, split} if n)
        said = [f"column {label!r} is the label"] if label else []
        said += [f"{', '.join(others)} left out"] if others else []
        said += [f"left out, as they hold no numbers: {', '.join(map(repr, words))}"] if words else []
        self.note = "; ".join(said)
        array = np.column_stack([tables.numbers(table[n]) for n in features])
        labels = tables.labels_of(table[label]) if label else None
        splits = tables.splits_of(table[split], path) if split else None
        return array, labels, tables.texts(table[ids]).tolist() if ids else None, splits


_Loaded = tuple[np.ndarray, np.ndarray | None, list[str] | None, np.ndarray | None]
"""Samples (N, ...), labels (N,), ids, splits (N,)."""


def _read_labels(path: Path, y: str) -> np.ndarray:
    """(N,) from a file of any kind that samples can be in."""
    if path.name.lower().endswith(tables.ENDINGS):
        table = tables.read_table(path)
        name = y if y in table.column_names else tables.find_column(table.column_names, tables.LABELS)
        return tables.labels_of(table[name or table.column_names[-1]])
    if path.name.lower().endswith((".npy", ".npy.gz")):
        return np.asarray(read_npy(path))
    return idx.read_idx(path).astype(np.int64)
