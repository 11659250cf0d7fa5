"""Find splits, classes and masks in the folders of a data set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

_SPLITS = {"train": "train", "training": "train", "trn": "train"}
_SPLITS |= dict.fromkeys(("test", "testing", "tst", "holdout"), "test")
_SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
_SPLITS |= dict.fromkeys(("eval", "evaluation"), "eval")
_CONTENT = r"(?:sets?|data|datasets?|images?|imgs?|photos?|samples?|files?|splits?|folder|full)"
_SPLIT = re.compile(rf"{_CONTENT}*({'|'.join(sorted(_SPLITS, key=len, reverse=True))}){_CONTENT}*")
_IMAGES = re.compile(r"(?:jpe?g|png|rgb|leftimg8bit)?(?:images?|imgs?|photos?|pics|frames?|rgb)?")
_UNLABELED = re.compile(r"(?:train|images?)?(?:unlabell?ed|unsup(?:ervised)?|unannotated|extra)(?:images?|data|set)?")
_NO_CLASS = re.compile(r"(?:un|not)(?:labell?ed|annotated|categorized|sorted|classified)(?:images?|data|set)?")
_LABELED = re.compile(r"(?:labell?ed|annotated)(?:images?|data|set)?")
_DOMAIN = re.compile(r"(train|test|val)(a|b)")
"""Folders of the splits of two domains, as in data of CycleGAN: trainA, trainB."""
_PART = r"(?:train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?)?"
_TRUTH = re.compile(
    rf"{_PART}(?:gts?|(?:st|nd)?manual|groundtruths?|gtfine|gtcoarse|seg(?:mentation)?(?:class|object|masks?|maps?|s)?)"
)
_TRUTH_OR_CLASS = re.compile(rf"{_PART}(?:masks?|labels?|annots?|annotations?){_PART}")
_MASK_FILE = re.compile(r"(.+?)[ _-](?:masks?|gt|segmentation|seg|ground_?truth)(?:[ _-]?\d+)?", re.I)
LEVELS = 4
"""Number of levels of folders that are searched for splits."""


class FolderLayout(NamedTuple):
    """The meaning of folders.

    Attributes:
        kept: positions of the samples, among the files.
        labels: (K,) classes of the kept files, "" where one has none; or None.
        splits: (K,) or None.
        losses: lines about files that are left out, and samples without a class.
    """

    kept: list[int]
    labels: np.ndarray | None
    splits: np.ndarray | None
    losses: tuple[str, ...]


def find_layout(paths: Sequence[Path], what: str, masks: bool = False) -> FolderLayout:
    """Find the splits and classes that folders stand for.

    Splits are the first level of folders that are named ``train``, ``training_set``, ``val``, ``test`` and so on; beside
    ``train`` and ``test``, folders of unlabeled samples belong to the training split, and other folders are left out. Classes
    are the folders below the splits, or else above them. Masks, as in ``ground_truth/`` or ``scan_mask.png``, are left out.

    Args:
        paths: paths relative to the root.
        what: name of the files in messages, such as ``images``.
        masks: whether masks are samples.
    """
    reasons = {} if masks else _masks(paths)
    kept = [row for row in range(len(paths)) if row not in reasons]
    folders = [paths[row].parts[:-1] for row in kept]
    losses = [f"{len(reasons)} masks or annotations are not samples ({_counted(reasons.values())})"] if reasons else []
    level, splits = _find_splits(folders)
    if level is None:
        labels, is_unlabeled = _classes(folders), [False] * len(folders)
    else:
        inside = [position for position, split in enumerate(splits) if split]
        if len(inside) < len(splits):
            outside = [folder[0] if folder else "." for folder, split in zip(folders, splits) if not split]
            places = _counted(repr(name) for name in outside)
            losses.append(f"{len(outside)} {what} outside of the folders of splits are left out ({places})")
        kept, folders = [kept[position] for position in inside], [folders[position] for position in inside]
        splits = [splits[position] for position in inside]
        labels, is_unlabeled = _classes_of_splits(folders, level)
    if labels is not None:
        labels, lines = _without_labels(labels, is_unlabeled, [paths[row] for row in kept], what)
        losses += lines
    return FolderLayout(
        kept, None if labels is None else np.array(labels), None if level is None else np.array(splits), tuple(losses)
    )


def _counted(places: Iterable[str]) -> str:
    """Return the most frequent places, such as ``3 in masks/, 1 in gt/``."""
    return ", ".join(f"{count} in {name}" for name, count in Counter(places).most_common(5))


def _classes_of_splits(folders: Sequence[tuple[str, ...]], level: int) -> tuple[list[str] | None, list[bool]]:
    """Return the class of each file, as `_classes`, and whether it lies in a folder of unlabeled samples.

    Args:
        folders: the folders of each file.
        level: that of the splits, below which are the classes, or else above it.
    """
    is_unlabeled = [bool(_UNLABELED.fullmatch(_letters(parts[level]))) for parts in folders]
    # An archive may hold train/ in train/.
    inner = [
        parts[level + (2 if parts[level + 1 : level + 2] == parts[level : level + 1] else 1) :] for parts in folders
    ]
    classes = {one[0] for one, unlabeled in zip(inner, is_unlabeled) if one and not unlabeled}
    holders = {name for name in classes if (letters := _letters(name)) and _IMAGES.fullmatch(letters)}
    if len(classes - holders) > 1:  # val/images/ beside the classes of train/
        inner, classes = [one[1:] if one[:1] and one[0] in holders else one for one in inner], classes - holders
    # Folders of unlabeled samples may hold any folders, or those of the classes.
    below = [() if unlabeled and not set(one[:1]) <= classes else one for one, unlabeled in zip(inner, is_unlabeled)]
    above = [parts[:level] for parts in folders]
    return _classes(below) or _classes(above) or _domains([parts[level] for parts in folders]), is_unlabeled


def _without_labels(
    labels: list[str], is_unlabeled: list[bool], paths: Sequence[Path], what: str
) -> tuple[list[str], list[str]]:
    """Return labels, "" in folders named as unlabeled, and lines on samples without a label.

    Args:
        labels: (K,) class of each file.
        is_unlabeled: whether it lies in a folder of unlabeled samples, and so lacks none.
        paths: of the files.
        what: name of the files.
    """
    lines = []
    if unlabeled := {name for name in set(labels) if _NO_CLASS.fullmatch(_letters(name))}:
        is_unlabeled = [known or label in unlabeled for label, known in zip(labels, is_unlabeled)]
        labels = ["" if label in unlabeled else label for label in labels]
        lines.append(f"{what} in {' and '.join(map(repr, sorted(unlabeled)))} have no label, as the name says")
    missing = [path for path, label, known in zip(paths, labels, is_unlabeled) if not label and not known]
    if missing:
        verb = "has" if len(missing) == 1 else "have"
        of_all = f"{len(missing)} of {len(labels)} {what} {verb}"
        lines.append(f"{of_all} no folder of a class, and so no label, e.g. {missing[0].as_posix()!r}")
    return labels, lines


def folders_below_classes(paths: Sequence[Path], labels: Sequence[str]) -> str:
    """Return a line on folders below those of the classes, which may be the classes that are meant, or "".

    Args:
        paths: (N,) paths relative to the root.
        labels: (N,) their classes.
    """
    below: dict[str, list[str]] = {}
    for path, label in zip(paths, labels):
        parts = path.parts[:-1]
        inner = parts[parts.index(label) + 1 :] if label in parts else ()
        if inner and _split_named(inner[0]) is None and inner[0] not in (names := below.setdefault(label, [])):
            names.append(inner[0])
    several = next(((label, names) for label, names in below.items() if len(names) > 1), None)
    if several is None:
        return ""
    label, names = several
    return f"folders such as {label!r} are the classes; folders below them, such as {names[0]!r}, are not"


def _letters(name: str) -> str:
    return "".join(re.findall(r"[a-z]+", name.lower().replace("leftimg8bit", "images")))


def _split_named(name: str) -> str | None:
    """Return the split that a folder such as ``training_set`` or ``val2017`` stands for; None for other names."""
    match = _SPLIT.fullmatch(_letters(name))
    return _SPLITS[match.group(1)] if match else None


def _splits_named(names: Iterable[str]) -> dict[str, str]:
    """Return the split of each name, "" for others: ``test``, or ``seg_test`` beside ``seg_train``."""
    split_of = {name: _split_named(name) or "" for name in names}
    if any(split_of.values()):
        return split_of
    domains = {name: match for name in split_of if (match := _DOMAIN.fullmatch(_letters(name)))}
    if len(domains) > 2 and len(domains) == len(split_of):
        return {name: _SPLITS[match[1]] for name, match in domains.items()}
    by_rest: dict[tuple[str, ...], dict[str, str]] = {}
    for name in split_of:
        words = re.findall("[a-z]+", name.lower())
        splits = [word for word in words if word in _SPLITS]
        if len(splits) == 1:
            others = tuple(word for word in words if word not in _SPLITS)
            by_rest.setdefault(others, {})[name] = _SPLITS[splits[0]]
    complete = [named for named in by_rest.values() if "train" in named.values() and len(set(named.values())) > 1]
    return split_of | (complete[0] if len(complete) == 1 else {})


def _find_splits(folders: Sequence[tuple[str, ...]]) -> tuple[int | None, list[str]]:
    """Return the level of the splits, and the split of each file, "" for those outside; None where there are no splits."""
    around = next((n for n in range(LEVELS) if len({parts[: n + 1] for parts in folders}) > 1), LEVELS)
    for level in range(LEVELS):
        names = [parts[level] if len(parts) > level else "" for parts in folders]
        split_of = _splits_named(set(names))
        known = set(split_of.values()) - {""}
        inside = sum(bool(split_of[name]) for name in names)
        below = {parts[level : level + 2] for parts in folders if len(parts) > level + 1}
        trained = {pair[1] for pair in below if split_of[pair[0]] == "train"}
        # A class may be named train, but not one with folders of classes.
        unlabeled = {name for name in split_of if not split_of[name] and _UNLABELED.fullmatch(_letters(name))}
        several = len(known) > 1 or len(trained) > 1 or len(unlabeled) == len(split_of) - 1
        partial = "train" in known and several and (level <= around or 2 * inside >= len(names))
        if known and (inside == len(names) or partial):
            if "eval" in known:
                split_of = {
                    n: ("validation" if "test" in known else "test") if s == "eval" else s for n, s in split_of.items()
                }
            split_of |= dict.fromkeys(unlabeled, "train")
            return level, [split_of[name] for name in names]
    return None, []


def _domains(names: Sequence[str]) -> list[str] | None:
    """Return the domain, A or B, of each folder of splits; None if they have none."""
    matches = [_DOMAIN.fullmatch(_letters(name)) for name in names]
    return [match[2].upper() for match in matches if match] if all(matches) else None


def _classes(folders: Sequence[tuple[str, ...]]) -> list[str] | None:
    """Return the class of each file, "" for those above the folders of classes; None without two classes."""
    while folders and (tops := {parts[0] if parts else "" for parts in folders}) and len(tops - {""}) == 1:
        # Without classes so far: a folder around everything, or around images, is not a class.
        name = (tops - {""}).pop()
        letters = _letters(name)
        if "" in tops and not (letters and _IMAGES.fullmatch(letters)):
            return None
        folders = [parts[1:] for parts in folders]
    if {_is_labeled(name) for name in tops} == {True, False}:  # labeled/cats beside unlabeled/
        inner = [parts[1:] if parts and _is_labeled(parts[0]) else parts[:1] for parts in folders]
        folders = inner if all(inner) else folders
    labels = [parts[0] if parts else "" for parts in folders]
    return labels if len(set(labels) - {""}) > 1 else None


def _is_labeled(name: str) -> bool | None:
    """Return whether a folder is called ``labeled``, or ``unlabeled``; None for other names."""
    letters = _letters(name)
    return True if _LABELED.fullmatch(letters) else False if _NO_CLASS.fullmatch(letters) else None


def _masks(paths: Sequence[Path]) -> dict[int, str]:
    """Return the place of each file that is a mask of others, by its position."""
    children: dict[tuple[str, ...], set[str]] = {}
    stems: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        parts = path.parts[:-1]
        if parts not in stems:
            stems[parts] = set()
            for depth, name in enumerate(parts):
                children.setdefault(parts[:depth], set()).add(name)
        stems[parts].add(path.stem)
    places = {(*above, name): name for above, names in children.items() for name in names if _holds_masks(name, names)}
    masks = {}
    for row, path in enumerate(paths):
        parts, place = path.parts[:-1], None
        if places:
            place = next((f"{places[parts[:n]]}/" for n in range(1, len(parts) + 1) if parts[:n] in places), None)
        if place is None and (match := _MASK_FILE.fullmatch(path.stem)) and match.group(1) in stems[parts]:
            place = f"files such as {path.name!r}"
        if place is not None:
            masks[row] = place
    by_file = [row for row, place in masks.items() if place.startswith("files")]
    return masks | (dict.fromkeys(by_file, masks[by_file[0]]) if by_file else {})


def _holds_masks(name: str, siblings: Iterable[str]) -> bool:
    letters = _letters(name)
    others = [other for other in map(_letters, siblings) if other != letters]
    others = [other for other in others if not _TRUTH.fullmatch(other) and not _TRUTH_OR_CLASS.fullmatch(other)]
    if _TRUTH.fullmatch(letters):
        return bool(others)
    # A class may have the name of a mask, but not beside a folder of images or splits.
    beside_images = any(other and (_IMAGES.fullmatch(other) or _SPLIT.fullmatch(other)) for other in others)
    return bool(_TRUTH_OR_CLASS.fullmatch(letters)) and beside_images
