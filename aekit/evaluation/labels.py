"""What embeddings are judged by: classes, numbers on a scale, or several labels a sample; from the data or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aekit.data.readers import tables
from aekit.errors import DataError, closest_name
from aekit.evaluation.splits import has_label, to_class_labels, to_numbers

TargetKind = Literal["classes", "targets", "multi-label"]
TargetType = Literal["auto", "classes", "numbers"]
"""What single labels are taken for: numbers on a scale are to be predicted as such, rather than told apart."""
TAG_BY_KIND: dict[TargetKind, str] = {"classes": "labels", "targets": "targets", "multi-label": "multi-label"}
"""Kind -> the tag of the evaluators that take it."""
TARGET_DESCRIPTIONS: dict[TargetKind, str] = {
    "classes": "a class for each sample",
    "targets": "numbers on a scale",
    "multi-label": "several labels a sample",
}


@dataclass(frozen=True)
class Targets:
    """Labels, brought into the form in which evaluators take them.

    Attributes:
        kind: what they are.
        values: classes, (N,) of any type but float, "" or -1 where there is none; targets, (N,) float64, NaN where there is
            none; or several labels a sample, (N, L) bool.
        known: (N,) bool, which samples have any.
        names: (L,) of several labels a sample, or (C,) the classes.
    """

    kind: TargetKind
    values: np.ndarray
    has_target: np.ndarray
    names: tuple[str, ...]


def make_targets(
    labels: Any, count: int, *, what: str, names: Sequence[str] = (), target_type: TargetType = "auto"
) -> tuple[Targets | None, str]:
    """Labels as evaluators take them, or None where there are none; and what there is to say of that.

    Args:
        labels: (N,) names, numbers or None; (N, L) of 0 and 1, with a row of NaN where nothing is known.
        count: N.
        of: what is labeled, in the plural, for messages.
        names: (L,) of several labels.
        taken: what they are taken for; ``auto``: what `is_classes` makes of them.

    Raises:
        DataError: not one for each; several labels that are not 0 and 1; words that are taken for numbers.
    """
    array = None if labels is None else np.asarray(labels)
    if array is not None and array.ndim == 2 and len(array) == count:
        return _several(array, names)
    if array is not None and array.shape == (count,) and target_type == "classes":
        array = np.where(has_label(array), array.astype(str), "")
    classes, why_not = to_class_labels(array, count, what=what)
    if array is not None and has_label(array).any() and (classes is None or target_type == "numbers"):
        return _numbers(array, target_type)
    if classes is None:
        return None, why_not
    known = has_label(classes)
    if classes.dtype.kind == "f":  # whole numbers, as floats only because NaN stands for no label
        classes = np.where(known, classes, -1).astype(np.int64)
    return Targets("classes", classes, known, tuple(np.unique(classes[known]).astype(str).tolist())), ""


def _numbers(array: np.ndarray, target_type: TargetType) -> tuple[Targets, str]:
    try:
        numbers = to_numbers(array)
    except ValueError as error:
        raise DataError(f"labels that are to be taken for numbers: {error}") from None
    known = np.asarray(~np.isnan(numbers))
    values = np.unique(numbers[known])
    said = f"the labels, {len(values):,} different whole numbers, are taken for numbers on a scale rather than classes"
    guessed = target_type == "auto" and (values == np.round(values)).all()
    return Targets("targets", numbers, known, ()), said if guessed else ""


def _several(array: np.ndarray, names: Sequence[str]) -> tuple[Targets, str]:
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"labels of shape {array.shape} and type {array.dtype}: expected 0 and 1") from None
    known = np.asarray(~np.isnan(numbers).any(axis=1))
    odd = numbers[known][~np.isin(numbers[known], (0, 1))]
    if len(odd):
        raise DataError(f"labels of shape {array.shape}: found {odd[0]:g}; several labels a sample are 0 and 1 each")
    if not known.any() or not array.shape[1]:
        raise DataError(f"labels of shape {array.shape}: none of the samples has a label")
    titles = tuple(map(str, names)) or tuple(str(number) for number in range(array.shape[1]))
    return Targets("multi-label", np.nan_to_num(numbers).astype(bool), known, titles), ""


def read_labels(path: str | Path, ids: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of embedded samples from a file of their own.

    Args:
        path: a table with a column ``id`` and another one, of classes or targets, or several, each 0 or 1; samples that it
            does not name have no label. Or ``.npy``, (N,) or (N, L), in the order of the embeddings.
        ids: (N,) of the embeddings.

    Returns:
        (N,) or (N, L) labels, and the names of the columns.

    Raises:
        DataError: no such file, no such columns, or none of the ids.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file of labels")
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except ValueError as error:
            raise DataError(f"{path}: {str(error).splitlines()[0]}") from None
        if array.ndim not in (1, 2) or len(array) != len(ids):
            raise DataError(f"{path}: shape {array.shape} for {len(ids)} embeddings: expected one row for each")
        return array, ()
    if not path.name.endswith(tables.TABLE_ENDINGS):
        raise DataError(f"{path}: labels are read from {', '.join(tables.TABLE_ENDINGS)} and .npy")
    names = tables.column_names(path)
    key = tables.find_column(names, ("id",))
    if key is None:
        raise DataError(f"{path}: no column 'id'{closest_name('id', names)}; its columns are {', '.join(names)}")
    table = tables.read_table(path)
    given = [name for name in table.column_names if name != key]
    if not given:
        raise DataError(f"{path}: no column beside {key!r}; expected one of labels, or several of 0 and 1")
    places = {name: row for row, name in enumerate(tables.to_strings(table[key]).tolist())}
    found = np.array([places.get(name, -1) for name in ids])
    if (found < 0).all():
        raise DataError(f"{path}: none of its {len(places)} ids is among the embeddings, whose first is {ids[0]!r}")
    if len(given) == 1:
        values = tables.to_labels(table[given[0]])
        if values.dtype.kind == "i" and (found < 0).any():
            values = values.astype(np.float64)
        missing = "" if values.dtype.kind == "U" else np.nan
        return np.where(found >= 0, values[found], missing), ()
    if worded := [name for name in given if not tables.is_numeric(table[name])]:
        raise DataError(f"{path}: column {worded[0]!r} holds words; several columns of labels are 0 and 1 each")
    several = np.stack([tables.to_floats(table[name]).astype(np.float64) for name in given], axis=1)
    return np.where(found[:, None] >= 0, several[found], np.nan), tuple(given)
