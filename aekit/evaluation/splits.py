"""Which samples an evaluator fits on, chooses with, and is judged on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from aekit.errors import DataError, RecipeError, closest_name
from aekit.evaluation.results import Split

MOST_VALIDATION = 10_000
_NAMES = ("train", "validation", "test")
_SCALE, _FEW, _MOST_CLASSES = 20, 5, 1000


def make_split(
    labels: Sequence[Any] | np.ndarray | None,
    splits: Sequence[str] | np.ndarray | None = None,
    *,
    seed: int = 0,
    groups: Sequence[Any] | np.ndarray | None = None,
    count: int | None = None,
) -> Split:
    """The data set's own splits where it has them, otherwise 60 / 20 / 20 % drawn by `seed`.

    Parts are stratified by class (not for targets on a scale, nor for several labels a sample). Classes of one or two
    samples stay in the training part. Samples without a label (None, NaN, "") belong to no part.

    Args:
        labels: (N,) class names or numbers, targets, or None; or (N, L) bool, which of L labels each has.
        splits: (N,) of ``"train"``, ``"validation"``, ``"test"``, or None. Where there is no validation part, a fifth of
            the training part, at most 10,000 samples, becomes one; where there is no test part, the whole is drawn anew.
        groups: (N,) samples of one group stay in one part, such as images of one patient.
        count: N, where there are neither labels nor splits.

    Raises:
        DataError: lengths that differ, an unknown split name, a part that would be empty, or a single class.
    """
    arrays = {"labels": labels, "splits": splits, "groups": groups}
    sizes = {name: len(array) for name, array in arrays.items() if array is not None}
    sizes |= {} if count is None else {"samples": count}
    if len(set(sizes.values())) != 1:
        found = ", ".join(f"{size} {name}" for name, size in sizes.items())
        raise DataError(f"{found or 'neither labels nor splits'}: expected as many of each")
    total = next(iter(sizes.values()))
    known = has_label(labels) if labels is not None else np.ones(total, bool)
    rows = np.flatnonzero(known)
    left_out = f"; {total - len(rows)} samples without a label left out" if len(rows) < total else ""
    strata = np.zeros(len(rows), np.intp)
    if labels is not None and is_classes(labels):
        classes, strata = np.unique(_texts(labels)[rows], return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"all {len(rows)} labeled samples are of class {classes.tolist()}: expected two classes or more"
            )
    numbers = None if groups is None else np.unique(_texts(groups), return_inverse=True)[1]
    members = np.arange(len(rows)) if numbers is None else numbers[rows]
    generator = np.random.default_rng(seed)
    names = None if splits is None else np.asarray(splits).astype(str)[rows]
    if names is not None and (unknown := set(names.tolist()) - set(_NAMES)):
        name = min(unknown)
        raise DataError(f"split {name!r}: expected train, validation or test{closest_name(name, _NAMES)}")
    if names is None or not {"train", "test"} <= set(names.tolist()):
        test, rest = _draw(np.arange(len(rows)), 0.2, strata, members, generator)
        validation, train = _draw(rest, 0.25, strata, members, generator)
        kind = "stratified " if strata.any() else ""
        lack = (
            ""
            if names is None
            else f", as the data has no more than {' and '.join(sorted(set(names.tolist())))} samples"
        )
        origin = f"{kind}60/20/20 % drawn with seed {seed}{lack}"
    else:
        train, validation, test = (np.flatnonzero(names == name) for name in _NAMES)
        origin = "the data set's own"
        if not len(validation):
            share = min(0.2, MOST_VALIDATION / max(1, len(train)))
            validation, train = _draw(train, share, strata, members, generator)
            origin = f"the data set's own, with {len(validation)} of its training samples for validation (seed {seed})"
    for name, part in zip(_NAMES, (train, validation, test)):
        if not len(part):
            few = f"{len(np.unique(members))} groups of " if groups is not None else ""
            raise DataError(
                f"the {name} part of {few}{len(rows)} samples ({origin}{left_out}) is empty: more samples are needed"
            )
    together = "" if numbers is None else f"; {len(np.unique(members))} groups, each in one part"
    return Split(rows[train], rows[validation], rows[test], origin + together + left_out, numbers)


def groups_from_ids(ids: Sequence[str], pattern: str) -> np.ndarray:
    """(N,) the group of each sample, from its id: what the pattern's first group finds, or all that it finds.

    Args:
        ids: (N,) names.
        pattern: a regular expression, such as ``^[^/]+`` for the folder that a file is in.

    Raises:
        RecipeError: not a regular expression.
        DataError: it finds nothing in an id.
    """
    try:
        searched = re.compile(pattern)
    except re.error as error:
        raise RecipeError([f"groups = {pattern!r}: not a regular expression ({error})"]) from None
    found = [searched.search(name) for name in ids]
    if None in found:
        raise DataError(f"groups = {pattern!r}: finds nothing in {ids[found.index(None)]!r}")
    return np.array([match[1 if searched.groups else 0] or "" for match in found if match is not None])


def cap_split(split: Split, max_samples: int, seed: int) -> Split:
    """The same split with at most `most` samples, drawn by `seed`: the training part gives way first, then the others."""
    total = len(split.train) + len(split.validation) + len(split.test)
    if total <= max_samples:
        return split
    generator = np.random.default_rng(seed)
    held = [_some(part, max_samples // 4, generator) for part in (split.validation, split.test)]
    train = _some(split.train, max(1, max_samples - len(held[0]) - len(held[1])), generator)
    kept = len(train) + len(held[0]) + len(held[1])
    return Split(train, held[0], held[1], f"{split.origin}; {kept} of {total} samples", split.groups)


def few_label_split(split: Split, labels: np.ndarray, per_class: int, *, seed: int) -> Split:
    """A split whose training and validation parts have only `per_class` labels of each class between them.

    They are drawn from the training part, and a fifth of them, at least one, is for validation, so that no choice is made
    with labels that one would not have. One or two labels a class leave none for validation. By the same seed fewer
    labels are a part of more. The test part stays as it is.

    Args:
        split: positions into `labels`.
        labels: (N,) classes.
        per_class: labels of each class.
        seed: of what is drawn.

    Raises:
        DataError: a class has fewer; says which has how many.
    """
    classes, strata, counts = np.unique(labels[split.train], return_inverse=True, return_counts=True)
    if counts.min() < per_class:
        short = ", ".join(f"{counts[i]} of {str(classes[i])!r}" for i in np.flatnonzero(counts < per_class)[:10])
        raise DataError(f"per_class = {per_class}: more than there are; the training part has {short} ({split.origin})")
    generator = np.random.default_rng(seed)
    drawn = np.flatnonzero(_ranks(strata, generator) < per_class)
    validation, train = _draw(drawn, 0.2, strata, np.arange(len(strata)), generator)
    origin = f"{per_class} labels a class drawn with seed {seed}, validation included; {split.origin}"
    return Split(split.train[train], split.train[validation], split.test, origin, split.groups)


def evenly_spaced(rows: np.ndarray, max_samples: int) -> np.ndarray:
    """At most `most` of (N,) rows, evenly spaced, the first and the last among them."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), max_samples)).astype(np.intp)]


def sample_per_class(rows: np.ndarray, labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """`count` of (N,) rows of each class, drawn by `seed`, in order. By the same seed fewer are a part of more.

    Args:
        rows: (N,) positions into `labels`.
        labels: of all samples.
        count: of each class; a class that has fewer gives what it has.
    """
    _, strata = np.unique(labels[rows], return_inverse=True)
    return rows[np.flatnonzero(_ranks(strata, np.random.default_rng(seed)) < count)]


def stratified_sample(rows: np.ndarray, labels: np.ndarray, max_samples: int, *, seed: int) -> np.ndarray:
    """At most `most` of (N,) rows, drawn by `seed` in the proportions of their classes, in order.

    Args:
        rows: (N,) positions into `labels`.
        labels: of all samples.
    """
    if len(rows) <= max_samples:
        return rows
    _, strata, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
    # The middle of each class's first so many samples, as a share of the class: what comes first is taken of each alike.
    share = (_ranks(strata, np.random.default_rng(seed)) + 0.5) / counts[strata]
    return rows[np.sort(np.argsort(share, kind="stable")[:max_samples])]


def to_class_labels(labels: Any, count: int, *, what: str) -> tuple[np.ndarray | None, str]:
    """Labels as an array (N,) of one type, "" where there is none; or None where they name no classes, and why.

    Args:
        labels: (N,) names, numbers, or None.
        count: N.
        of: what is labeled, in the plural, for messages.

    Raises:
        DataError: not one for each.
    """
    if labels is None:
        return None, ""
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise DataError(f"labels of shape {labels.shape} for {count} {what}: expected one for each")
    known = has_label(labels)
    if not known.any():
        return None, "none of the samples has a label"
    if not is_classes(labels):
        return None, "the labels are numbers on a scale rather than classes, so they were not used"
    # Text, for None cannot be sorted among names; what has no label stays recognizable as such.
    return (np.where(known, labels.astype(str), "") if labels.dtype.kind == "O" else labels), ""


def has_label(labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """(N,) bool: where there is a label, rather than None, NaN or an empty string."""
    array = np.asarray(labels)
    if array.dtype.kind == "f":
        return ~np.isnan(array) if array.ndim == 1 else ~np.isnan(array).any(axis=1)
    if array.dtype.kind in "OU":
        return np.array([label is not None and label == label and label != "" for label in array.tolist()], bool)
    return np.ones(len(array), bool)


def is_classes(labels: Sequence[Any] | np.ndarray) -> bool:
    """Whether labels name classes, rather than being targets on a scale, or several a sample.

    Fractions are on a scale. So are whole numbers of more than 20 different values, if there are fewer than 5 samples of each or
    more than 1,000 values; unless they count from one to the next without a gap, as the numbers of classes do, and there are
    2 samples of each.
    """
    array = np.asarray(labels)
    if array.ndim > 1:
        return False
    numbers = np.empty(0)
    if array.dtype.kind in "fiu":
        numbers = array[has_label(array)]
    elif array.dtype.kind == "O":
        known = array[has_label(array)].tolist()
        if not all(isinstance(label, (int, float, np.number)) for label in known):
            return True  # some are words
        numbers = np.array(known, float)
    values = np.unique(numbers)
    if not (np.isfinite(numbers) & (numbers == np.round(numbers))).all():
        return False
    if len(values) <= _SCALE or (len(numbers) >= _FEW * len(values) and len(values) <= _MOST_CLASSES):
        return True
    return bool(int(values[-1]) - int(values[0]) < len(values) and len(numbers) >= 2 * len(values))


def to_numbers(labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """(N,) labels -> (N,) float64, NaN where there is none.

    Raises:
        ValueError: a label that is no number.
    """
    return np.array([np.nan if label is None or label == "" else label for label in np.asarray(labels).tolist()], float)


def select_labels(labels: Sequence[Any] | np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The labels of some samples, of a type by which they are taken for what all of them are: classes, or numbers on a scale.
    (Whole numbers of which the part has no more than 20 different ones are classes all the same.)

    Args:
        labels: (N,) of all samples, or (N, L).
        rows: (M,) positions.
    """
    whole = np.asarray(labels)
    part = whole[rows]
    if is_classes(part) == (classes := is_classes(whole)):
        return part
    return np.where(has_label(part), part.astype(str), "") if classes else part.astype(np.float64)


def _texts(labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Labels of mixed types cannot be sorted; as text they can."""
    array = np.asarray(labels)
    return array.astype(str) if array.dtype.kind == "O" else array


def _ranks(strata: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(N,) the place of each sample in a random order of its stratum, from 0."""
    order = generator.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    ranks = np.empty(len(strata), np.intp)
    starts = np.cumsum(np.bincount(strata)) - np.bincount(strata)
    ranks[order] = np.arange(len(strata)) - starts[strata[order]]
    return ranks


def _draw(
    rows: np.ndarray, share: float, strata: np.ndarray, members: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws `share` of the rows, of every stratum alike; returns what was drawn and the rest, each in order.

    Rows of one member number go together, and count to the stratum of the first. A stratum of one or two gives none.
    """
    _, first, unit, sizes = np.unique(members[rows], return_index=True, return_inverse=True, return_counts=True)
    stratum_of = strata[rows[first]]
    drawn = np.zeros(len(sizes), bool)
    for stratum in np.unique(stratum_of):
        own = generator.permutation(np.flatnonzero(stratum_of == stratum))
        if len(own) > 2:
            reached = np.cumsum(sizes[own])
            wanted = max(1, round(share * int(reached[-1])))
            drawn[own[: max(1, int(np.searchsorted(reached, wanted, side="right")))]] = True
    return rows[drawn[unit]], rows[~drawn[unit]]


def _some(part: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    return part if len(part) <= most else np.sort(generator.choice(part, most, replace=False))
