"""torchvision's data sets by name. MNIST and its likes are read from their files, without torchvision."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from aekit.plugin import (
    CropPctOption,
    DataError,
    Field,
    ImageItems,
    InterpolationOption,
    ResizeOption,
    SampleSpec,
    SizeOption,
    Source,
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
"""Sets whose files are IDX: another name of their folder, and what the labels 0, 1, ... mean."""
_SPLITS = {"train": "train", "trainval": "train", "val": "validation", "valid": "validation", "test": "test"}
_TARGETS = ("targets", "labels", "_labels")
_Root = Annotated[str, Field(description="folder of the files; auto: $AEKIT_DATA or ~/.cache/aekit/torchvision")]


def open_dataset(
    where: str,
    like: SampleSpec | None = None,
    *,
    root: _Root = "auto",
    download: Annotated[bool, Field(description="fetch the files where they are not there")] = True,
    size: SizeOption = "auto",
    resize: ResizeOption = "crop",
    share: CropPctOption = 1.0,
    interpolation: InterpolationOption = "bicubic",
) -> Source:
    """All splits together; labels are the names of the classes where they are known. `size`, `resize`, `share` and
    `interpolation` are of sets whose images are files, which may differ in size.

    Raises:
        DataError: unknown name, files that are neither there nor to be had, or torchvision is needed and not installed.
    """
    how = {"size": size, "resize": resize, "crop_pct": share, "interpolation": interpolation}
    cache = Path(os.environ.get("AEKIT_CACHE", Path.home() / ".cache" / "aekit")) / "torchvision"
    shared = [Path(os.environ["AEKIT_DATA"])] if os.environ.get("AEKIT_DATA") else []
    roots = [Path(root).expanduser()] if root != "auto" else [*shared, cache]
    if where not in _IDX:
        return _together(_load(where, roots, download), like, how)
    other, classes = _IDX[where]
    folders = [folder for place in roots for folder in (place / where / "raw", place / other)]
    found = next((folder for folder in folders if find_image_files(folder)), None)
    if found is None:
        _load(where, roots, download)
        found = roots[-1] / where / "raw"
    return read_mnist_folder(found, classes)


def _load(name: str, roots: list[Path], download: bool) -> dict[str, Any]:
    """torchvision's objects by split, from the first root that has the files, or else downloaded into the last."""
    what, places = f"torchvision:{name}", " or ".join(map(str, roots))
    try:
        from torchvision import datasets
    except ImportError as error:
        known = f"no files in {places}" if name in _IDX else f"not one of {', '.join(_IDX)}"
        raise DataError(
            f"{what}: {known}, and torchvision fails to import ({error}): pip install torchvision"
        ) from error
    names = [n for n in datasets.__all__ if inspect.isclass(getattr(datasets, n)) and n not in _ABSTRACT]
    if name not in names:
        raise DataError(f"{what}: no such data set{closest_name(name, names)}")
    reason = ""
    for place, fetch in [*((place, False) for place in roots), *[(roots[-1], True)] * download]:
        try:
            return _splits_of(getattr(datasets, name), {"root": str(place), "download": fetch})
        # torchvision says by any of these that files are missing, that the network is, or that it needs a package
        except (OSError, RuntimeError, ValueError, TypeError, ImportError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    tried = "cannot be downloaded" if download else "its files are missing and download = false"
    raise DataError(f"{what}: {tried} ({reason}); looked in {places}")


_ABSTRACT = ("DatasetFolder", "ImageFolder", "VisionDataset")


def _splits_of(factory: Any, options: dict[str, Any]) -> dict[str, Any]:
    accepted = inspect.signature(factory).parameters
    common = {key: value for key, value in options.items() if key in accepted}
    if "train" in accepted:
        return {"train": factory(**common, train=True), "test": factory(**common, train=False)}
    if "split" not in accepted:
        return {"": factory(**common)}
    found, problem = {}, ValueError("no split has a usual name")
    for spelt, split in _SPLITS.items():
        if split in found:  # "trainval" is what there is of "train", or holds the validation samples too
            continue
        try:
            found[split] = factory(**common, split=spelt)
        except ValueError as error:  # this set has no such split
            problem = error
    if not found:
        raise problem
    return found


def _together(parts: dict[str, Any], like: SampleSpec | None, how: dict[str, Any]) -> Source:
    counts = [len(part) for part in parts.values()]
    splits = np.repeat(list(parts), counts) if all(parts) else None
    targets = [_targets(part) for part in parts.values()]
    labels = np.concatenate(targets) if all(len(found) == count for found, count in zip(targets, counts)) else None
    classes = getattr(next(iter(parts.values())), "classes", None)
    if labels is not None and classes and labels.dtype.kind in "ui" and labels.max() < len(classes):
        labels = np.array(classes)[labels]
    arrays: list[Any] = [getattr(part, "data", None) for part in parts.values()]
    if all(np.ndim(array) > 1 and len(array) == count for array, count in zip(arrays, counts)):
        return from_array(np.concatenate([np.asarray(a) for a in arrays]), like=like, labels=labels, splits=splits)
    items = [(part, row) for part in parts.values() for row in range(len(part))]
    return ImageItems(len(items), lambda index: items[index][0][items[index][1]][0], like, labels, splits, how)


def _targets(dataset: Any) -> np.ndarray:
    found: Iterator[Any] = (getattr(dataset, name, None) for name in _TARGETS)
    return next((np.asarray(values) for values in found if np.ndim(values) == 1), np.empty(0))


def example(folder: Path) -> tuple[str, dict[str, Any]]:
    """What the conformance kit opens."""
    from aekit.plugin import write_mnist

    write_mnist(folder)
    return "MNIST", {"root": str(folder), "download": False}
