"""Convert labels as people pass them to arrays in the order of the samples, in which a missing label is NaN or an empty text."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any

import numpy as np

from aekit.errors import DataError
from aekit.io.tensors import without_tensor
from aekit.progress import warn

EXACT = 2**53
"""Whole numbers up to which float64 holds each."""


def to_label_array(values: Any) -> np.ndarray:
    """Convert labels to numbers, with NaN where one is missing, or to text, with "" there.

    Args:
        values: (N,) or (N, L), in a list, an array, a tensor, or a column of pandas, polars or Arrow. None, NaN, "", and
            pandas' NA and NaT are missing labels.

    Returns:
        an array of the same shape, but (N,) for (N, 1). Dates and times become text, and so do numbers among texts.

    Raises:
        DataError: the entries differ in shape, or they have no order.
    """
    if isinstance(values, (set, frozenset)):
        raise DataError("labels in a set have no order; pass a list")
    values = list(values) if isinstance(values, (Iterator, KeysView, ValuesView)) else without_tensor(values)
    if isinstance(values, np.ma.MaskedArray):
        mask, values = np.ma.getmaskarray(values), values.data.astype(object)
        values[mask] = None
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(
            "labels whose entries differ in shape: expected one for each sample, or as many for each"
        ) from None
    if isinstance(values, (list, tuple)) and array.dtype.kind == "U":  # NaN has become text
        array = np.asarray(values, object)
    if array.ndim == 2 and array.shape[1] == 1:  # a table of one column
        array = array[:, 0]
    if array.dtype.kind in "Mm":
        return np.where(np.isnat(array), "", array.astype(str))
    if array.dtype.kind != "O":
        return array
    flat = array.ravel().tolist()
    missing = np.array([is_missing(label) for label in flat], bool)
    known = [label for label, lacks in zip(flat, missing) if not lacks]
    if known and all(_is_exact_number(label) for label in known):
        numbers = (
            np.array(known) if not missing.any() else np.array([np.nan if m else v for v, m in zip(flat, missing)])
        )
        return numbers.reshape(array.shape)
    return np.array(["" if lacks else str(label) for label, lacks in zip(flat, missing)], str).reshape(array.shape)


def label_texts(labels: Any) -> np.ndarray:
    """Return labels as text of the same shape, "" where one is missing; whole numbers have no decimal point."""
    array = to_label_array(labels)
    if array.dtype.kind != "f":
        return array.astype(str)
    known = ~np.isnan(array)
    is_whole = bool(((abs(array[known]) <= EXACT) & (array[known] == np.round(array[known]))).all())
    return np.where(known, (np.where(known, array, 0).astype(np.int64) if is_whole else array).astype(str), "")


def align_labels(labels: Any, ids: Sequence[str]) -> Any:
    """Return labels in the order of the samples, where they have names: an index of pandas, or the keys of a dict.

    Args:
        labels: as for `to_label_array`, or a dict of id -> label.
        ids: (N,) ids of the samples.

    Returns:
        (N,) or (N, L), missing where no label has the id of a sample; the labels as they are, if they have no names, or if none
        of these is an id. Samples that only have numbers take labels in their order, as scikit-learn does.

    Raises:
        DataError: no key of a dict is an id.
    """
    if isinstance(labels, Mapping):
        rows = rows_by_name([str(name) for name in labels], ids, "labels")
        return take_labels(to_label_array(list(labels.values())), rows)
    names, ids = names_in_index(labels), list(ids)
    if names is None or names == ids:
        return labels
    shared = set(names).intersection(ids)
    if ids == [str(row) for row in range(len(ids))]:
        if len(shared) == len(names) == len(ids):
            warn(
                "labels: used in their order, which is not that of their index; pass labels.sort_index() if it is wrong"
            )
        return labels
    if shared and len(set(names)) == len(names):
        warn("labels: matched with the samples by their index; pass labels.to_numpy() to use them in their order")
        return take_labels(to_label_array(labels), rows_by_name(names, ids, "labels"))
    reason = "repeats" if shared else f"names none of the samples ({names[0]!r} rather than {ids[0]!r})"
    warn(f"labels: used in their order, as their index {reason}")
    return labels


def rows_by_name(names: Sequence[str], ids: Sequence[str], where: str) -> np.ndarray:
    """Return the (N,) rows of the names that are the ids of samples, -1 for a sample without one.

    Args:
        names: (M,) names of labels.
        ids: (N,) ids of samples.
        where: where the names come from, for messages.

    Raises:
        DataError: a name occurs twice, or none is an id.
    """
    row_by_name: dict[str, int] = {}
    for row, name in enumerate(names):
        if name in row_by_name:
            raise DataError(f"{where}: id {name!r} is in rows {row_by_name[name] + 1} and {row + 1}; keep one of them")
        row_by_name[name] = row
    rows = np.array([row_by_name.get(name, -1) for name in ids])
    if (rows < 0).all():
        example = next(iter(row_by_name), None)
        raise DataError(f"{where}: no id matches a sample; expected ids such as {ids[0]!r}, found {example!r}")
    if unknown := row_by_name.keys() - set(ids):
        warn(f"{where}: {len(unknown)} of {len(row_by_name)} ids match no sample, e.g. {min(unknown)!r}")
    if unlabeled := int((rows < 0).sum()):
        warn(f"{where}: {unlabeled} of {len(ids)} samples have no label in it, e.g. {ids[int(np.argmin(rows))]!r}")
    return rows


def take_labels(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the labels (M,) or (M, L) in the (N,) rows, missing where a row is -1."""
    if (rows >= 0).all():
        return labels[rows]
    if labels.dtype.kind != "U":
        labels = labels.astype(np.float64)
    known = rows >= 0 if labels.ndim == 1 else (rows >= 0)[:, None]
    return np.where(known, labels[rows], "" if labels.dtype.kind == "U" else np.nan)


def names_in_index(data: Any) -> list[str] | None:
    """Return the names of rows in an index of pandas; None for other data, and for an index that counts the rows."""
    if not hasattr(data, "iloc"):
        return None
    index = data.index
    counts = type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1)
    return None if counts else ["/".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in index.tolist()]


def ids_in_index(data: Any) -> list[str] | None:
    """Return the names of rows in an index of pandas, if they differ, so that they can be ids."""
    names = names_in_index(data)
    return names if names and len(set(names)) == len(names) else None


def is_missing(label: Any) -> bool:
    """Return whether a label is missing: None, NaN, "", or pandas' NA or NaT."""
    if label is None or (isinstance(label, str) and not label):
        return True
    try:
        return bool(label != label)  # of NaN and NaT
    except TypeError:  # of NA
        return True
    except ValueError:  # of an array
        return False


def _is_exact_number(label: Any) -> bool:
    is_number = isinstance(label, (int, float, np.number)) and not isinstance(label, bool)
    return is_number and (isinstance(label, (float, np.floating)) or abs(int(label)) <= EXACT)


def check_label_count(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """Return labels (N,) or (N, L) if there are `count` of them.

    Raises:
        DataError: there are not; `what` names them.
    """
    if len(labels) != count:
        raise DataError(f"{what}: {len(labels)} labels for {count} samples; expected one each")
    return labels
