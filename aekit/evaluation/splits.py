"""Split samples into parts to fit on, to choose hyperparameters with, and to test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aekit.data.labels import EXACT, label_texts, to_label_array
from aekit.errors import DataError, closest_name
from aekit.evaluation.results import Split

MAX_VALIDATION = 10_000
_NAMES = ("train", "validation", "test")
_MAX_VALUES, _MIN_PER_VALUE, _MAX_CLASSES = 20, 5, 1000
"""Bounds by which `is_classes` recognizes whole numbers as classes."""


def make_split(
    labels: Sequence[Any] | np.ndarray | None,
    splits: Sequence[str] | np.ndarray | None = None,
    *,
    seed: int = 0,
    groups: Sequence[Any] | np.ndarray | None = None,
    count: int | None = None,
) -> Split:
    """Use the data set's own splits, or draw 60 / 20 / 20% by `seed` if it has none.

    Parts are stratified by class, but not by numbers or several labels per sample. Classes of one or two samples stay in the
    training part. Samples without a label (None, NaN, "") are in no part.

    Args:
        labels: (N,) classes or numbers, or None; or (N, L) bool for several labels per sample.
        splits: (N,) of ``"train"``, ``"validation"``, ``"test"``, or None. Without a validation part, a fifth of the training
            part, at most 10,000 samples, becomes one; without a test part, all parts are drawn.
        seed: seed of the drawing.
        groups: (N,) group of each sample; a group stays in one part, such as the images of one patient.
        count: N, if there are neither labels nor splits.

    Raises:
        DataError: different lengths, an unknown split name, an empty part, or a single class.
    """
    total = _common_length(labels, splits, groups, count)
    known = has_label(labels) if labels is not None else np.ones(total, bool)
    rows = np.flatnonzero(known)
    unlabeled = f"; {total - len(rows)} samples without a label skipped" if len(rows) < total else ""
    strata = _strata(labels, rows)
    numbers = None if groups is None else np.unique(to_label_array(groups), return_inverse=True)[1]
    members = np.arange(len(rows)) if numbers is None else numbers[rows]
    generator = np.random.default_rng(seed)
    names = None if splits is None else np.asarray(splits).astype(str)[rows]
    if names is not None and (unknown := set(names.tolist()) - set(_NAMES)):
        name = min(unknown)
        raise DataError(f"split {name!r}: expected train, validation or test{closest_name(name, _NAMES)}")
    if names is None or not {"train", "test"} <= set(names.tolist()):
        test, remaining = _draw(np.arange(len(rows)), 0.2, strata, members, generator)
        validation, train = _draw(remaining, 0.25, strata, members, generator)
        only = "" if names is None else f", as the data has only {' and '.join(sorted(set(names.tolist())))} samples"
        origin = f"{'stratified ' if strata.any() else ''}60/20/20% drawn with seed {seed}{only}"
    else:
        train, validation, test = (np.flatnonzero(names == name) for name in _NAMES)
        origin = "the data set's own"
        if not len(validation):
            fraction = min(0.2, MAX_VALIDATION / max(1, len(train)))
            validation, train = _draw(train, fraction, strata, members, generator)
            origin = f"the data set's own, with {len(validation)} training samples as validation part (seed {seed})"
    group_count = None if numbers is None else len(np.unique(members))
    empty = next((name for name, part in zip(_NAMES, (train, validation, test)) if not len(part)), None)
    if empty is not None:
        raise _empty_part(empty, strata, group_count, origin, unlabeled, is_drawn=splits is None)
    together = "" if group_count is None else f"; {group_count} groups, each in one part"
    return Split(rows[train], rows[validation], rows[test], origin + together + unlabeled, numbers)


def _common_length(labels: Any, splits: Any, groups: Any, count: int | None) -> int:
    """Return the number of samples, which is that of everything that is given."""
    arrays = {"labels": labels, "splits": splits, "groups": groups}
    sizes = {name: len(array) for name, array in arrays.items() if array is not None}
    sizes |= {} if count is None else {"samples": count}
    if len(set(sizes.values())) != 1:
        lengths = ", ".join(f"{size} {name}" for name, size in sizes.items())
        raise DataError(f"{lengths or 'neither labels nor splits'}: expected the same number of each")
    return next(iter(sizes.values()))


def _strata(labels: Sequence[Any] | np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Return the number of the class of each of these rows; zeros where labels are no classes."""
    if labels is None or not is_classes(labels):
        return np.zeros(len(rows), np.intp)
    classes, strata = np.unique(to_label_array(labels)[rows], return_inverse=True)
    if len(classes) < 2:
        problem = f"all {len(rows)} labeled samples are of class {classes.tolist()}"
        raise DataError(f"{problem}: expected at least two classes")
    return strata


def _empty_part(
    name: str, strata: np.ndarray, group_count: int | None, origin: str, unlabeled: str, *, is_drawn: bool
) -> DataError:
    """Return the error for a part without samples, of which the classes may be too small to be in each part."""
    count, largest = len(strata), np.bincount(strata, minlength=1).max()
    if group_count is None and is_drawn and largest < 5 <= count:
        return DataError(
            f"the {name} part is empty: the largest of {strata.max() + 1} classes has {largest} "
            f"of {count} samples{unlabeled}; expected 5 or more samples of a class"
        )
    grouped = "" if group_count is None else f"{group_count} groups of "
    return DataError(
        f"the {name} part of {grouped}{count} samples ({origin}{unlabeled}) is empty: more samples are needed"
    )


def cap_split(split: Split, max_samples: int, seed: int) -> Split:
    """Reduce a split to at most `max_samples`, drawn by `seed`; the training part is reduced first."""
    total = len(split.train) + len(split.validation) + len(split.test)
    if total <= max_samples:
        return split
    generator = np.random.default_rng(seed)
    validation, test = (_sample(part, max_samples // 4, generator) for part in (split.validation, split.test))
    train = _sample(split.train, max(1, max_samples - len(validation) - len(test)), generator)
    used = len(train) + len(validation) + len(test)
    return Split(train, validation, test, f"{split.origin}; {used} of {total} samples", split.groups)


def stratified_cap(split: Split, max_samples: int, labels: np.ndarray | None, seed: int) -> Split:
    """Reduce a split as `cap_split` does, in the proportions of the classes.

    Args:
        split: positions in `labels`.
        max_samples: number of samples of all parts.
        labels: (N,) classes, or None.
        seed: seed of the drawing.
    """
    sample = cap_split(split, max_samples, seed)
    if sample is split or labels is None:
        return sample
    parts = [
        stratified_sample(part, labels, len(drawn), seed=seed)
        for part, drawn in zip(
            (split.train, split.validation, split.test), (sample.train, sample.validation, sample.test)
        )
    ]
    return replace(sample, train=parts[0], validation=parts[1], test=parts[2])


def few_label_split(split: Split, labels: np.ndarray, per_class: int, *, seed: int) -> Split:
    """Reduce the training and validation parts to `per_class` labels of each class in total.

    The labels are drawn from the training part, and a fifth of them, at least one, is for validation, so that no choice uses
    labels that would not be available. One or two labels per class leave none for validation. With the same seed, fewer labels
    are a subset of more. The test part is unchanged.

    Args:
        split: positions in `labels`.
        labels: (N,) classes.
        per_class: number of labels of each class.
        seed: seed of the drawing.

    Raises:
        DataError: a class has fewer labels.
    """
    classes, strata, counts = np.unique(labels[split.train], return_inverse=True, return_counts=True)
    if counts.min() < per_class:
        short = ", ".join(f"{counts[i]} of {str(classes[i])!r}" for i in np.flatnonzero(counts < per_class)[:10])
        raise DataError(f"per_class = {per_class}: too few labels; the training part has {short} ({split.origin})")
    generator = np.random.default_rng(seed)
    drawn = np.flatnonzero(_ranks(strata, generator) < per_class)
    validation, train = _draw(drawn, 0.2, strata, np.arange(len(strata)), generator)
    origin = f"{per_class} labels per class drawn with seed {seed}, validation included; {split.origin}"
    return Split(split.train[train], split.train[validation], split.test, origin, split.groups)


def evenly_spaced(rows: np.ndarray, max_samples: int) -> np.ndarray:
    """Return at most `max_samples` of (N,) rows, evenly spaced, including the first and the last."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), max_samples)).astype(np.intp)]


def sample_per_class(rows: np.ndarray, labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Draw `count` of (N,) rows of each class by `seed`, in order; with the same seed, fewer are a subset of more.

    Args:
        rows: (N,) positions in `labels`.
        labels: classes of all samples.
        count: number of rows of each class; a class with fewer gives all of its rows.
        seed: seed of the drawing.
    """
    _, strata = np.unique(labels[rows], return_inverse=True)
    return rows[np.flatnonzero(_ranks(strata, np.random.default_rng(seed)) < count)]


def stratified_sample(rows: np.ndarray, labels: np.ndarray, max_samples: int, *, seed: int) -> np.ndarray:
    """Draw at most `max_samples` of (N,) rows by `seed` in the proportions of their classes, in order.

    Args:
        rows: (N,) positions in `labels`.
        labels: classes of all samples.
        max_samples: number of rows.
        seed: seed of the drawing.
    """
    if len(rows) <= max_samples:
        return rows
    _, strata, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
    # Ranks relative to the size of the class: the lowest ones take the same fraction of every class.
    relative_rank = (_ranks(strata, np.random.default_rng(seed)) + 0.5) / counts[strata]
    return rows[np.sort(np.argsort(relative_rank, kind="stable")[:max_samples])]


def to_class_labels(labels: Any, count: int, *, what: str) -> tuple[np.ndarray | None, str]:
    """Convert labels to an array of classes.

    Args:
        labels: (N,) names, numbers, or None.
        count: N.
        what: the labeled objects in the plural, for messages.

    Returns:
        (N,) classes of one type, "" where missing; or None and the reason if the labels are not classes.

    Raises:
        DataError: a wrong number of labels.
    """
    if labels is None:
        return None, ""
    labels = to_label_array(labels)
    if labels.shape != (count,):
        raise DataError(f"labels of shape {labels.shape} for {count} {what}: expected one each")
    known = has_label(labels)
    if not known.any():
        return None, "no sample has a label"
    if not is_classes(labels):
        return None, "the labels are numbers rather than classes, so they were not used"
    if labels.dtype.kind != "f":
        return labels, ""
    # Whole numbers are floats where some are missing.
    are_exact = known.all() and abs(labels).max() <= EXACT
    return (labels.astype(np.int64) if are_exact else label_texts(labels)), ""


def has_label(labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Return (N,) bool: whether there is a label, rather than None, NaN or an empty string."""
    array = to_label_array(labels)
    if array.dtype.kind == "f":
        return ~np.isnan(array) if array.ndim == 1 else ~np.isnan(array).any(axis=1)
    return np.asarray(array != "") if array.dtype.kind == "U" else np.ones(len(array), bool)


def is_classes(labels: Sequence[Any] | np.ndarray) -> bool:
    """Return whether labels are classes, rather than numbers or several labels per sample.

    Fractions are numbers. So are whole numbers with more than 20 different values, if there are fewer than 5 samples per value or
    more than 1,000 values; unless the values have no gaps, as the numbers of classes do, and there are 2 samples per value.
    """
    array = to_label_array(labels)
    if array.ndim > 1:
        return False
    numbers = array[has_label(array)] if array.dtype.kind in "fiu" else np.empty(0)
    values = np.unique(numbers)
    if not (np.isfinite(numbers) & (numbers == np.round(numbers))).all():
        return False
    if len(values) <= _MAX_VALUES or (len(numbers) >= _MIN_PER_VALUE * len(values) and len(values) <= _MAX_CLASSES):
        return True
    return bool(int(values[-1]) - int(values[0]) < len(values) and len(numbers) >= 2 * len(values))


def to_numbers(labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Convert (N,) labels to (N,) float64, NaN where missing.

    Raises:
        ValueError: a label that is not a number.
    """
    array = to_label_array(labels)
    return np.where(array == "", "nan", array).astype(float) if array.dtype.kind == "U" else array.astype(float)


def select_labels(labels: Sequence[Any] | np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Select the labels of some samples, converted so that `is_classes` gives the same for the part as for all of them.

    Whole numbers with up to 20 different values in the part count as classes either way.

    Args:
        labels: (N,) labels of all samples, or (N, L).
        rows: (M,) positions.
    """
    all_labels = to_label_array(labels)
    part = all_labels[rows]
    if is_classes(part) == (classes := is_classes(all_labels)):
        return part
    return label_texts(part) if classes else part.astype(np.float64)


def _ranks(strata: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return (N,) the place of each sample in a random order of its stratum, from 0."""
    order = generator.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    ranks = np.empty(len(strata), np.intp)
    starts = np.cumsum(np.bincount(strata)) - np.bincount(strata)
    ranks[order] = np.arange(len(strata)) - starts[strata[order]]
    return ranks


def _draw(
    rows: np.ndarray, fraction: float, strata: np.ndarray, members: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a fraction of the rows from every stratum; return the drawn rows and the remaining ones, each in order.

    Rows with the same member number stay together and count toward the stratum of the first. A stratum of one or two gives none.
    """
    _, first, unit, sizes = np.unique(members[rows], return_index=True, return_inverse=True, return_counts=True)
    stratum_of = strata[rows[first]]
    drawn = np.zeros(len(sizes), bool)
    for stratum in np.unique(stratum_of):
        units = generator.permutation(np.flatnonzero(stratum_of == stratum))
        if len(units) > 2:
            totals = np.cumsum(sizes[units])
            target = max(1, round(fraction * int(totals[-1])))
            drawn[units[: max(1, int(np.searchsorted(totals, target, side="right")))]] = True
    return rows[drawn[unit]], rows[~drawn[unit]]


def _sample(part: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    return part if len(part) <= count else np.sort(generator.choice(part, count, replace=False))
