"""Data sets of torchvision by name. MNIST and similar sets are read from their files, without torchvision."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Unpack

import numpy as np

from aekit.plugin import (
    DataError,
    Field,
    ImageItems,
    ResizingOptions,
    SampleSpec,
    Source,
    cache_folder,
    closest_name,
    find_image_files,
    from_array,
    read_mnist_folder,
)

_FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
_IDX: dict[str, tuple[str, list[str] | None]] = {
    "FashionMNIST": ("fashion-mnist", _FASHION),
    "KMNIST": ("kmnist", None),
    "MNIST": ("mnist", None),
}
"""Sets in IDX files: another name of their folder, and the class names of the labels 0, 1, ..."""
_SPLITS = {"train": "train", "trainval": "train", "val": "validation", "valid": "validation", "test": "test"}
_TARGETS = ("targets", "labels", "_labels")
_Root = Annotated[str, Field(description="folder of the files; auto: $AEKIT_DATA or ~/.cache/aekit/torchvision")]


def open_dataset(
    where: str,
    like: SampleSpec | None = None,
    *,
    root: _Root = "auto",
    download: Annotated[bool, Field(description="download missing files")] = True,
    **resizing: Unpack[ResizingOptions],
) -> Source:
    """Open all splits together, with class names as labels if they are known.

    The options of resizing apply to sets of image files, which may differ in size.

    Raises:
        DataError: the name is unknown, files are missing and cannot be downloaded, or torchvision is needed and not installed.
    """
    framing = {**resizing, "source": "torchvision"}
    shared = [Path(os.environ["AEKIT_DATA"])] if os.environ.get("AEKIT_DATA") else []
    roots = [Path(os.path.expanduser(root))] if root != "auto" else [*shared, cache_folder() / "torchvision"]
    if where not in _IDX:
        return _combine(_load(where, roots, download), like, framing)
    other_name, classes = _IDX[where]
    candidates = [folder for place in roots for folder in (place / where / "raw", place / other_name)]
    folder = next((folder for folder in candidates if find_image_files(folder)), None)
    if folder is None:
        _load(where, roots, download)
        folder = roots[-1] / where / "raw"
    return read_mnist_folder(folder, classes)


def _load(name: str, roots: list[Path], download: bool) -> dict[str, Any]:
    """Return torchvision's data sets by split, from the first root that has the files, or downloaded to the last."""
    subject, places = f"torchvision:{name}", " or ".join(map(str, roots))
    try:
        from torchvision import datasets
    except ImportError as error:
        known = f"no files in {places}" if name in _IDX else f"not one of {', '.join(_IDX)}"
        raise DataError(
            f"{subject}: {known}, and torchvision fails to import ({error}): pip install torchvision"
        ) from error
    names = [n for n in datasets.__all__ if inspect.isclass(getattr(datasets, n)) and n not in _ABSTRACT]
    if name not in names:
        raise DataError(f"{subject}: no such data set{closest_name(name, names)}")
    reason = ""
    for place, fetch in [*((place, False) for place in roots), *[(roots[-1], True)] * download]:
        try:
            return _load_splits(getattr(datasets, name), {"root": str(place), "download": fetch})
        # torchvision raises any of these for missing files, a missing network or a missing package
        except (OSError, RuntimeError, ValueError, TypeError, ImportError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    problem = "cannot be downloaded" if download else "its files are missing and download = false"
    raise DataError(f"{subject}: {problem} ({reason}); looked in {places}")


_ABSTRACT = ("DatasetFolder", "ImageFolder", "VisionDataset")


def _load_splits(factory: Any, options: dict[str, Any]) -> dict[str, Any]:
    accepted = inspect.signature(factory).parameters
    common = {key: value for key, value in options.items() if key in accepted}
    if "train" in accepted:
        return {"train": factory(**common, train=True), "test": factory(**common, train=False)}
    if "split" not in accepted:
        return {"": factory(**common)}
    splits, problem = {}, ValueError("no split has a known name")
    for name, split in _SPLITS.items():
        if split in splits:  # "trainval" replaces a missing "train", or also holds the validation samples
            continue
        try:
            splits[split] = factory(**common, split=name)
        except ValueError as error:  # no such split
            problem = error
    if not splits:
        raise problem
    return splits


def _combine(parts: dict[str, Any], like: SampleSpec | None, framing: dict[str, Any]) -> Source:
    counts = [len(part) for part in parts.values()]
    splits = np.repeat(list(parts), counts) if all(parts) else None
    targets = [_targets(part) for part in parts.values()]
    labels = np.concatenate(targets) if all(len(target) == count for target, count in zip(targets, counts)) else None
    classes = getattr(next(iter(parts.values())), "classes", None)
    if labels is not None and classes and labels.dtype.kind in "ui" and labels.max() < len(classes):
        labels = np.array(classes)[labels]
    arrays: list[Any] = [getattr(part, "data", None) for part in parts.values()]
    if all(np.ndim(array) > 1 and len(array) == count for array, count in zip(arrays, counts)):
        return from_array(np.concatenate([np.asarray(a) for a in arrays]), like=like, labels=labels, splits=splits)
    items = [(part, row) for part in parts.values() for row in range(len(part))]
    return ImageItems(len(items), lambda index: items[index][0][items[index][1]][0], like, labels, splits, framing)


def _targets(dataset: Any) -> np.ndarray:
    candidates: Iterator[Any] = (getattr(dataset, name, None) for name in _TARGETS)
    return next((np.asarray(values) for values in candidates if np.ndim(values) == 1), np.empty(0))


def example(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return an example for the conformance kit to open."""
    from aekit.plugin import write_mnist

    write_mnist(folder)
    return "MNIST", {"root": str(folder), "download": False}
