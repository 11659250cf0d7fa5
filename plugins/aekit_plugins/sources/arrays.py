"""Arrays and tables in files: .npy, .npz and IDX, gzipped or not, and CSV, TSV, Excel and Parquet tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa

from aekit.plugin import (
    ARRAY_ENDINGS,
    LABEL_COLUMNS,
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
    TextFormat,
    find_cifar_files,
    find_column,
    find_image_files,
    find_labels_beside,
    find_labels_file,
    holds_arrays,
    infer_axes,
    lists_images,
    looks_like_ucr,
    parts_in,
    read_cifar_folder,
    read_columns,
    read_idx,
    read_labels_file,
    read_mnist_folder,
    read_npy,
    read_npz,
    read_numpy_folder,
    read_parts,
    read_table,
    to_labels,
)

_X = Field(description="array in an .npz, or columns of a table; auto: by common names")
_Y = Field(description="labels in an .npz or a table; auto: by common names; none: no labels")
_LABELS = Field(description="file of labels, relative to the data; auto: in the same file, or next to an IDX file")
_LAYOUT = Field(
    description="position of the channel axis; auto: first, or last if only the last axis has length 1, 3 or 4, or is shorter "
    "than two equal ones before it"
)
_CATEGORIES = Field(description="few: one-hot encode columns of 2 to 20 categories; none: skip them")
_MISSING = Field(
    description="skip: skip rows of a table with missing numbers; median: impute the column's median; auto: skip, "
    "or median where it would skip more than half of 20 or more rows"
)
_ENCODING = Field(description="encoding of a text table, such as cp1252; auto: UTF-8 or UTF-16, else cp1252")
_DELIMITER = Field(
    description="one to three characters between the cells of a text table, tab or blanks; auto: detected"
)
_DECIMAL = Field(description="decimal separator of a text table; auto: a comma where numbers allow nothing else")
_HEADER = Field(description="whether line 1 of a text table holds names; auto: by comparing it with the lines below")
_SKIP = Field(description="lines before a text table to skip; auto: comments and lines of other widths")
_SHEET = Field(description="sheet of a workbook; auto: the first that is not hidden and not empty")
_KIND = Field(description="kind of sample; auto: by the number of axes and the dtype")


class Arrays(ArraySource):
    """Read samples (N, ...) from a file: memory-mapped from .npy, whole from other formats.

    It recognizes common names of arrays in an .npz, folders with MNIST's layout or with ``train.csv`` and ``test.csv``, and the
    columns ``label``, ``id`` and ``split`` of a table.

    Raises:
        DataError: nothing usable, arrays of Python objects, or labels that do not match the samples.
    """

    takes_arrays = True
    looks_for = "train-images-idx3-ubyte.gz, data_batch_1.bin, train.csv and test.csv, or .npy and .npz files alone"

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
        categories: Annotated[Categories, _CATEGORIES] = "few",
        missing: Annotated[Missing, _MISSING] = "auto",
        encoding: Annotated[str, _ENCODING] = "auto",
        delimiter: Annotated[str, _DELIMITER] = "auto",
        decimal: Annotated[Literal["auto", ".", ","], _DECIMAL] = "auto",
        header: Annotated[Literal["auto"] | bool, _HEADER] = "auto",
        skip: Annotated[Literal["auto"] | Annotated[int, Field(ge=0)], _SKIP] = "auto",
        sheet: Annotated[str, _SHEET] = "auto",
    ) -> None:
        form = TextFormat(encoding, delimiter, decimal, header, skip, sheet)
        if isinstance(where, str):
            path, table = Path(where), _table(Path(where), form)
        else:
            path, table = Path("data in memory"), where if isinstance(where, pa.Table) else None
            if labels != "auto":
                raise RecipeError([f"data.arrays.labels = {labels!r}: names a file, but the data is in memory"])
        if table is None:
            data = _from_array(where, x, y) if isinstance(where, np.ndarray) else _load(path, x, y)
        else:
            # Only entries of vectors have names and categories.
            options = {"categories": categories, "like": like} if kind in ("auto", "vector") else {"categories": "none"}
            place = str(path) if isinstance(where, str) else "the table"
            data = read_columns(table, place, x=x, y=y, missing=missing, **options)
        targets = data.labels if labels == "auto" else _read_labels(path.parent / labels, y)
        if targets is not None and len(targets) != len(data.array):
            raise DataError(f"{path}: {len(targets)} labels for {len(data.array)} samples; expected one each")
        array, inferred_kind, note = infer_axes(data.array, kind, layout, like)
        columns = data.columns if inferred_kind == "vector" else ()
        super().__init__(array, kind=inferred_kind, labels=targets, ids=data.ids, splits=data.splits, columns=columns)
        timed = table is not None and like is None and any(name.lower() in TIME_COLUMNS for name in table.column_names)
        # A column alone is a recording more often than samples of one number.
        alone = table is not None and like is None and table.num_columns == 1 and array.shape[1:] == (1,)
        hint = f"a row is a sample; recordings:{path.name} cuts windows of rows" if timed or alone else ""
        self.notes, self.losses = tuple(filter(None, [data.note, note, hint])), data.losses
        self.metadata = data.metadata

    @staticmethod
    def claims(path: Path) -> bool:
        """Return True for a folder with the layout of MNIST or CIFAR or with tables of splits, or a file that lists no files and
        holds no series."""
        parts = list(parts_in(path).values()) if path.is_dir() else [path]
        if not parts:
            return bool(find_image_files(path) or find_cifar_files(path)) or holds_arrays(path)
        return not any(looks_like_ucr(part) for part in [path, *parts]) and not any(
            part.name.lower().endswith(TABLE_ENDINGS) and lists_images(part) for part in parts
        )


def _table(path: Path, form: TextFormat) -> pa.Table | None:
    """Read the table of a file, or of a folder with a table for each split; None if it is not a table."""
    parts = parts_in(path) if path.is_dir() else {}
    if parts:
        return read_parts(parts, form)
    name = path.name.lower()
    is_array = path.is_dir() or (name.endswith(ARRAY_ENDINGS) and not name.endswith(TABLE_ENDINGS))
    return None if is_array else read_table(path, form)  # a table may have any ending where the source is named


def _from_array(array: np.ndarray, x: str | list[str], y: str) -> Tabular:
    if x != "auto" or y not in ("auto", "none"):
        raise RecipeError(["data.arrays: x and y are for .npz files and tables, not for arrays"])
    return Tabular(array)


def _load(path: Path, x: str | list[str], y: str) -> Tabular:
    """Read a file of arrays, or a folder with the layout of MNIST or CIFAR."""
    name = path.name.lower()
    if path.is_dir() and not find_image_files(path) and holds_arrays(path):
        return read_numpy_folder(path, x if isinstance(x, str) else "auto", y)
    if path.is_dir():
        source = read_mnist_folder(path) if find_image_files(path) else read_cifar_folder(path)
        return Tabular(source.array, labels=source.labels if y != "none" else None, splits=source.splits)
    if name.endswith(".npz"):
        if isinstance(x, list):
            raise DataError(f"{path}: x = {x!r}: expected the name of one array")
        array, labels, splits, note = read_npz(path, x, y)
        return _with_labels_beside(path, Tabular(array, labels=labels, splits=splits, note=note), y)
    if x != "auto" or y not in ("auto", "none"):
        raise DataError(f"{path}: holds a single array; x and y are for .npz files and tables")
    if name.endswith((".npy", ".npy.gz")):
        return _with_labels_beside(path, Tabular(read_npy(path)), y)
    labels_file = find_labels_file(path) if y != "none" else None
    return Tabular(read_idx(path), labels=read_idx(labels_file).astype(np.int64) if labels_file else None)


def _with_labels_beside(path: Path, data: Tabular, y: str) -> Tabular:
    """Add the labels of a file next to it, such as ``kmnist-train-labels.npz`` for ``kmnist-train-imgs.npz``."""
    beside = find_labels_beside(path) if data.labels is None and y == "auto" else None
    if beside is None:
        return data
    labels = read_labels_file(beside)
    fits = labels.ndim > 0 and len(labels) == len(data.array)
    note = (
        f"labels are from {beside.name}"
        if fits
        else f"{beside.name} has other than {len(data.array)} labels and is not used"
    )
    return data._replace(labels=labels if fits else None, note="; ".join(filter(None, [data.note, note])))


def _read_labels(path: Path, y: str) -> np.ndarray:
    """Read labels (N,) from a file in any supported format."""
    if path.name.lower().endswith(TABLE_ENDINGS):
        table = read_table(path)
        name = y if y in table.column_names else find_column(table.column_names, LABEL_COLUMNS)
        return to_labels(table[name or table.column_names[-1]])
    if path.name.lower().endswith((".npy", ".npy.gz")):
        return np.array(read_npy(path))
    return read_idx(path).astype(np.int64)
