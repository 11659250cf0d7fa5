"""Prepare the targets of evaluators: classes, numbers or several labels per sample, from the data or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aekit.data.labels import align_labels, label_texts, rows_by_name, take_labels, to_label_array
from aekit.data.readers import tables
from aekit.data.readers.endings import TABLE_ENDINGS
from aekit.errors import DataError, closest_name
from aekit.evaluation.splits import has_label, to_class_labels, to_numbers
from aekit.io.remote import local_path

if TYPE_CHECKING:
    from aekit.encoder.embeddings import Embeddings

TargetKind = Literal["classes", "numbers", "multi-label"]
TargetType = Literal["auto", "classes", "numbers"]
"""How single labels are interpreted: as classes, or as numbers for regression."""
TAG_BY_KIND: dict[TargetKind, str] = {"classes": "labels", "numbers": "numbers", "multi-label": "multi-label"}
"""Kind -> tag of the evaluators that accept it."""
TARGET_DESCRIPTIONS: dict[TargetKind, str] = {
    "classes": "one class per sample",
    "numbers": "numbers",
    "multi-label": "several labels per sample",
}


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels in the form that evaluators accept.

    Attributes:
        kind: kind of the labels.
        values: (N,) classes of any type but float, "" or -1 where missing; (N,) float64 numbers, NaN where missing; or
            (N, L) bool for several labels per sample.
        has_target: (N,) bool, whether a sample has a target.
        names: (C,) classes, or (L,) names of several labels per sample.
    """

    kind: TargetKind
    values: np.ndarray
    has_target: np.ndarray
    names: tuple[str, ...]


def make_targets(
    labels: Any, count: int, *, what: str, names: Sequence[str] = (), target_type: TargetType = "auto"
) -> tuple[Targets | None, str]:
    """Convert labels to targets.

    Args:
        labels: (N,) names, numbers or None; or (N, L) of 0 and 1, with a row of NaN where unknown.
        count: N.
        what: the labeled objects in the plural, for messages.
        names: (L,) names of several labels.
        target_type: interpretation of single labels; ``auto`` follows `aekit.evaluation.splits.is_classes`.

    Returns:
        The targets, or None without labels, and a remark, or "".

    Raises:
        DataError: a wrong number of labels; several labels that are not 0 and 1; text where numbers are expected.
    """
    array = None if labels is None else to_label_array(labels)
    if array is not None and array.ndim == 2 and len(array) == count:
        return _several(array, names)
    if array is not None and array.shape == (count,) and target_type == "classes":
        array = label_texts(array)
    classes, reason = to_class_labels(array, count, what=what)
    if array is not None and has_label(array).any() and (classes is None or target_type == "numbers"):
        return _numbers(array, target_type)
    if classes is None:
        return None, reason
    known = has_label(classes)
    if array is not None and array.dtype.kind == "f":  # whole numbers, as floats only because NaN stands for no label
        classes = np.where(known, array, -1).astype(np.int64)
    return Targets("classes", classes, known, tuple(np.unique(classes[known]).astype(str).tolist())), ""


def _numbers(array: np.ndarray, target_type: TargetType) -> tuple[Targets, str]:
    try:
        numbers = to_numbers(array)
    except ValueError as error:
        raise DataError(f"labels with target_type 'numbers': {error}") from None
    known = np.asarray(~np.isnan(numbers))
    values = np.unique(numbers[known])
    remark = f"the labels, {len(values):,} different whole numbers, are treated as numbers rather than classes"
    guessed = target_type == "auto" and (values == np.round(values)).all()
    return Targets("numbers", numbers, known, ()), remark if guessed else ""


def _several(array: np.ndarray, names: Sequence[str]) -> tuple[Targets, str]:
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        advice = f"; pass one column alone, such as labels[{str(names[0])!r}]" if len(names) else ""
        expected = f"expected 0 and 1 in several columns of labels{advice}"
        raise DataError(f"labels of shape {array.shape} and type {array.dtype}: {expected}") from None
    known = np.asarray(~np.isnan(numbers).any(axis=1))
    invalid = numbers[known][~np.isin(numbers[known], (0, 1))]
    if len(invalid):
        raise DataError(
            f"labels of shape {array.shape}: value {invalid[0]:g}; expected 0 and 1 for several labels per sample"
        )
    if not known.any() or not array.shape[1]:
        raise DataError(f"labels of shape {array.shape}: no sample has a label")
    titles = tuple(map(str, names)) or tuple(str(number) for number in range(array.shape[1]))
    return Targets("multi-label", np.nan_to_num(numbers).astype(bool), known, titles), ""


def read_labels(path: str | Path, ids: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the labels of embedded samples from a file.

    Args:
        path: a table with a column ``id`` and one column of classes or numbers, or several columns of 0 and 1; samples that
            are not in it have no label. Or ``.npy``, (N,) or (N, L), in the order of the embeddings.
        ids: (N,) ids of the embeddings.

    Returns:
        (N,) or (N, L) labels, and the names of several columns.

    Raises:
        DataError: no such file, no such columns, or no known id.
    """
    path = local_path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected labels")
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except ValueError as error:
            raise DataError(f"{path}: {str(error).splitlines()[0]}") from None
        if array.ndim not in (1, 2) or len(array) != len(ids):
            raise DataError(f"{path}: shape {array.shape} for {len(ids)} embeddings: expected one row for each")
        return array, ()
    if not path.name.endswith(TABLE_ENDINGS):
        raise DataError(f"{path}: unsupported format; expected labels in {', '.join(TABLE_ENDINGS)} or .npy")
    names = tables.column_names(path)
    key = tables.find_column(names, ("id",))
    if key is None:
        raise DataError(f"{path}: no column 'id'{closest_name('id', names)}; the columns are {', '.join(names)}")
    table = tables.read_table(path)
    label_columns = [name for name in table.column_names if name != key]
    if not label_columns:
        raise DataError(f"{path}: no column besides {key!r}; expected one column of labels, or several of 0 and 1")
    rows = rows_by_name(tables.to_strings(table[key]).tolist(), ids, f"labels: {path}")
    if len(label_columns) == 1:
        return take_labels(tables.to_labels(table[label_columns[0]]), rows), ()
    if text_columns := [name for name in label_columns if not tables.is_numeric(table[name])]:
        raise DataError(f"{path}: column {text_columns[0]!r} holds text; expected 0 and 1 in several columns of labels")
    several = np.stack([tables.to_floats(table[name]).astype(np.float64) for name in label_columns], axis=1)
    return take_labels(several, rows), tuple(label_columns)


def resolve_labels(labels: Any, ids: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """Return labels in the order of samples, as `read_labels` and `align_labels` do, and the names of several columns.

    Args:
        labels: the path of a file, a dict of id -> label, or labels as for `make_targets`.
        ids: (N,) ids of the samples.

    Raises:
        DataError: as `read_labels` and `align_labels`.
    """
    if isinstance(labels, (str, Path)):
        return read_labels(labels, ids)
    names = tuple(map(str, labels.columns)) if getattr(labels, "ndim", 0) == 2 and hasattr(labels, "columns") else ()
    return align_labels(labels, ids), names if len(names) > 1 else ()


def labels_of(embeddings: Embeddings, labels: Any = None) -> Any:
    """Return labels in the order of embeddings, as `resolve_labels` does; those stored with them, or None, if none are given."""
    return embeddings.labels if labels is None else resolve_labels(labels, embeddings.ids)[0]
