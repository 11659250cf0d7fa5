"""Arrays and tables in files: .npy, .npz, IDX, each gzipped or not, and CSV, TSV and Parquet tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa

from aekit.plugin import (
    LABEL_COLUMNS,
    PATH_COLUMNS,
    TABLE_ENDINGS,
    TIME_COLUMNS,
    ArraySource,
    Categories,
    DataError,
    Field,
    KindOption,
    Layout,
    Missing,
    RecipeError,
    SampleSpec,
    Tabular,
    column_names,
    find_column,
    find_image_files,
    find_labels_file,
    infer_axes,
    parts_in,
    read_columns,
    read_idx,
    read_mnist_folder,
    read_npy,
    read_npz,
    read_parts,
    read_table,
    to_labels,
)

_X = Field(description="the array in an .npz, or the columns of a table; auto: the usual names")
_Y = Field(description="the labels in an .npz or a table; auto: the usual names; none: there are none")
_LABELS = Field(description="file of labels, relative to the data; auto: in the same file, or beside an IDX file")
_LAYOUT = Field(description="where the channels are; auto: first, but last where only that axis is 1, 3 or 4 long")
_WORDS = Field(
    description="few: columns of 2 to 20 different words become an entry of 0 or 1 for each; none: they are left out"
)
_MISSING = Field(
    description="skip: rows of a table that lack a number are left out; median: the column's stands in for it"
)
_KIND = Field(description="what a sample is; auto: by the number of axes and the dtype")


class Arrays(ArraySource):
    """Samples (N, ...) of a file: memory-mapped from .npy, read whole from the rest. The usual names of arrays in an
    .npz, a folder of MNIST's layout or of ``train.csv`` and ``test.csv``, and a table's ``label``, ``id`` and ``split``
    columns are understood.

    Raises:
        DataError: nothing usable, arrays of Python objects, or labels that do not match the samples.
    """

    takes_arrays = True
    looks_for = "IDX files such as train-images-idx3-ubyte.gz, or train.csv and test.csv"

    def __init__(
        self,
        where: str | np.ndarray | pa.Table,
        like: SampleSpec | None = None,
        *,
        x: Annotated[str | list[str], _X] = "auto",
        y: Annotated[str, _Y] = "auto",
        labels: Annotated[str, _LABELS] = "auto",
        layout: Annotated[Layout, _LAYOUT] = "auto",
        kind: Annotated[KindOption, _KIND] = "auto",
        words: Annotated[Categories, _WORDS] = "few",
        missing: Annotated[Missing, _MISSING] = "skip",
    ) -> None:
        if isinstance(where, str):
            path, table = Path(where), _table(Path(where))
        else:
            path, table = Path("data in memory"), where if isinstance(where, pa.Table) else None
            if labels != "auto":
                raise RecipeError([f"data.arrays.labels = {labels!r}: names a file, but the data is in memory"])
        if table is None:
            found = _from_array(where, x, y) if isinstance(where, np.ndarray) else _load(path, x, y)
        else:
            # The entries of anything but a vector have no names, and are no words.
            fitting = {"categories": words, "like": like} if kind in ("auto", "vector") else {"categories": "none"}
            found = read_columns(table, str(path), x=x, y=y, missing=missing, **fitting)
        own = found.labels if labels == "auto" else _read_labels(path.parent / labels, y)
        if own is not None and len(own) != len(found.array):
            raise DataError(f"{path}: {len(own)} labels for {len(found.array)} samples; expected as many")
        array, arranged, note = infer_axes(found.array, kind, layout, like)
        columns = found.columns if arranged == "vector" else ()
        super().__init__(array, kind=arranged, labels=own, ids=found.ids, splits=found.splits, columns=columns)
        timed = table is not None and like is None and any(name.lower() in TIME_COLUMNS for name in table.column_names)
        hint = f"a row is a sample; recordings:{path.name} cuts windows of rows" if timed else ""
        self.note = "; ".join(filter(None, [found.note, note, hint]))

    @staticmethod
    def claims(path: Path) -> bool:
        """Whether it is a folder of MNIST's layout or of tables named by splits, a table, or another file; no list of files."""
        parts = list(parts_in(path).values()) if path.is_dir() else [path]
        if not parts:
            return bool(find_image_files(path))
        for part in parts:
            names = column_names(part) if part.name.lower().endswith(TABLE_ENDINGS) else []
            if find_column(names, PATH_COLUMNS):
                return False
        return True


def _table(path: Path) -> pa.Table | None:
    """Of a file, or of a folder with a table for each split; None where it is no table."""
    parts = parts_in(path) if path.is_dir() else {}
    if parts:
        return read_parts(parts)
    return read_table(path) if path.name.lower().endswith(TABLE_ENDINGS) else None


def _from_array(array: np.ndarray, x: str | list[str], y: str) -> Tabular:
    if x != "auto" or y not in ("auto", "none"):
        raise RecipeError(["data.arrays: x and y are for .npz files and tables, not for an array"])
    return Tabular(array)


def _load(path: Path, x: str | list[str], y: str) -> Tabular:
    """What is in a file of arrays, or in a folder of MNIST's layout."""
    name = path.name.lower()
    if path.is_dir():
        whole = read_mnist_folder(path)
        return Tabular(whole.array, labels=whole.labels if y != "none" else None, splits=whole.splits)
    if name.endswith(".npz"):
        if isinstance(x, list):
            raise DataError(f"{path}: x = {x!r}: one array of an .npz is expected")
        array, labels, splits, note = read_npz(path, x, y)
        return Tabular(array, labels=labels, splits=splits, note=note)
    if x != "auto" or y not in ("auto", "none"):
        raise DataError(f"{path}: holds one array; x and y are for .npz files and tables")
    if name.endswith((".npy", ".npy.gz")):
        return Tabular(read_npy(path))
    beside = find_labels_file(path) if y != "none" else None
    return Tabular(read_idx(path), labels=read_idx(beside).astype(np.int64) if beside else None)


def _read_labels(path: Path, y: str) -> np.ndarray:
    """(N,) from a file of any kind that samples can be in."""
    if path.name.lower().endswith(TABLE_ENDINGS):
        table = read_table(path)
        name = y if y in table.column_names else find_column(table.column_names, LABEL_COLUMNS)
        return to_labels(table[name or table.column_names[-1]])
    if path.name.lower().endswith((".npy", ".npy.gz")):
        return np.asarray(read_npy(path))
    return read_idx(path).astype(np.int64)
