"""Pair images with masks of their anomalies, as in the folder ``ground_truth/`` of MVTec AD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit.data.readers.endings import IMAGE_ENDINGS
from aekit.data.readers.image_headers import all_headers
from aekit.data.readers.images import for_each_full_size
from aekit.data.readers.resizing import resize_image
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.io.threads import usable_cores
from aekit.progress import warn

FOLDER = "ground_truth"
ENDING = "_mask"
"""Ending of the name of a mask, which may be absent: ``000_mask.png`` and ``000.png`` are masks of ``000.png``."""
_LEVELS = 3
"""Most parts of the path of an image that name its mask: ``test/crack/000``, ``crack/000`` and ``000``."""


@dataclass
class Masks:
    """Which pixels of the images of a source are anomalous.

    Attributes:
        pixels: position in the source -> (H, W) bool; the pixels of other images are normal, or unknown.
        unknown: positions of anomalous images whose anomalous pixels are unknown.
        origin: where the masks come from, for messages.
    """

    pixels: dict[int, np.ndarray] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    origin: str = "masks"

    def mask(self, row: int, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return the mask (H, W) of the image at a position, or None if it is unknown."""
        return None if row in self.unknown else self.pixels.get(row, np.zeros(shape, bool))

    def anomalous(self, rows: np.ndarray) -> np.ndarray:
        """Return (N,) bool: which images at these positions are anomalous."""
        return np.array([row in self.unknown or row in self.pixels for row in rows.tolist()], bool)

    def compare_with_labels(self, rows: np.ndarray, anomalous: np.ndarray, ids: Sequence[str]) -> list[str]:
        """Leave anomalies without a mask out of the metrics of pixels, and return lines about what labels and masks differ in.

        Args:
            rows: (N,) positions.
            anomalous: (N,) bool, the anomalies according to the labels.
            ids: names of all samples of the source.
        """
        without = [row for row in rows[anomalous].tolist() if row not in self.pixels and row not in self.unknown]
        marked = [row for row in rows[~anomalous].tolist() if row in self.pixels]
        self.unknown.update(without)
        return [
            *self._lines(
                without, ids, "labeled an anomaly without a marked pixel, and left out of the metrics of pixels"
            ),
            *self._lines(marked, ids, "labeled normal although a mask marks pixels, which count as anomalous"),
        ]

    def _lines(self, rows: Sequence[int], ids: Sequence[str], problem: str) -> list[str]:
        images = "1 image is" if len(rows) == 1 else f"{len(rows)} images are"
        return [f"{self.origin}: {images} {problem}, e.g. {ids[rows[0]]!r}"] if rows else []


def find_masks(source: Source, rows: np.ndarray, masks: Any = None) -> Masks | None:
    """Read the masks of images, and warn of images and masks without a partner; None if there are no masks.

    Args:
        source: source of images.
        rows: (N,) positions of the images that are scored.
        masks: folder of masks, or an array (N, H, W) of masks of the images at `rows`; None: a folder ``ground_truth`` next to
            the folders of the images, if there is one.

    Raises:
        DataError: masks of another size than their images, of more than two values, unreadable, or without an image.
    """
    if masks is not None and not isinstance(masks, (str, Path)):
        return _of_array(np.asarray(masks), source, rows)
    paths: Sequence[Path] = getattr(source, "paths", ())
    if not len(paths):
        if masks is not None:
            raise DataError(f"masks = {masks}: the images are not files; pass masks as an array (N, H, W)")
        return None
    if masks is not None and not Path(masks).is_dir():
        raise DataError(f"masks = {masks}: no such folder; expected one with masks such as crack/000{ENDING}.png")
    folders = {row: Path(masks) if masks is not None else _folder_beside(paths[row]) for row in rows.tolist()}
    read_masks = Masks(origin=", ".join(dict.fromkeys(str(folder) for folder in folders.values() if folder)))
    mask_of: dict[int, Path] = {}
    for folder in dict.fromkeys(folder for folder in folders.values() if folder is not None):
        mask_of |= _pair(
            folder, {row: paths[row] for row in rows.tolist() if folders[row] == folder}, read_masks, source.ids
        )
    if not mask_of and masks is not None:
        expected = _example(paths[rows[0]])
        raise DataError(
            f"masks = {masks}: none belongs to any of the {len(rows)} images; expected names such as {expected}"
        )
    if not mask_of:
        return None
    _read(mask_of, paths, source, read_masks)
    return read_masks


def _of_array(masks: np.ndarray, source: Source, rows: np.ndarray) -> Masks:
    expected = (len(rows), *source.spec.shape[1:])
    if masks.shape != expected:
        raise DataError(f"masks of shape {masks.shape}: expected {expected}, one for each image")
    values = np.unique(masks)
    if len(values) > 2 or (len(values) == 2 and 0 not in values):
        raise DataError(f"masks of {len(values)} values: expected 0 for normal pixels and one other value")
    return Masks({row: mask != 0 for row, mask in zip(rows.tolist(), masks) if mask.any()})


def _folder_beside(path: Path) -> Path | None:
    """Return the folder of masks of an image, which lies next to a folder above the image, or None."""
    return next((above / FOLDER for above in path.parents[1:_LEVELS] if (above / FOLDER).is_dir()), None)


def _pair(folder: Path, images: Mapping[int, Path], masks: Masks, ids: Sequence[str]) -> dict[int, Path]:
    """Return the mask of each image, by position, and warn of masks and images without a partner."""
    files = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_ENDINGS and path.is_file()
    }
    kinds = {name.rpartition("/")[0] for name in files} - {""}
    paired: dict[int, str] = {}
    for row, path in images.items():
        parts = path.with_suffix("").parts[-_LEVELS:]
        names = ["/".join(parts[start:]) for start in range(len(parts))]  # test/crack/000, crack/000, 000
        name = next((name + end for name in names for end in (ENDING, "") if name + end in files), None)
        if name is not None:
            paired[row] = name
        elif kinds & {name.rpartition("/")[0] for name in names}:
            masks.unknown.add(row)
    if not paired:
        expected = _example(next(iter(images.values())))
        warn(
            f"{folder}: none of {len(files)} masks belongs to an image that is scored; expected names such as {expected}"
        )
        return {}
    owner: dict[str, int] = {}
    for row, name in paired.items():
        if owner.setdefault(name, row) != row:
            both = f"{ids[owner[name]]!r} and {ids[row]!r}"
            raise DataError(f"{files[name]}: is the mask of {both}; expected masks in folders like those of the images")
    for line in masks._lines(sorted(masks.unknown), ids, "without a mask, and left out of the metrics of pixels"):
        warn(line)
    if unused := sorted(set(files) - owner.keys()):
        belong = "1 mask belongs" if len(unused) == 1 else f"{len(unused)} masks belong"
        warn(f"{folder}: {belong} to no image that is scored, e.g. {files[unused[0]]}")
    return {row: files[name] for row, name in paired.items()}


def _example(image: Path) -> str:
    return f"{image.parent.name}/{image.stem}{ENDING}.png"


def _read(mask_of: Mapping[int, Path], paths: Sequence[Path], source: Source, masks: Masks) -> None:
    """Read masks, check them, and resize them as their images are."""
    rows, files = list(mask_of), list(mask_of.values())
    problems: dict[int, str] = {}
    vanished: list[int] = []

    def use(position: int, values: np.ndarray) -> None:
        distinct, header = np.unique(values), headers[position]
        if len(distinct) > 2 or (len(distinct) == 2 and 0 not in distinct):
            problems[position] = f"has {len(distinct)} values; expected 0 for normal pixels and one other value"
        elif header is not None and values.shape[1:] != tuple(header.size):
            sizes = [f"{wide}x{high}" for high, wide in (values.shape[1:], header.size)]
            problems[position] = f"is {sizes[0]}, its image {paths[rows[position]]} {sizes[1]}; expected the same size"
        elif values.any():
            whole = Image.fromarray(np.where(values[0] > 0, 255, 0).astype(np.uint8))
            mask = np.asarray(resize_image(whole, source.spec)) > 127
            if mask.any():
                masks.pixels[rows[position]] = mask
            else:
                vanished.append(rows[position])

    with ThreadPoolExecutor(usable_cores()) as pool:
        headers = all_headers([paths[row] for row in rows], pool)
        reasons = for_each_full_size(files, SampleSpec("image", (1, 1, 1), "uint8"), pool, use)
    problems |= {position: f"cannot be read: {reason}" for position, reason in enumerate(reasons) if reason}
    if problems:
        first = min(problems)
        more = f" (and {len(problems) - 1} other masks)" if len(problems) > 1 else ""
        raise DataError(f"{files[first]}: {problems[first]}{more}; heatmaps=0 (--heatmaps 0) uses no masks")
    if vanished:
        masks.unknown.update(vanished)
        size = "x".join(map(str, source.spec.shape[:0:-1]))
        for line in masks._lines(
            sorted(vanished), source.ids, f"without an anomalous pixel at {size}, and left out of the metrics of pixels"
        ):
            warn(line)
